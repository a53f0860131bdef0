# ruff: noqa: E402
"""Rendering: only the window is made, and its bytes are those of doing all steps to the whole image, one by one."""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import DatasetMapper, Plan, centres, corners, render_image
from seggen_d2.mapping.colours import Hue, Linear, Saturation, apply_colours

FLIPS = [(False, False), (True, False), (False, True), (True, True)]


def picture(height, width, seed=0):
    """Noise and edges, where rounding shows."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[: height // 2] = np.where(rng.random((height // 2, width, 1)) < 0.5, 0, 255)
    return pixels


def step_by_step(pixels, plan):
    """(H, W, 3): every step on the whole, with Pillow's resize."""
    pixels = flipped(pixels, plan.source_flip)
    pixels = np.asarray(Image.fromarray(pixels).resize(plan.resized[::-1], Image.Resampling.BILINEAR))
    top, left, height, width = plan.window
    pixels = flipped(pixels[top : top + height, left : left + width], plan.flip)
    below, right = plan.canvas[0] - height, plan.canvas[1] - width
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), constant_values=128)


def flipped(array, flip):
    return np.ascontiguousarray(np.flip(array, [axis for axis in (0, 1) if flip[axis]]))


def random_plan(rng, low, high):
    size = tuple(int(side) for side in rng.integers(1, 90, 2))
    resized = tuple(max(1, round(side * rng.uniform(low, high))) for side in size)
    window = [int(rng.integers(1, side + 1)) for side in resized]
    top, left = (int(rng.integers(0, side - part + 1)) for side, part in zip(resized, window))
    plan = Plan.of(size).resize(resized).crop(top, left, *window).pad((int(rng.integers(1, 90)), 50))
    flips = {name: FLIPS[rng.integers(4)] for name in ("source_flip", "flip")}
    return Plan(**{**vars(plan), **flips})


@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (0.1, 1.0), (0.7, 1.4), (1.0, 1.0)])
def test_a_window_has_the_very_bytes_of_resizing_all(low, high):
    rng = np.random.default_rng(7)
    for number in range(150):
        plan = random_plan(rng, low, high)
        pixels = picture(*plan.source, number)
        rendered = render_image(Image.fromarray(pixels), plan).numpy().transpose(1, 2, 0)
        assert np.array_equal(rendered, step_by_step(pixels, plan)), plan


@pytest.mark.parametrize("resized", [(60, 75), (96, 120), (48, 105), (61, 119), (192, 240)])
def test_ties_are_rounded_as_pillow_rounds_them(resized):
    pixels = picture(48, 60)
    for top in range(0, resized[0] - 20, 7):
        plan = Plan.of((48, 60)).resize(resized).crop(top, 5, 20, 30)
        rendered = render_image(Image.fromarray(pixels), plan).numpy().transpose(1, 2, 0)
        assert np.array_equal(rendered, step_by_step(pixels, plan))


def test_channels_come_in_the_order_asked_for():
    image = Image.fromarray(picture(9, 7))
    plan = Plan.of((9, 7)).pad((12, 12))
    assert torch.equal(render_image(image, plan, "BGR"), render_image(image, plan).flip(0))
    with pytest.raises(SegGenError, match="order of channels"):
        DatasetMapper([], channels="GBR")


def convert(values, factor=1.0, shift=0.0):
    return (values.astype(np.float32) * factor + shift).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_colours_by_tables_are_colours_by_arithmetic(seed):
    rng, pixels = np.random.default_rng(seed), picture(40, 30, seed)
    factor, shift, saturation, hue = rng.uniform(0.5, 1.5), rng.uniform(-32, 32), rng.uniform(0.5, 1.5), int(rng.integers(-18, 19))
    expected = convert(convert(pixels, shift=shift), factor)
    hsv = cv2.cvtColor(expected, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = convert(hsv[..., 1], saturation)
    hsv = cv2.cvtColor(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + hue) % 180
    expected = convert(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), factor)
    steps = [Linear(1.0, shift), Linear(factor), Saturation(saturation), Hue(hue), Linear(factor)]
    assert np.array_equal(apply_colours(pixels, steps), expected)


def test_no_operation_leaves_an_image_as_it_is():
    pixels = picture(5, 5)
    assert apply_colours(pixels, ()) is pixels


def test_labels_are_sampled_as_pillow_and_as_torch_sample():
    rng = np.random.default_rng(1)
    for _ in range(300):
        source, resized = int(rng.integers(1, 256)), int(rng.integers(1, 700))
        line = np.arange(source, dtype=np.uint8)
        pillow = Image.fromarray(line[:, None]).resize((1, resized), Image.Resampling.NEAREST)
        assert np.array_equal(np.asarray(pillow)[:, 0], centres(source, resized))
        wide = torch.from_numpy(np.repeat(line[:, None], 257, 1)).double()[None, None]
        nearest = torch.nn.functional.interpolate(wide, (resized, 257), mode="nearest")[0, 0, :, 0].numpy()
        assert np.array_equal(nearest, corners(source, resized))


def test_both_samplings_lie_half_a_pixel_apart_at_most():
    for source, resized in ((512, 460), (512, 1024), (683, 819)):
        apart = centres(source, resized) - corners(source, resized)
        assert apart.min() >= 0 and apart.max() <= 1
        assert abs(apart.mean() - max(0, (source / resized - 1) / 2)) < 0.51


@pytest.mark.parametrize(("orientation", "size"), [(1, (20, 30)), (6, (30, 20)), (3, (20, 30))])
def test_images_stand_upright_as_their_exif_says(tmp_path, orientation, size):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(picture(20, 30)).save(buffer, "PNG", exif=exif)
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    sample = DatasetMapper([])({"file_name": str(tmp_path / "x.png"), "height": size[0], "width": size[1]})
    assert sample["image"].shape[1:] == size
    turned = {1: 0, 6: -1, 3: 2}[orientation]
    assert np.array_equal(sample["image"].numpy().transpose(1, 2, 0), np.rot90(picture(20, 30), turned))


def test_an_image_of_another_size_than_its_record_is_refused(tmp_path):
    Image.fromarray(picture(20, 30)).save(tmp_path / "x.png")
    with pytest.raises(SegGenError, match="30x20"):
        DatasetMapper([])({"file_name": str(tmp_path / "x.png"), "height": 30, "width": 20})

# ruff: noqa: E402
"""Augmentations: image and labels move together, labels are never blended, draws follow from the generator alone."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import (
    ColorJitter,
    FixedSizeCrop,
    FixedSizePad,
    HorizontalFlip,
    Plan,
    RandomCrop,
    ResizeScale,
    ResizeShortestEdge,
    SemanticTargets,
    VerticalFlip,
    centres,
    large_scale_jitter,
    render_image,
    test_augmentations,
    training_augmentations,
)
from seggen_d2.segmentation import Categories

TARGETS = SemanticTargets(Categories.from_names("abcdefg", ignore_id=200))


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def pair():
    """An image whose red channel is its label map, so that alignment can be read off."""
    labels = generator().integers(0, 7, (30, 40)).astype(np.uint8)
    return np.stack([labels, labels * 3, labels * 5], -1), labels


def run(steps, image, labels, seed=0):
    """Image and labels after the steps: drawn, then rendered."""
    plan, rng = Plan.of(labels.shape), generator(seed)
    for step in steps:
        plan = step(plan, rng, lambda plan: TARGETS.areas(labels, plan))
    return render_image(Image.fromarray(image), plan).numpy().transpose(1, 2, 0), TARGETS.window(labels, plan)


def aligned(image, labels):
    return np.array_equal(image[..., 0], labels)


@pytest.mark.parametrize(("flip", "axis"), [(HorizontalFlip(1.0), 1), (VerticalFlip(1.0), 0)])
def test_flipping_twice_is_no_flip(pair, flip, axis):
    image, labels = run([flip], *pair)
    assert aligned(image, labels) and np.array_equal(labels, np.flip(pair[1], axis))
    assert all(np.array_equal(a, b) for a, b in zip(run([flip, flip], *pair), pair))


def test_a_flip_before_the_crop_and_one_after_it_differ(pair):
    crop, flip = RandomCrop(12, 17), HorizontalFlip(1.0)
    before, after = run([flip, crop], *pair, seed=3), run([crop, flip], *pair, seed=3)
    assert aligned(*before) and aligned(*after) and not np.array_equal(before[1], after[1])


def test_a_crop_is_a_window_of_image_and_labels(pair):
    image, labels = run([RandomCrop(12, 17)], *pair, seed=3)
    assert labels.shape == (12, 17) and aligned(image, labels)
    windows = np.lib.stride_tricks.sliding_window_view(pair[1], (12, 17)).reshape(-1, 12, 17)
    assert (windows == labels).all((1, 2)).any()


def test_a_crop_larger_than_the_image_keeps_it(pair):
    assert np.array_equal(run([RandomCrop(100, 100)], *pair)[1], pair[1])


def test_a_crop_avoids_windows_of_one_category():
    labels = np.zeros((16, 64), np.uint8)
    labels[:, 56:] = 1
    image = np.stack([labels] * 3, -1)
    shares = [(run([RandomCrop(16, 16, 0.75)], image, labels, seed)[1] == 1).mean() for seed in range(60)]
    unlimited = [(run([RandomCrop(16, 16)], image, labels, seed)[1] == 1).mean() for seed in range(60)]
    assert np.mean(np.array(shares) > 0) > 2 * np.mean(np.array(unlimited) > 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ignored_pixels_do_not_make_a_crop_varied(dtype):
    labels = np.full((8, 8), 200, dtype)
    labels[0] = 3
    counts = TARGETS.areas(labels, Plan.of((8, 8)))
    assert counts.tolist() == [0, 0, 0, 8, 0, 0, 0] and not RandomCrop(8, 8, 0.75).is_varied(counts)


@pytest.mark.parametrize(
    ("kind", "height", "width", "sizes"),
    [
        ("relative", 0.5, 0.25, {(15, 10)}),
        ("relative_range", 0.5, 1.0, {(side, 40) for side in range(15, 31)}),
        ("absolute_range", 20, 25, {(a, b) for a in range(20, 26) for b in range(20, 26)}),
    ],
)
def test_crops_of_other_kinds_have_their_sizes(kind, height, width, sizes):
    crop = RandomCrop(height, width, kind=kind)
    found = {crop(Plan.of((30, 40)), generator(seed)).window_size for seed in range(400)}
    assert found <= sizes and len(found) >= min(len(sizes), 12)


@pytest.mark.parametrize("length", [15, 30, 61])
def test_resizing_makes_no_new_id_and_keeps_the_shape(pair, length):
    image, labels = run([ResizeShortestEdge((length,))], *pair)
    assert image.shape[:2] == labels.shape == (length, int(length * 4 / 3 + 0.5))
    assert set(np.unique(labels)) <= set(np.unique(pair[1]))


def test_resizing_respects_the_longest_edge(pair):
    assert max(run([ResizeShortestEdge((60,), 50)], *pair)[1].shape) == 50


def test_resizing_draws_any_length_between_two():
    heights = {ResizeShortestEdge((20, 24), between=True)(Plan.of((30, 40)), generator(s)).resized[0] for s in range(99)}
    assert heights == {20, 21, 22, 23, 24}


def test_resizing_to_the_same_size_is_the_identity(pair):
    assert aligned(*run([ResizeShortestEdge((30,))], *pair))


@pytest.mark.parametrize("seed", range(4))
def test_large_scale_jitter_fills_its_square_and_keeps_the_shape(seed):
    plan, rng = Plan.of((30, 40)), generator(seed)
    for step in large_scale_jitter(50, 0.1, 2.0):
        plan = step(plan, rng)
    assert plan.canvas == (50, 50) and plan.window_size == tuple(min(50, side) for side in plan.resized)
    assert abs(plan.resized[0] - plan.resized[1] * 0.75) <= 1 and 5 <= plan.resized[1] <= 100


def test_one_draw_places_a_crop_of_fixed_size_along_both_edges():
    plan = FixedSizeCrop(20, 20)(Plan.of((30, 40)).resize((60, 100)), generator(2))
    assert abs(plan.window[0] / 40 - plan.window[1] / 80) < 0.02


def test_padding_ignores_what_it_adds(pair):
    image, labels = run([FixedSizePad(48, 64)], *pair)
    assert image.shape == (48, 64, 3) and (image[30:] == 128).all() and (image[:, 40:] == 128).all()
    assert np.array_equal(labels[:30, :40], pair[1]) and (labels[30:] == 200).all() and (labels[:, 40:] == 200).all()


def test_colour_jitter_leaves_labels_and_can_leave_the_image(pair):
    assert np.array_equal(run([ColorJitter()], *pair)[1], pair[1])
    assert np.array_equal(run([ColorJitter(0, 0, 0, 0)], *pair)[0], pair[0])
    assert not np.array_equal(run([ColorJitter()], *pair, seed=1)[0], pair[0])


def test_all_steps_together_are_a_function_of_the_seed(pair):
    steps = training_augmentations([24, 36], 100, crop=(28, 28), color_jitter=True, flip=True, max_category_area=0.75)
    assert all(np.array_equal(a, b) for a, b in zip(run(steps, *pair, seed=5), run(steps, *pair, seed=5)))
    assert run(steps, *pair)[0].shape == (28, 28, 3)
    assert any(not np.array_equal(run(steps, *pair, seed=5)[1], run(steps, *pair, seed=seed)[1]) for seed in range(5))


def test_labels_may_be_absent():
    plan = Plan.of((30, 40))
    for step in [*test_augmentations(15, 100), RandomCrop(9, 9, 0.5), HorizontalFlip(1.0), FixedSizePad(20, 20)]:
        plan = step(plan, generator(), None)
    assert plan.canvas == (20, 20) and test_augmentations(0, 100) == []


def test_labels_are_read_at_the_centres_of_pixels():
    assert centres(4, 2).tolist() == [1, 3] and centres(2, 4).tolist() == [0, 0, 1, 1]


def test_values_out_of_range_are_refused():
    with pytest.raises(SegGenError, match="max_category_area"):
        RandomCrop(8, 8, 1.5)
    with pytest.raises(SegGenError, match="kind of crop"):
        RandomCrop(8, 8, kind="relativ")
    with pytest.raises(SegGenError, match="shortest edge"):
        ResizeShortestEdge(())
    with pytest.raises(SegGenError, match="lowest and the highest"):
        ResizeShortestEdge((1, 2, 3), between=True)
    with pytest.raises(SegGenError, match="low is out of range"):
        ResizeScale(8, 8, 2.0, 1.0)
    with pytest.raises(SegGenError, match="flip"):
        large_scale_jitter(8, flip="diagonal")

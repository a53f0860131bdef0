"""A dataset's photos in another light: what the change does to numbers, and what lies on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
import yaml
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_labelled
from seggen_d2.sources.preparing.light import prepare_light
from seggen_d2.sources.preparing.relight import LIGHTS, Light, depth, relight
from seggen_d2.sources.toy_folder import write_toy_folder

STILL = {"shot": 0.0, "read": 0.0}  # a sensor without noise
GREYS = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)


def changed(image: np.ndarray, light: Light) -> np.ndarray:
    return relight(image, light, np.random.default_rng(0))


def test_a_light_that_changes_nothing_is_the_identity():
    assert np.array_equal(changed(GREYS, Light((1, 1, 1), **STILL)), GREYS)


def test_half_the_light_is_half_the_light():
    """Mid grey of sRGB, 188, is half of white's light."""
    white = np.full((4, 4, 3), 255, np.uint8)
    assert (changed(white, Light((0.5, 0.5, 0.5), **STILL)) == 188).all()
    assert (changed(white, Light((1, 1, 1), highlights=1.0, **STILL)) == 188).all()


def test_dense_air_hides_all_and_no_saturation_leaves_luminance():
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (8, 8, 3), dtype=np.uint8)
    assert (changed(image, Light((1, 1, 1), haze=1e3, air=(1, 1, 0), **STILL)) == [255, 255, 0]).all()
    grey = changed(image, Light((1, 1, 1), grey=1.0, **STILL)).astype(int)
    assert (np.ptp(grey, axis=-1) <= 1).all() and (grey.min(-1) >= image.min(-1) - 1).all() and (grey.max(-1) <= image.max(-1) + 1).all()


def test_noise_has_the_variance_that_is_told():
    image = np.full((200, 200, 3), 188, np.uint8)  # half of white's light
    linear = (changed(image, Light((1, 1, 1), shot=2e-4, read=0.01)).astype(float) / 255 + 0.055) / 1.055
    assert abs(np.std(linear**2.4) - (0.5 * 2e-4 + 1e-4) ** 0.5) < 1e-3


def test_the_horizon_is_farthest():
    rows = np.linspace(0, 1, 101)
    far = depth(rows)
    assert far.max() == 1 and rows[far.argmax()] == 0.45 and (np.diff(far[:45]) > 0).all() and (np.diff(far[46:]) < 0).all() and far.min() > 0


@pytest.mark.parametrize("light", LIGHTS)
def test_lights_darken_or_veil_and_keep_the_shape(light):
    image = np.random.default_rng(1).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    made = changed(image, LIGHTS[light])
    assert made.shape == image.shape and made.dtype == np.uint8 and made.std() < image.std() and made.std() > 5


def labels_of(source) -> list:
    return [read_labelled(record, source)[1] for record in source.records()]


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_photos_change_and_labels_stay(tmp_path, task):
    workers, count = (2, 20) if task == "semantic" else (1, 4)  # few files are one process' work
    file = write_toy_folder(tmp_path / "day", "test", count, task=task, size=24)
    made = prepare_light(file, "dusk", tmp_path / "dusk", workers=workers)
    day, dusk = load_dataset(file), load_dataset(made.file("dataset"), task)
    assert dusk.name == "toy_test_dusk" and dusk.categories == day.categories and made.photos == {"dataset": count}
    for a, b in zip(day.records(), dusk.records(), strict=True):
        (before, mask), (after, same) = read_labelled(a, day), read_labelled(b, dusk)
        assert a["image_id"] == b["image_id"] and after.mean() < before.mean()
        assert (mask.labels() == same.labels()).all()
    again = prepare_light(file, "dusk", tmp_path / "again", workers=1)
    pictures = [{path.name: path.read_bytes() for path in (folder / "images").iterdir()} for folder in (made.output, again.output)]
    assert pictures[0] == pictures[1] and len(pictures[0]) == count


def test_jpegs_stay_jpegs_and_a_limit_and_a_list_hold(tmp_path):
    files = coco.write_coco(tmp_path / "coco")
    for task in ("panoptic", "instance"):
        files[task].write_text(files[task].read_text() + "limit: 2\n")
        made = prepare_light(files[task], "fog", tmp_path / task)
        names = sorted(path.name for path in (made.output / "images").iterdir())
        assert names == [f"{name}.jpg" for name in coco.IMAGES[:2]] and len(load_dataset(made.file("dataset")).records()) == 2
        with Image.open(made.output / "images" / names[0]) as image:
            assert image.format == "JPEG"
    toy = write_toy_folder(tmp_path / "toy", "test", 5, size=24)
    (tmp_path / "toy/some.txt").write_text("test_00003\ntest_00001\n")
    toy.write_text(toy.read_text() + "files: some.txt\n")
    made = prepare_light(toy, "night", tmp_path / "night")
    assert [record["image_id"] for record in load_dataset(made.file("dataset")).records()] == ["test_00001", "test_00003"]
    assert "attributes" not in yaml.safe_load(made.file("dataset").read_text())


def test_nothing_is_done_twice_and_a_changed_photo_is_made_again(tmp_path):
    file = write_toy_folder(tmp_path / "day", "test", 4, size=24)
    made = prepare_light(file, "dawn", tmp_path / "dawn")
    before = {path: path.stat().st_ctime_ns for path in (made.output / "images").iterdir()}
    assert prepare_light(file, "dawn", tmp_path / "dawn").done_before == ("dataset",)
    assert before == {path: path.stat().st_ctime_ns for path in before}
    photo = tmp_path / "day/images/test_00002.png"
    Image.new("RGB", (24, 24)).save(photo)
    os.utime(photo, (1e9, 1e9))
    prepare_light(file, "dawn", tmp_path / "dawn")
    assert [path.name for path, time in before.items() if path.stat().st_ctime_ns != time] == ["test_00002.png"]


def test_bad_input_is_told_and_what_is_given_stays(tmp_path):
    file = write_toy_folder(tmp_path / "day", "test", 3, size=24)
    before = {path: path.read_bytes() for path in (tmp_path / "day").rglob("*") if path.is_file()}
    with pytest.raises(SegGenError, match="light is not known(.|\n)*'night'"):
        prepare_light(file, "nigth", tmp_path / "out")
    for folder in (tmp_path / "day", tmp_path):
        with pytest.raises(SegGenError, match="holds files of dataset(.|\n)*another folder"):
            prepare_light(file, "night", folder)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "day/images/test_00001.png").write_bytes(before[tmp_path / "day/images/test_00001.png"][:300])
    with pytest.raises(SegGenError, match="1 of 3 photos cannot be used(.|\n)*test_00001"):
        prepare_light(file, "night", tmp_path / "out")
    with pytest.raises(SegGenError, match="begun with other options(.|\n)*light: night"):
        prepare_light(file, "fog", tmp_path / "out")
    assert not (tmp_path / "out/dataset.yaml").exists()


def test_a_photo_outside_its_folder_is_never_written_over(tmp_path):
    coco.write_coco(tmp_path)
    value = json.loads((tmp_path / "instance.json").read_text())
    value["images"][0]["file_name"] = str(tmp_path / "images" / ".." / "images" / f"{coco.IMAGES[0]}.jpg")
    value["images"][1]["file_name"] = f"../images/../panoptic/{coco.IMAGES[1]}.png"
    (tmp_path / "instance.json").write_text(json.dumps(value))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SegGenError, match="does not lie in"):
        prepare_light(tmp_path / "instance.yaml", "fog", tmp_path / "out/fog")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_camvid_at_night_is_darker(tmp_path):
    file = Path(__file__).parents[1] / "datasets/camvid_val.yaml"
    spec = yaml.safe_load(file.read_text())
    folder = (file.parent / spec["images"]).resolve()
    if not folder.is_dir():
        pytest.skip("no samples beside the repository")
    spec |= {"images": str(folder), "masks": str((file.parent / spec["masks"]).resolve()), "limit": 2}
    (tmp_path / "val.yaml").write_text(yaml.safe_dump(spec))
    made = load_dataset(prepare_light(tmp_path / "val.yaml", "night", tmp_path / "night").file("dataset"))
    assert made.name == "camvid_val_night" and all(read_labelled(record, made)[0].mean() < 50 for record in made.records())

"""From what people have to what training reads: folders, colours, COCO JSON, ADE20K, COCO; nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
import yaml
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.sources import load_dataset, read_sample
from seggen_d2.sources.folder import images_below
from seggen_d2.sources.preparing.ade20k import prepare_ade20k, read_names
from seggen_d2.sources.preparing.coco import CocoPart, prepare_coco
from seggen_d2.sources.preparing.color_table import read_color_table
from seggen_d2.sources.preparing.configs import ConfigOptions, iterations, write_configs
from seggen_d2.sources.preparing.folder import FolderOptions, prepare_folder
from seggen_d2.sources.preparing.settings import SETTINGS
from seggen_d2.sources.splits import split_ids

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
needs_samples = pytest.mark.skipif(not SHARED.is_dir(), reason="no samples beside the repository")
COLORS = np.array([[128, 64, 128], [70, 130, 180], [0, 0, 142], [0, 0, 0]], np.uint8)
TABLE = "128 64 128 road\n70 130 180\tsky\n0,0,142,car\n# a remark\n0 0 0 Void\n"


def write_folder(root: Path, count: int = 12, size=(20, 24)) -> list[np.ndarray]:
    """``count`` photos of four videos; masks of ids 0 to 2 and 255, their colours, and the same with 0 for unlabelled."""
    made = []
    for n in range(count):
        rng = np.random.default_rng(n)
        labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
        name = f"v{n % 4}_{n:03d}"
        for kind, array in (("photos", rng.integers(0, 256, (*size, 3), dtype=np.uint8)), ("ids", labels),
                            ("colors", COLORS[np.minimum(labels, 3)]), ("ade", (labels + 1).astype(np.uint8))):
            (root / kind / "day").mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / "day" / f"{name}.{'jpg' if kind == 'photos' else 'png'}")
        made.append(labels)
    (root / "table.txt").write_text(TABLE)
    return made


def options(root: Path, masks: str = "ids", **keys) -> FolderOptions:
    given = {"categories": ("road", "sky", "car"), "things": ("car",), "val_share": 0.25, **keys}
    return FolderOptions("mine", str(root / "photos"), str(root / masks), **given)


@pytest.mark.parametrize("masks, keys", [
    ("ids", {}),
    ("ade", {"reduce_zero": True}),
    ("ade", {"changed": ("0=255", "1=0", "2=1", "3=2")}),
    ("colors", {"colors": "table.txt", "categories": ()}),
    ("colors", {"colors": "table.txt", "categories": ("road", "sky", "car")}),
])
def test_all_codings_of_one_folder_give_the_same_labels(tmp_path, masks, keys):
    wanted = write_folder(tmp_path)
    keys = {**keys, **({"colors": str(tmp_path / "table.txt")} if "colors" in keys else {})}
    made = prepare_folder(options(tmp_path, masks, **keys), tmp_path / "out")
    assert made.photos == {"train": 9, "val": 3} and made.categories.names == ("road", "sky", "car")
    assert [item.isthing for item in made.categories.items] == [False, False, True]
    seen = set()
    for side in ("train", "val"):
        source = load_dataset(made.file(side))
        for record in source.records():
            seen.add(record["image_id"])
            labels = read_sample(record, source.categories)[1]
            assert np.array_equal(labels, wanted[int(record["image_id"][-3:])])
    assert len(seen) == 12
    assert (tmp_path / "out" / "masks").exists() == (masks != "ids")
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_nothing_is_done_twice_and_a_changed_mask_is_made_again(tmp_path):
    write_folder(tmp_path)
    given = options(tmp_path, "ade", reduce_zero=True)
    prepare_folder(given, tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("*"))
    before = {file: file.stat().st_ctime_ns for file in files if file.suffix == ".png"}
    again = prepare_folder(given, tmp_path / "out")
    assert again.done_before == ("train", "val") and before == {file: file.stat().st_ctime_ns for file in before}
    first = next(iter(before))
    first.unlink()
    assert len(prepare_folder(given, tmp_path / "out").done_before) == 1 and first.is_file()
    assert sum(file.stat().st_ctime_ns != time for file, time in before.items()) == 1
    mask = tmp_path / "ade" / "day" / "v0_000.png"
    Image.fromarray(np.full((20, 24), 3, np.uint8)).save(mask)
    prepare_folder(given, tmp_path / "out")
    assert (np.asarray(Image.open(tmp_path / "out" / "masks" / "day" / "v0_000.png")) == 2).all()
    with pytest.raises(SegGenError, match="begun with other options"):
        prepare_folder(options(tmp_path, "ade", reduce_zero=True, ignore_id=254), tmp_path / "out")


def test_masks_are_never_made_among_those_that_are_given(tmp_path):
    """As where the dataset's own folder is named for the output; neither are they taken for made ones."""
    write_folder(tmp_path / "mine")
    (tmp_path / "mine/ade").rename(tmp_path / "mine/masks")
    before = {file: file.read_bytes() for file in (tmp_path / "mine").rglob("*") if file.is_file()}
    for keys in ({}, {"mask_name": "day/../{}.png"}):
        with pytest.raises(SegGenError, match="where the given ones lie(.|\n)*another folder"):
            prepare_folder(options(tmp_path / "mine", "masks", reduce_zero=True, **keys), tmp_path / "mine")
    assert before == {file: file.read_bytes() for file in before} and not list((tmp_path / "mine").glob("*.yaml"))


def test_a_mask_that_is_replaced_by_an_older_file_is_made_again(tmp_path):
    """Archives are unpacked with the times of their files."""
    write_folder(tmp_path)
    given, mask = options(tmp_path, "ade", reduce_zero=True), tmp_path / "ade/day/v0_000.png"
    prepare_folder(given, tmp_path / "out")
    Image.fromarray(np.full((20, 24), 3, np.uint8)).save(mask)
    os.utime(mask, (1e9, 1e9))
    prepare_folder(given, tmp_path / "out")
    assert (np.asarray(Image.open(tmp_path / "out/masks/day/v0_000.png")) == 2).all()


def test_a_colour_table_that_is_mended_makes_the_masks_again(tmp_path):
    """Also those that the table of a stopped command had made."""
    write_folder(tmp_path)
    given, table = options(tmp_path, "colors", colors=str(tmp_path / "table.txt")), tmp_path / "table.txt"
    strange = np.full((20, 24, 3), 9, np.uint8)
    Image.fromarray(strange).save(tmp_path / "colors/day/v0_000.png")
    with pytest.raises(SegGenError, match="colours that the table lacks"):
        prepare_folder(given, tmp_path / "out")
    table.write_text("70 130 180 road\n128 64 128 sky\n0 0 142 car\n0 0 0 void\n9 9 9 void\n")
    made = [prepare_folder(given, tmp_path / "out").done_before for _ in range(2)]
    assert made == [(), ("train", "val")]
    table.write_text(TABLE + "9 9 9 void\n")
    assert prepare_folder(given, tmp_path / "out").done_before == ()
    for mask in (tmp_path / "out/masks/day").iterdir():
        wanted = np.asarray(Image.open(tmp_path / "ids/day" / mask.name)) if mask.stem != "v0_000" else 255
        assert (np.asarray(Image.open(mask)) == wanted).all(), mask


def test_options_may_be_mended_until_all_is_well_and_other_ones_then_touch_nothing(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(SegGenError, match="unknown ids(.|\n)*id 2 on"):
        prepare_folder(options(tmp_path, categories=("road", "sky"), things=()), tmp_path / "out")
    mended = options(tmp_path, categories=("road", "sky"), things=(), changed=("2=255",))
    prepare_folder(mended, tmp_path / "out")
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    with pytest.raises(SegGenError, match="begun with other options(.|\n)*val_share: 0.25"):
        prepare_folder(replace(mended, val_share=0.5), tmp_path / "out")
    assert before == {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}


def test_hidden_folders_hold_no_photos(tmp_path):
    for name in ("a.jpg", "b/c.PNG", ".ipynb_checkpoints/a-checkpoint.jpg", "b/.d.jpg"):
        (tmp_path / ".x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".x" / name).touch()
    assert [file.name for file in images_below(tmp_path / ".x")] == ["a.jpg", "c.PNG"]


def test_groups_are_never_torn_apart_and_new_images_move_no_old_one():
    ids = [f"v{n // 10:02d}_{n:04d}" for n in range(1000)]
    train, val = split_ids(ids, 0.2, r"^(v\d+)_")
    assert sorted([*train, *val]) == ids and not {i[:3] for i in train} & {i[:3] for i in val} and 100 <= len(val) <= 300
    more = [*ids, *(f"w{n}_0" for n in range(50))]
    assert set(val) <= set(split_ids(more, 0.2, r"^(\w\d+)_")[1])
    assert [len(side) for side in split_ids(["a", "b", "c"], 0.01)] == [2, 1]
    for bad, match in (("(", "regular expression"), ("x", "finds nothing"), ("^", "nothing to split")):
        with pytest.raises(SegGenError, match=match):
            split_ids(ids, 0.2, bad)


def test_lists_and_folders_of_their_own(tmp_path):
    write_folder(tmp_path)
    names = sorted(f"day/{file.stem}" for file in (tmp_path / "photos" / "day").iterdir())
    (tmp_path / "t.txt").write_text("\n".join(names[:5]))
    (tmp_path / "v.txt").write_text("\n".join(names[5:7]))
    lists = {"train_list": str(tmp_path / "t.txt"), "val_list": str(tmp_path / "v.txt")}
    made = prepare_folder(options(tmp_path, **lists), tmp_path / "a")
    assert [r["image_id"] for r in load_dataset(made.file("val")).records()] == names[5:7] and made.photos["train"] == 5
    own = {"val_images": str(tmp_path / "photos"), "val_masks": str(tmp_path / "ids")}
    assert prepare_folder(options(tmp_path, **own), tmp_path / "b").photos == {"train": 12, "val": 12}
    few = prepare_folder(options(tmp_path, limit=2, **lists), tmp_path / "few")
    assert few.photos == {"train": 2, "val": 2} and [r["image_id"] for r in load_dataset(few.file("train")).records()] == names[:2]
    (tmp_path / "v.txt").write_text("\n".join(names[4:7]))
    with pytest.raises(SegGenError, match="1 images are in both lists"):
        prepare_folder(options(tmp_path, **lists), tmp_path / "c")
    (tmp_path / "v.txt").write_text("day/none")
    with pytest.raises(SegGenError, match="lists name 1 images that are not there"):
        prepare_folder(options(tmp_path, **lists), tmp_path / "d")
    with pytest.raises(SegGenError, match="--train-list and --val-list go together"):
        prepare_folder(options(tmp_path, train_list=lists["train_list"]), tmp_path / "e")


def test_other_names_of_masks(tmp_path):
    write_folder(tmp_path)
    for file in (tmp_path / "ids" / "day").iterdir():
        file.rename(file.with_name(f"{file.stem}_labels.png"))
    with pytest.raises(SegGenError, match="12 photos have no mask"):
        prepare_folder(options(tmp_path, val_images=str(tmp_path / "photos"), val_masks=str(tmp_path / "ids")), tmp_path / "a")
    made = prepare_folder(options(tmp_path, mask_name="{}_labels.png"), tmp_path / "out")
    assert made.photos["train"] == 9 and len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 12


def test_bad_folders_are_told(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(SegGenError) as told:
        prepare_folder(options(tmp_path, "colors"), tmp_path / "a")
    assert "holds colours, not ids" in str(told.value) and "--colors TABLE" in str(told.value)
    with pytest.raises(SegGenError, match="9 of 9 masks cannot be used") as told:
        prepare_folder(options(tmp_path, "ade"), tmp_path / "b")
    assert "id 3 on" in str(told.value) and "0..2, or 255 for ignore" in str(told.value)
    (tmp_path / "few.txt").write_text("128 64 128 road\n70 130 180 sky\n0 0 142 car\n")
    with pytest.raises(SegGenError, match="colours that the table lacks") as told:
        prepare_folder(options(tmp_path, "colors", colors=str(tmp_path / "few.txt")), tmp_path / "c")
    assert "(0, 0, 0) on" in str(told.value)
    with pytest.raises(SegGenError, match="holds no colours"):
        prepare_folder(options(tmp_path, colors=str(tmp_path / "table.txt"), categories=()), tmp_path / "d")
    with pytest.raises(SegGenError, match="name different things"):
        prepare_folder(options(tmp_path, "colors", colors=str(tmp_path / "table.txt"), categories=("road", "sky", "bus"), things=()), tmp_path / "e")
    with pytest.raises(SegGenError, match="categories are not named"):
        prepare_folder(options(tmp_path, categories=()), tmp_path / "f")
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "ids" / "day" / "v0_000.png")
    with pytest.raises(SegGenError, match="differ in size(.|\n)*pair each"):
        prepare_folder(options(tmp_path), tmp_path / "g")
    Image.fromarray(np.zeros((24, 20), np.uint8)).save(tmp_path / "ids" / "day" / "v0_000.png")
    with pytest.raises(SegGenError, match="differ in size(.|\n)*EXIF"):
        prepare_folder(options(tmp_path), tmp_path / "g")
    assert not (tmp_path / "g" / "val.yaml").exists() or not (tmp_path / "g" / "train.yaml").exists()


@pytest.mark.parametrize("name, text", [
    ("t.csv", "name, r, g, b\nroad,128,64,128\nsky,70,130,180\nVOID,0,0,0\n"),
    ("t.json", '{"road": [128, 64, 128], "sky": [70, 130, 180], "void": [0, 0, 0]}'),
    ("t.yaml", "- {name: road, color: [128, 64, 128]}\n- {name: sky, color: [70, 130, 180]}\n- {name: unlabeled, color: [0, 0, 0]}\n"),
    ("t.txt", "#804080 road\n#4682b4 sky\n#000000 ignore\n"),
    ("u.txt", "road 128 64 128\nsky: 70, 130, 180\nvoid 0 0 0\n"),
])
def test_forms_of_colour_tables(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    table = read_color_table(tmp_path / name)
    assert table.names == ("road", "sky") and table.ids == (255, 1, 0) and table.codes == (0, 0x4682B4, 0x804080)
    (tmp_path / name).write_text(text.replace("70", "300").replace("46", "zz"))
    with pytest.raises(SegGenError, match="is no colour table"):
        read_color_table(tmp_path / name)


def test_a_colour_of_two_categories_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("1 2 3 road\n1 2 3 sky\n")
    with pytest.raises(SegGenError, match="gives .1, 2, 3. to two categories"):
        read_color_table(tmp_path / "t.txt")


def test_json_of_either_task_is_split_by_its_images(tmp_path):
    coco.write_coco(tmp_path)
    for task, masks in (("instance", ""), ("panoptic", str(tmp_path / "panoptic"))):
        given = FolderOptions("mine", str(tmp_path / "images"), masks, str(tmp_path / f"{task}.json"), val_share=0.3)
        assert prepare_folder(replace(given, limit=1), tmp_path / f"few {task}").photos == {"train": 1, "val": 1}
        made = prepare_folder(given, tmp_path / task)
        assert made.photos == {"train": 2, "val": 1} and made.task == task
        ids = [r["image_id"] for side in ("train", "val") for r in load_dataset(made.file(side)).records()]
        assert sorted(ids) == [139, 285, 632]
        assert prepare_folder(given, tmp_path / task).done_before == ("train", "val")
    (tmp_path / "other.json").write_text((tmp_path / "instance.json").read_text().replace('"train"', '"bus"'))
    two = FolderOptions("mine", str(tmp_path / "images"), "", str(tmp_path / "instance.json"), val_json=str(tmp_path / "other.json"))
    with pytest.raises(SegGenError, match="different categories") as told:
        prepare_folder(two, tmp_path / "two")
    assert "(7, 'train') against (7, 'bus')" in str(told.value)
    with pytest.raises(SegGenError, match="--colors means nothing with --json"):
        prepare_folder(FolderOptions("m", str(tmp_path / "images"), "", str(tmp_path / "instance.json"), colors="t.txt"), tmp_path / "x")


def test_archives_and_wrong_folders_are_told_with_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "ADEChallengeData2016.zip", "w") as archive:
        for n in range(3):
            archive.writestr(f"../images/training/{n}.jpg", b"x")
    with pytest.raises(SegGenError, match="is an archive, not a folder") as told:
        prepare_ade20k(tmp_path / "ADEChallengeData2016.zip", tmp_path / "out")
    assert "3 .jpg in ../images/training" in str(told.value) and "20,210 and 2,000" in str(told.value)
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(SegGenError, match="cut short, or a web page"):
        prepare_coco(tmp_path / "cut.zip", tmp_path / "out", "panoptic")
    coco.write_coco(tmp_path / "c")
    with pytest.raises(SegGenError, match="does not hold ADE20K") as told:
        prepare_ade20k(tmp_path / "c", tmp_path / "out")
    assert "3 .jpg in images" in str(told.value)
    assert not (tmp_path / "images").exists()


def write_ade(root: Path, rows: int = 150, delimiter: str = "\t") -> None:
    for side, count in (("training", 3), ("validation", 1)):
        for kind in ("images", "annotations"):
            (root / kind / side).mkdir(parents=True)
        for n in range(count):
            labels = np.random.default_rng(n).integers(0, 151, (12, 16), dtype=np.uint8)
            Image.fromarray(labels).save(root / "annotations" / side / f"ADE_{side}_{n}.png")
            Image.fromarray(np.repeat(labels[..., None], 3, 2)).save(root / "images" / side / f"ADE_{side}_{n}.jpg")
    names = ["screen, door" if n == 3 else "screen, film" if n == 7 else f"name {n}" for n in range(rows)]
    lines = [delimiter.join(("Idx", "Ratio", "Train", "Val", "Stuff", "Name"))]
    lines += [delimiter.join((str(n + 1), "0.1", "1", "1", str(n % 2), name)) for n, name in enumerate(names)]
    (root / "objectInfo150.txt").write_text("\n".join(lines))


def test_ade20k_counts_names_and_ids(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    write_ade(root)
    with pytest.raises(SegGenError, match="not whole") as told:
        prepare_ade20k(tmp_path, tmp_path / "out")
    assert "20,210 training photos" in str(told.value) and "3 training photos" in str(told.value) and "1 validation masks" in str(told.value)
    made = prepare_ade20k(tmp_path, tmp_path / "out", allow_counts=True)
    assert made.photos == {"train": 3, "val": 1} and len(made.remarks) == 4
    assert made.categories.names[3] == "screen" and made.categories.names[7] == "film" and made.categories.items[2].isthing
    record = load_dataset(made.file("train")).records()[0]
    before = np.asarray(Image.open(root / "annotations" / "training" / f"{record['image_id']}.png")).astype(int)
    after = read_sample(record, made.categories)[1]
    assert np.array_equal(after, np.where(before == 0, 255, before - 1))
    lines = (root / "objectInfo150.txt").read_text().splitlines()
    (root / "objectInfo150.txt").write_text("\n".join("\t".join(cell for place, cell in enumerate(line.split("\t")) if place != 4) for line in lines))
    plain = read_names(root)
    assert plain.names == made.categories.names and not plain.items[0].isthing and sum(not item.isthing for item in plain.items) == 35
    write_ade(tmp_path / "short", rows=149)
    with pytest.raises(SegGenError, match="categories are not ADE20K's"):
        prepare_ade20k(tmp_path / "short", tmp_path / "x", allow_counts=True)


@needs_samples
def test_samples_of_ade20k_and_coco(tmp_path):
    made = prepare_ade20k(SHARED / "ade20k_sample", tmp_path / "ade", allow_counts=True)
    assert sum(made.photos.values()) == 3 and made.categories.names[:3] == ("wall", "building", "sky")
    assert {"traffic light", "coffee table", "crt screen", "screen door", "screen", "earth"} < {*made.categories.names}
    sample = SHARED / "coco_sample"
    for task, file in (("panoptic", "panoptic_examples"), ("semantic", "panoptic_examples"), ("instance", "panoptic_coco_detection_format")):
        masks = "" if task == "instance" else str(sample / "panoptic_examples")
        part = CocoPart("coco", str(sample / "input_images"), str(sample / f"{file}.json"), masks)
        with pytest.raises(SegGenError, match="118,287 train photos"):
            prepare_coco("", tmp_path / task, task, part=part)
        made = prepare_coco("", tmp_path / task, task, part=part, allow_counts=True)
        assert made.task == task and made.photos == {"train": 1, "val": 1}
        assert prepare_coco("", tmp_path / task, task, part=part, allow_counts=True).done_before == ("train", "val")
    wrong = CocoPart("coco", str(sample / "input_images"), str(sample / "panoptic_examples.json"))
    with pytest.raises(SegGenError, match="holds panoptic annotations"):
        prepare_coco("", tmp_path / "wrong", "instance", part=wrong, allow_counts=True)


def test_coco_as_downloaded(tmp_path):
    coco.write_coco(tmp_path)
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for side in ("train", "val"):
        (root / f"{side}2017").symlink_to(tmp_path / "images")
        (root / "annotations" / f"panoptic_{side}2017").symlink_to(tmp_path / "panoptic")
        for word, kind in (("instances", "instance"), ("panoptic", "panoptic")):
            (root / "annotations" / f"{word}_{side}2017.json").write_text((tmp_path / f"{kind}.json").read_text())
    made = prepare_coco(root, tmp_path / "out", "semantic", allow_counts=True)
    record = load_dataset(made.file("train")).records()[1]
    labels = read_sample(record, made.categories)[1]
    ids = coco.ids(1)
    for segment, category in ((70001, 2), (301, 1), (5, 0), (9, 0), (0, 255)):
        assert (labels[ids == segment] == category).all()
    (root / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(SegGenError, match="lacks annotations/instances_val2017.json"):
        prepare_coco(root, tmp_path / "out2", "instance", allow_counts=True)


def test_schedules_are_upstreams_where_the_photos_are():
    assert iterations("semantic", 20_210, 16) == 160_000 and iterations("panoptic", 118_287, 16) == 368_750
    assert iterations("semantic", 20_210, 8) == 320_000
    assert 45_000 < iterations("semantic", 2_975, 16) < 90_000


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_configs_open_and_edits_stay(tmp_path, monkeypatch, task):
    monkeypatch.chdir(ROOT)
    if task == "semantic":
        write_folder(tmp_path)
        made = prepare_folder(options(tmp_path), tmp_path / "out")
    else:
        coco.write_coco(tmp_path)
        made = prepare_folder(FolderOptions("mine", str(tmp_path / "images"), "", str(tmp_path / "instance.json"), val_share=0.3), tmp_path / "out")
    files = write_configs(made, ConfigOptions("mine", str(ROOT / "configs"), batch=4))
    generators = ["mask2img", "mask2img-24gb", "text2mask", "text2mask-24gb"]
    assert sorted(file.stem for file in files) == sorted([*generators, "real", *SETTINGS, "synthesis", "synthesis-full"])
    real = yaml.safe_load((tmp_path / "out" / "real.yaml").read_text())
    assert real["MODEL"]["SEM_SEG_HEAD"]["NUM_CLASSES"] == len(made.categories) and real["SOLVER"]["IMS_PER_BATCH"] == 4
    assert real["SOLVER"]["BASE_LR"] == 2.5e-5 and all(Path(file).is_file() for file in real["SEGGEN"]["DATASETS"])
    if task == "semantic":
        pytest.importorskip("fvcore")
        from seggen_d2.engine.config import load_config

        cfg, _ = load_config(tmp_path / "out" / "real+seggen.yaml")
        assert cfg.DATASETS.TRAIN == ["mine_train"] and cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 3 and cfg.SEGGEN.BANKS and cfg.INPUT.CROP.SIZE == [512, 512]
    (tmp_path / "out" / "real.yaml").write_text("edited: true\n")
    (tmp_path / "out" / "real+seggen.yaml").unlink()
    assert [file.stem for file in write_configs(made, ConfigOptions("mine", str(ROOT / "configs")))] == ["real+seggen"]
    assert (tmp_path / "out" / "real.yaml").read_text() == "edited: true\n"


@pytest.mark.parametrize("small", [False, True])
def test_every_setting_of_the_toy_world_is_written_and_trains_as_long_as_the_baseline(tmp_path, monkeypatch, small):
    pytest.importorskip("fvcore")
    from seggen_d2.engine.config import load_config

    monkeypatch.chdir(ROOT)
    write_folder(tmp_path)
    made = prepare_folder(options(tmp_path), tmp_path / "out")
    write_configs(made, ConfigOptions("mine", str(ROOT / "configs"), batch=8, small=small))
    toys = {file.stem: load_config(file)[0] for file in (ROOT / "configs/toy").glob("*.yaml") if file.stem in ("real", *SETTINGS)}
    assert set(toys) == {"real", *SETTINGS}
    length, rate = (load_config(tmp_path / "out/real.yaml")[0].SOLVER[key] for key in ("MAX_ITER", "BASE_LR"))
    for name, toy in toys.items():
        cfg, _ = load_config(tmp_path / "out" / f"{name}.yaml")
        assert [Path(bank).name for bank in cfg.SEGGEN.BANKS] == [Path(bank).name for bank in toy.SEGGEN.BANKS]
        assert [stage["P_AUG"] for stage in cfg.SEGGEN.STAGES] == [stage["P_AUG"] for stage in toy.SEGGEN.STAGES]
        if cfg.SEGGEN.BANKS and not cfg.SEGGEN.STAGES:
            assert cfg.SEGGEN.P_AUG == toy.SEGGEN.P_AUG
        assert sum(stage["ITERATIONS"] for stage in cfg.SEGGEN.STAGES) == (length if cfg.SEGGEN.STAGES else 0) and length == cfg.SOLVER.MAX_ITER
        assert f"output/mine/runs/{name}-seed0" == cfg.OUTPUT_DIR and all(stage.get("BASE_LR", rate) <= rate for stage in cfg.SEGGEN.STAGES)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("start", ["own", "ade20k", "coco-panoptic", "coco-instance"])
def test_the_tools_read_the_configs_of_generators_and_syntheses(tmp_path, monkeypatch, start, small):
    pytest.importorskip("diffusers")
    from seggen_d2.foundation.options import build, load_yaml
    from seggen_d2.generators.training.fine_tuning import GeneratorOptions
    from seggen_d2.synthesis.options import options_for

    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path)
    made = prepare_folder(options(tmp_path), tmp_path / "out")
    for file in write_configs(made, ConfigOptions("mine", str(ROOT / "configs"), generators=start, small=small)):
        if file.stem.startswith(("text2mask", "mask2img")):
            found = build(GeneratorOptions, load_yaml(file), str(file))
            assert found.exclude == ("out/val.yaml",) and (found.base == "toy") is small and found.training.steps == (10 if small else 30_000)
        elif file.stem.startswith("synthesis"):
            found = options_for("imgsyn", load_yaml(file), str(file))
            assert found.mask2img == "output/mine/mask2img/model" and (found.images.steps == 4) is small
        if file.stem.startswith(("text2mask", "mask2img", "synthesis")):
            assert (found.dataset, found.captions) == ("out/train.yaml", "output/mine/captions/captions.parquet")


def test_the_script_prepares_by_two_processes_and_tells_errors_without_a_traceback(tmp_path):
    write_folder(tmp_path, count=40)
    command = [sys.executable, "datasets/prepare_folder.py", "--images", str(tmp_path / "photos"), "--masks", str(tmp_path / "ade"), "--reduce-zero",
               "--output", str(tmp_path / "out"), "--workers", "2"]
    bad = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert bad.returncode == 2 and "categories are not named" in bad.stderr and "Traceback" not in bad.stderr
    good = subprocess.run([*command, "--categories", "road", "sky", "car"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert "out/train.yaml: 36 photos, 3 categories, semantic" in good.stdout and "masks of train" in good.stderr
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["reduce_zero"] is True

"""A bank of any images and masks: what is copied, what is encoded, resume, and what bad input gets."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from seggen_d2.bank import Bank, ImportOptions, import_bank, read_info, verify_bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing.leaks import check_leaks
from seggen_d2.mixing.sampling import Paired
from seggen_d2.segmentation import Categories, Category, label_map_png, read_label_map
from seggen_d2.sources import FolderSource, load_dataset
from seggen_d2.sources.category_list import read_categories

ROOT = Path(__file__).parents[1]
SHARED = ROOT / ".." / "shared" / "data"
CATEGORIES = Categories.from_names(["road", "sky", "car"])
STEMS = [f"scene_{source:03d}_{variant}" for source in range(4) for variant in range(3)]


def masks_of(number: int) -> np.ndarray:
    labels = np.full((12, 16), number % 3, np.uint8)
    labels[0, : number + 1] = 255
    return labels


@pytest.fixture()
def folder(tmp_path):
    """Twelve images of 12 x 16 pixels, every second a PNG, and their masks."""
    for number, stem in enumerate(STEMS):
        for name in ("images", "masks"):
            (tmp_path / name).mkdir(exist_ok=True)
        picture = Image.fromarray(np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8))
        picture.save(tmp_path / "images" / f"{stem}.{'png' if number % 2 else 'jpg'}")
        (tmp_path / "masks" / f"{stem}.png").write_bytes(label_map_png(masks_of(number)))
    return tmp_path


def source_of(folder: Path, categories: Categories = CATEGORIES) -> FolderSource:
    return FolderSource("mine", folder / "images", folder / "masks", categories)


def tool(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / "import_bank.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".cache" not in p.parts}


def test_the_tool_makes_a_bank_that_pairs(folder):
    done = tool("--images", folder / "images", "--masks", folder / "masks", "--categories", *CATEGORIES.names, "--source-pattern",
                r"(.+)_\d+$", "--licence", "CC-BY-4.0", "--shard-size", 5, "--output", folder / "bank")
    assert done.returncode == 0, done.stderr
    assert "12 samples" in done.stdout and "3 of 3 categories seen" in done.stdout and f"{78 / (12 * 192):.2%}" in done.stdout
    bank = Bank(folder / "bank")
    assert bank.shards == ("imgsyn-00000", "imgsyn-00001", "imgsyn-00002") and bank.verify() == []
    assert bank.info.generators[0]["licence"] == "CC-BY-4.0" and str(folder) not in (folder / "bank/bank.json").read_text()
    assert bank.variants("scene_002").tolist() == [6, 7, 8]
    assert Paired(bank)({"file_name": "/real/scene_003.jpg"}, 0.5) == 10
    for number, stem in enumerate(STEMS):
        record = bank.record(number)
        image, mask = (bank.read(record["image_id"], kind) for kind in ("jpg", "png"))
        assert np.array_equal(read_label_map(mask), masks_of(number)) and mask == (folder / "masks" / f"{stem}.png").read_bytes()
        file = folder / "images" / f"{stem}.{'png' if number % 2 else 'jpg'}"
        if number % 2:
            given = np.asarray(Image.open(file)).astype(int)
            assert np.abs(np.asarray(Image.open(io.BytesIO(image))) - given).mean() < 4
        else:
            assert image == file.read_bytes()
    bank.close()


def test_images_in_folders_of_folders_pair_and_do_not_leak(tmp_path):
    """As Cityscapes' do: two cities may have files of one name, and hosts' records hold the files' names alone."""
    for number, city in enumerate(("aachen", "bonn")):
        for kind in ("images", "masks"):
            (tmp_path / kind / city).mkdir(parents=True)
        Image.new("RGB", (16, 12)).save(tmp_path / "images" / city / "0.jpg")
        (tmp_path / "masks" / city / "0.png").write_bytes(label_map_png(masks_of(number)))
    import_bank(FolderSource("cities", tmp_path / "images", tmp_path / "masks", CATEGORIES), tmp_path / "bank")
    bank = Bank(tmp_path / "bank")
    assert [Paired(bank)({"file_name": f"/real/{city}/0.png"}, 0.5) for city in ("aachen", "bonn", "ulm")] == [0, 1, None]
    with pytest.raises(SegGenError, match="made from 1 images(.|\n)*bonn/0"):
        check_leaks([bank], [{"file_name": "/real/bonn/0.png"}, {"file_name": "/real/ulm/0.png"}], "val")
    bank.close()


def test_a_dataset_file_serves_as_well(folder):
    spec = {"name": "mine", "images": "images", "masks": "masks", "categories": list(CATEGORIES.names), "limit": 7}
    (folder / "d.yaml").write_text(yaml.safe_dump(spec))
    done = tool("--dataset", folder / "d.yaml", "--output", folder / "bank", "--strategy", "render", "--limit", 3)
    assert done.returncode == 0 and "3 samples" in done.stdout, done.stderr
    bank = Bank(folder / "bank")
    assert bank.record(2)["source_id"] == "scene_000_2" and bank.record(2)["strategy"] == "render"
    bank.close()


def test_indexed_masks_become_grey_ones_of_the_same_ids(folder):
    """Readers such as opencv give the colours of indexed ones."""
    for path in (folder / "masks").glob("*.png"):
        image = Image.fromarray(read_label_map(path))
        image.putpalette([(7 * n) % 256 for n in range(768)])
        image.save(path)
        assert Image.open(path).mode == "P"
    import_bank(source_of(folder), folder / "bank")
    bank = Bank(folder / "bank")
    for number, (_, mask) in enumerate(zip(source_of(folder).image_files(), sorted((folder / "masks").iterdir()), strict=True)):
        made = Image.open(io.BytesIO(bank.read(bank.key(number), "png")))
        assert made.mode == "L" and np.array_equal(np.asarray(made), read_label_map(mask))
    bank.close()


def test_threads_and_resume_leave_the_bytes_as_they_are(folder):
    options = ImportOptions(shard_size=4)
    import_bank(source_of(folder), folder / "a", options)
    import_bank(source_of(folder), folder / "b", options, threads=4)
    whole = tree(folder / "a")
    assert tree(folder / "b") == whole
    (folder / "b/shards/imgsyn-00001.tar").unlink()
    os.truncate(folder / "b/shards/imgsyn-00002.tar", 600)
    assert import_bank(source_of(folder), folder / "b", options).samples == 12 and tree(folder / "b") == whole


def test_killed_at_any_moment_the_same_command_goes_on(folder):
    arguments = ["--images", folder / "images", "--masks", folder / "masks", "--categories", *CATEGORIES.names, "--shard-size", 1]
    assert tool(*arguments, "--output", folder / "whole").returncode == 0
    command = [sys.executable, str(ROOT / "tools/import_bank.py"), *map(str, arguments), "--output", str(folder / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while process.poll() is None and len(list((folder / "killed").glob("shards/[!.]*"))) < 2:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not [line for line in verify_bank(folder / "killed") if "is missing" not in line]
    assert tool(*arguments, "--output", folder / "killed").returncode == 0
    assert tree(folder / "killed") == tree(folder / "whole")


def test_another_source_or_other_options_are_refused(folder):
    import_bank(source_of(folder), folder / "bank")
    before = tree(folder / "bank")
    for options, words in ((ImportOptions(quality=90), "job.quality"), (ImportOptions(limit=5), "job.samples: 5 against 12")):
        with pytest.raises(SegGenError, match=words):
            import_bank(source_of(folder), folder / "bank", options)
    (folder / "masks" / f"{STEMS[3]}.png").write_bytes(label_map_png(np.eye(12, 16)))
    with pytest.raises(SegGenError, match="another (job|generator)(.|\n)*another folder"):
        import_bank(source_of(folder), folder / "bank")
    assert tree(folder / "bank") == before


def test_ids_counted_from_one(folder):
    for number, stem in enumerate(STEMS):
        labels = masks_of(number)
        (folder / "masks" / f"{stem}.png").write_bytes(label_map_png(np.where(labels == 255, 0, labels + 1)))
    import_bank(source_of(folder), folder / "bank", ImportOptions(reduce_zero=True))
    bank = Bank(folder / "bank")
    assert all(np.array_equal(read_label_map(bank.read(bank.key(n), "png")), masks_of(n)) for n in range(12))
    bank.close()


def test_reduced_masks_may_hold_the_ignore_id_beside_zero_and_strange_ids_are_told_as_they_are(folder):
    for number, stem in enumerate(STEMS):
        labels = masks_of(number)
        raw = np.where(labels == 255, 0, labels + 1)
        raw[labels == 255] = np.where(np.arange((labels == 255).sum()) % 2, 0, 255)
        (folder / "masks" / f"{stem}.png").write_bytes(label_map_png(raw))
    import_bank(source_of(folder), folder / "bank", ImportOptions(reduce_zero=True))
    bank = Bank(folder / "bank")
    assert all(np.array_equal(read_label_map(bank.read(bank.key(n), "png")), masks_of(n)) for n in range(12))
    bank.close()
    (folder / "masks" / f"{STEMS[0]}.png").write_bytes(label_map_png(np.full((12, 16), len(CATEGORIES.names) + 1)))
    with pytest.raises(SegGenError, match=f"id {len(CATEGORIES.names) + 1} on"):
        import_bank(source_of(folder), folder / "other", ImportOptions(reduce_zero=True))


def test_masks_whose_zero_may_be_unlabelled_are_told(folder):
    for number, stem in enumerate(STEMS):
        labels = masks_of(number)
        (folder / "masks" / f"{stem}.png").write_bytes(label_map_png(np.where(labels == 255, 0, labels + 1)))
    names = ("--images", folder / "images", "--masks", folder / "masks", "--categories")
    raw = tool(*names, "unlabelled", *CATEGORIES.names, "--output", folder / "raw")
    assert raw.returncode == 0 and "hint: no pixel is unlabelled" in raw.stdout and "--reduce-zero" in raw.stdout
    right = tool(*names, *CATEGORIES.names, "--reduce-zero", "--output", folder / "right")
    assert right.returncode == 0 and "hint" not in right.stdout


def test_variants_may_share_the_mask_of_their_source(folder):
    for number, stem in enumerate(STEMS):
        own = folder / "masks" / f"{stem}.png"
        if number % 3:
            own.unlink()
        else:
            own.rename(own.with_name(f"{stem[:-2]}.png"))
    import_bank(source_of(folder), folder / "bank", ImportOptions(source_pattern="^scene_[0-9]+"))
    bank = Bank(folder / "bank")
    found = [read_label_map(bank.read(bank.key(n), "png")) for n in range(12)]
    assert all(np.array_equal(labels, masks_of(number // 3 * 3)) for number, labels in enumerate(found))
    assert bank.record(11)["source_id"] == "scene_003"
    bank.close()
    (folder / "masks" / "scene_003.png").unlink()
    with pytest.raises(SegGenError, match="3 of 12 images have no mask\n.*scene_003.png"):
        import_bank(source_of(folder), folder / "other", ImportOptions(source_pattern="^scene_[0-9]+"))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


BAD = [
    (lambda f: (f / "images" / f"{STEMS[2]}.jpg").write_bytes(b"\xff\xd8\xff no image"), f"{STEMS[2]}.jpg cannot be read"),
    (lambda f: os.truncate(f / "images" / f"{STEMS[2]}.jpg", 400), f"{STEMS[2]}.jpg cannot be read"),
    (lambda f: turned(f / "images" / f"{STEMS[2]}.jpg"), f"{STEMS[2]}.jpg is stored turned(.|\n)*EXIF orientation 6"),
    (lambda f: (f / "masks" / f"{STEMS[2]}.png").write_bytes(label_map_png(np.zeros((16, 12)))), "differ in size(.|\n)*12 x 16(.|\n)*16 x 12"),
    (lambda f: (f / "masks" / f"{STEMS[2]}.png").write_bytes(label_map_png(np.full((12, 16), 7))), "unknown ids(.|\n)*id 7 on 192"),
    (lambda f: Image.new("RGB", (16, 12)).save(f / "masks" / f"{STEMS[2]}.png"), "holds colours, not ids"),
    (lambda f: (f / "masks" / f"{STEMS[2]}.png").unlink(), "1 of 12 images have no mask"),
    (lambda f: Image.new("I;16", (16, 12), 9000).save(f / "images" / f"{STEMS[2]}.jpg", "PNG"), "more than 8 bits a pixel"),
]


@pytest.mark.parametrize(("break_it", "words"), BAD)
def test_a_bad_image_stops_or_is_left_out_and_listed(folder, break_it, words):
    break_it(folder)
    with pytest.raises(SegGenError, match=words):
        import_bank(source_of(folder), folder / "bank")
    assert not list((folder / "bank").glob("shards/*"))
    summary = import_bank(source_of(folder), folder / "kept", ImportOptions(keep_going=True, shard_size=3))
    assert summary.samples == 11 and [r.key for r in summary.rejections] == ["imgsyn-000000002"]
    assert f"1 images were refused; the first: {STEMS[2]}: " in str(summary)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source_pattern": r"(.+)_\d\d$"}, "finds no source in 12 of 12 file names\n.*\n.*scene_000_0"),
        ({"source_pattern": "("}, "no regular expression"),
        ({"strategy": "a b"}, "the strategy cannot be used as a name"),
        ({"quality": 101}, "quality is out of range"),
        ({"shard_size": 0}, "shard_size is out of range"),
    ],
)
def test_options_out_of_range(folder, change, words):
    with pytest.raises(SegGenError, match=words):
        import_bank(source_of(folder), folder / "bank", ImportOptions(**change))
    assert not (folder / "bank").exists()


def test_arguments_that_do_not_go_together(folder):
    for arguments, words in (
        ((), "what to import is not clear"),
        (("--images", folder / "images"), "what to import is not clear"),
        (("--dataset", "d.yaml", "--like", "ade20k_sem_seg_train"), "--dataset and --like exclude each other"),
        (("--images", "i", "--masks", "m", "--categories", "a", "--like", "b"), "--categories and --like exclude each other"),
    ):
        done = tool(*arguments, "--output", folder / "bank")
        assert done.returncode == 2 and words in done.stderr
    done = tool("--images", folder / "nowhere", "--masks", folder / "masks", "--categories", "a", "--output", folder / "bank")
    assert done.returncode == 2 and "nowhere does not exist" in done.stderr and not (folder / "bank").exists()


def test_categories_come_in_many_forms(tmp_path):
    (tmp_path / "a.txt").write_text("road\n\nsky\n car \n")
    (tmp_path / "a.yaml").write_text("categories: [road, {name: car, isthing: true}]\nignore_id: 9\n")
    (tmp_path / "a.json").write_text(json.dumps([{"id": 5, "name": "car", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}]))
    (tmp_path / "list.yaml").write_text("- road\n- {name: car, isthing: true}\n")
    assert read_categories([str(tmp_path / "list.yaml")], 9) == read_categories([str(tmp_path / "a.yaml")])
    (tmp_path / "b.yaml").write_text("names: [a]\n")
    assert read_categories(["road", "sky", "car"]) == read_categories([str(tmp_path / "a.txt")]) == CATEGORIES
    assert read_categories([str(tmp_path / "a.yaml")]) == Categories((Category("road"), Category("car", True)), 9)
    assert read_categories([str(tmp_path / "a.json")], 20) == Categories((Category("car", True), Category("sky")), 20)
    for words, message in (([str(tmp_path / "b.yaml")], "has no key categories"), ([str(tmp_path / "c.txt")], "does not exist"),
                           (["a", "a"], "must differ")):
        with pytest.raises(SegGenError, match=message):
            read_categories(words)


@pytest.mark.skipif(not (SHARED / "ade20k_sample").is_dir(), reason="no ADE20K samples beside the repository")
def test_the_real_samples_of_ade20k(tmp_path):
    where = SHARED / "ade20k_sample"
    names = Categories.from_names(f"category {i}" for i in range(150))
    source = FolderSource("ade", where / "images", where / "annotations", names)
    summary = import_bank(source, tmp_path / "bank", ImportOptions(reduce_zero=True))
    assert summary.samples == 3 and 0 < summary.ignored < sum(summary.pixels.values())
    assert read_info(tmp_path / "bank").task == "semantic" and verify_bank(tmp_path / "bank") == []


@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="no CamVid beside the repository")
def test_a_bank_of_camvid(tmp_path):
    source = load_dataset(ROOT / "datasets" / "camvid_val.yaml")
    summary = import_bank(source, tmp_path / "bank", ImportOptions(limit=4))
    bank = Bank(tmp_path / "bank")
    assert summary.samples == len(bank) == 4 and bank.record(0)["height"] == 360
    bank.close()


def test_a_mask_compressed_with_loss_is_refused(folder):
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(folder / "masks" / f"{STEMS[0]}.png", "JPEG")
    with pytest.raises(SegGenError, match="compressed with loss"):
        import_bank(source_of(folder), folder / "bank")


def test_a_source_without_one_usable_sample_is_told(folder):
    for stem in STEMS:
        (folder / "masks" / f"{stem}.png").write_bytes(label_map_png(np.full((12, 16), 9, np.uint8)))
    with pytest.raises(SegGenError, match="none of the 12 images.*\n(.*\n)*.*unknown ids"):
        import_bank(source_of(folder), folder / "bank", ImportOptions(keep_going=True))


def test_hidden_files_are_no_images(folder):
    (folder / "images" / "._scene.jpg").write_bytes(b"a resource fork")
    assert len(source_of(folder).records()) == len(STEMS)


def test_a_category_is_a_thing_or_not():
    with pytest.raises(SegGenError, match="no category"):
        Categories.from_json({"items": [{"name": "car", "isthing": "false"}]}, "categories")

"""What a check tells of a dataset: each kind of problem planted, and found where it lies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
import yaml
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.panoptic import panoptic_png
from seggen_d2.sources import __main__ as command
from seggen_d2.sources import load_dataset
from seggen_d2.sources.checking.dataset import check_dataset
from seggen_d2.sources.checking.problems import KINDS
from seggen_d2.sources.checking.report import report_text

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
NAMES = ["road", "sky", "car"]


def write_folder(root: Path, count: int = 4, names=NAMES, size=(70, 80)) -> Path:
    """``count`` sound photos with masks of ids 0 to 2 and 255; their YAML."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        rng = np.random.default_rng([n, len(root.name)])
        write_photo(root, n, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        write_mask(root, n, rng.choice(np.array([0, 1, 2, 255], np.uint8), size))
    spec = {"name": root.name, "images": "images", "masks": "masks", "categories": list(names)}
    (root / "data.yaml").write_text(yaml.safe_dump(spec))
    return root / "data.yaml"


def write_photo(root: Path, n: int, array: np.ndarray, **keys) -> None:
    Image.fromarray(array).save(root / "images" / f"{n}.jpg", **keys)


def write_mask(root: Path, n: int, array: np.ndarray) -> None:
    Image.fromarray(array).save(root / "masks" / f"{n}.png")


def kinds(report) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in report.problems:
        found.setdefault(problem.kind, []).append(Path(problem.file).name)
    return found


def test_a_sound_dataset_has_no_problem(tmp_path):
    report = check_dataset(write_folder(tmp_path / "a"))
    assert not report.problems and not report.failed and report.photos == 4
    assert 0.2 < report.unlabelled < 0.3 and [use.photos for use in report.use] == [4, 4, 4]
    assert sum(use.pixels for use in report.use) + report.unlabelled * 4 * 70 * 80 == pytest.approx(4 * 70 * 80)
    assert "nothing speaks against training" in report_text(report)


def test_each_fault_of_a_folder_is_told_by_its_file(tmp_path):
    root = tmp_path / "a"
    path, size = write_folder(root, 14), (70, 80)
    (root / "masks" / "0.png").unlink()
    write_mask(root, 99, np.zeros(size, np.uint8))
    write_mask(root, 1, np.full(size, 3, np.uint8))
    write_mask(root, 2, np.zeros((*size, 3), np.uint8))
    write_mask(root, 3, np.zeros((35, 40), np.uint8))
    write_mask(root, 4, np.full(size, 255, np.uint8))
    (root / "masks" / "5.png").unlink()
    Image.fromarray(np.zeros(size, np.uint8)).save(root / "masks" / "5.jpg")
    (root / "images" / "6.jpg").write_bytes((root / "images" / "6.jpg").read_bytes()[:300])
    (root / "masks" / "7.png").write_bytes(b"")
    shutil.copy(root / "images" / "8.jpg", root / "images" / "9.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    write_photo(root, 10, np.zeros((80, 70, 3), np.uint8), exif=exif)
    write_photo(root, 11, np.zeros((*size, 3), np.uint8), exif=exif)
    write_photo(root, 12, np.zeros((20, 30, 3), np.uint8))
    write_mask(root, 12, np.zeros((20, 30), np.uint8))
    Image.fromarray(np.zeros((*size, 4), np.uint8)).save(root / "images" / "13.png")
    (root / "images" / "13.jpg").unlink()
    report = check_dataset(path)
    assert kinds(report) == {
        "missing-mask": ["0.jpg"], "missing-photo": ["99.png"], "id-range": ["1.png"], "color-mask": ["2.png"], "size": ["3.jpg"], "empty-mask": ["4.png"],
        "lossy-mask": ["5.jpg"], "unreadable": ["6.jpg", "7.png"], "duplicate": ["9.jpg"], "exif": ["10.jpg"], "turned": ["10.jpg", "11.jpg"],
        "tiny": ["12.jpg"], "photo-mode": ["13.png"], "shifted": ["a"],
    }
    assert report.failed and "id 3 on 5,600 pixels" in report_text(report)
    details = {problem.kind: problem.detail for problem in report.problems}
    assert "photo 70 x 80, its mask 35 x 40 (H x W)" in details["size"] and "3.jpg" not in details["exif"]


def test_photos_that_differ_by_their_ending_alone_are_told(tmp_path):
    path = write_folder(tmp_path / "a")
    shutil.copy(tmp_path / "a/images/1.jpg", tmp_path / "a/images/1.jpeg")
    assert kinds(check_dataset(tmp_path / "a", workers=1))["structure"] == ["1.jpg"]
    with pytest.raises(SegGenError, match="differ by their ending alone\n.*1.jpeg and 1.jpg"):
        load_dataset(path).records()


def test_zero_for_unlabelled_is_suspected(tmp_path):
    for name, add, kind in (("all", 0, "maybe-shifted"), ("one", 1, "shifted")):
        root = tmp_path / name
        path = write_folder(root)
        for n in range(4):
            write_mask(root, n, np.random.default_rng(n).integers(0, 3 + add, (70, 80), dtype=np.uint8))
        report = check_dataset(path)
        assert kind in kinds(report) and report.failed == bool(add)
        assert "--reduce-zero" in report_text(report)


def test_unused_and_rare_categories(tmp_path):
    path = write_folder(tmp_path / "a", 12, [*NAMES, "boat", "bike"])
    write_mask(tmp_path / "a", 0, np.full((70, 80), 3, np.uint8))
    assert {k: v for k, v in kinds(check_dataset(path)).items()} == {"unused-category": ["bike"], "rare-category": ["boat"]}


def test_photos_of_the_validation_set_are_found(tmp_path):
    train, val = write_folder(tmp_path / "train"), write_folder(tmp_path / "v")
    assert not check_dataset(train, against=[val]).problems
    shutil.copy(tmp_path / "v" / "images" / "2.jpg", tmp_path / "train" / "images" / "1.jpg")
    report = check_dataset(train, against=[val])
    assert kinds(report) == {"leak": ["1.jpg"]} and report.failed and str(Path("v/images/2.jpg")) in report.problems[0].detail


def test_a_folder_without_yaml(tmp_path):
    write_folder(tmp_path / "a")
    report = check_dataset(tmp_path / "a")
    assert not report.problems and [use.name for use in report.use] == ["id 0", "id 1", "id 2"]
    (tmp_path / "a" / "images").rename(tmp_path / "a" / "mine")
    with pytest.raises(SegGenError, match="no folder of a usual name"):
        check_dataset(tmp_path / "a")
    assert check_dataset(tmp_path / "a", images=tmp_path / "a" / "mine").photos == 4
    for wrong, match in (("none.yaml", "does not exist"), ("x.zip", "is no dataset")):
        (tmp_path / "x.zip").write_bytes(b"x")
        with pytest.raises(SegGenError, match=match):
            check_dataset(tmp_path / wrong)


def test_sound_coco_files(tmp_path):
    files = coco.write_coco(tmp_path)
    for task in ("panoptic", "instance"):
        report = check_dataset(files[task])
        assert set(kinds(report)) == {"tiny", "id-gaps"} and report.task == task and report.photos == 3
        direct = check_dataset(tmp_path / f"{task}.json", images=tmp_path / "images", masks=tmp_path / "panoptic")
        assert direct.use == report.use
    shares = {use.name: use.pixels for use in check_dataset(files["panoptic"]).use}
    assert shares["sky"] == sum(int((coco.ids(n) == 70_000 + n).sum()) for n in range(3))


def test_each_fault_of_an_instance_json_is_told(tmp_path):
    coco.write_coco(tmp_path)
    path = tmp_path / "instance.json"
    value = json.loads(path.read_text())
    items = {item["id"]: item for item in value["annotations"]}
    polygons = [item for item in value["annotations"] if isinstance(item["segmentation"], list)]
    polygons[0]["segmentation"] = [[0, 0, 100, 0, 100, 100, 0, 100]]
    polygons[1]["bbox"] = [0, 0, 3, 3]
    polygons[2]["segmentation"] = [[1, 2]]
    items[1]["category_id"] = 1000
    items[3]["segmentation"]["counts"] = "0"
    items[11]["area"] = 10_000
    items[13]["id"] = 12
    value["annotations"].append({**items[13], "id": 900, "image_id": 12345})
    value["images"].append({"id": 5, "file_name": "none.jpg", "height": 3, "width": 3})
    value["images"][2]["height"] = 21
    path.write_text(json.dumps(value))
    report = check_dataset(path, images=tmp_path / "images")
    found = {kind: len(files) for kind, files in kinds(report).items() if kind not in ("tiny", "id-gaps")}
    assert found["unknown-category"] == 1 and found["duplicate-id"] == 1 and found["missing-photo"] == 2 and found["unannotated"] == 1
    assert found["size"] >= 1 and found["geometry"] >= 3 and found["box"] >= 2
    text = report_text(report, 0)
    for words in ("1000", "image 12345", "polygons from (0, 0) to (100, 100)", "no polygon of 3 points", "area 10,000", "box [0, 0, 3, 3]"):
        assert words in text, words


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_odd_entries_of_a_json_are_told_where_training_would_stop(tmp_path, task):
    file, path = coco.write_coco(tmp_path)[task], tmp_path / f"{task}.json"
    value = json.loads(path.read_text())
    one, two, three = (entry["segments_info"][0] for entry in value["annotations"]) if task == "panoptic" else value["annotations"][1::4]
    one["category_id"], two["iscrowd"] = [1], "no"
    del three["bbox"]
    value["images"][1]["file_name"] = value["images"][0]["file_name"]
    path.write_text(json.dumps(value))
    report = check_dataset(file)
    found, text = kinds(report), report_text(report, 0)
    assert len(found["unknown-category"]) == len(found["structure"]) == len(found["geometry"]) == 1 and found["duplicate"] == ["000000000139.jpg"]
    assert "[1]" in text and "iscrowd 'no'" in text and "box None" in text and "images 139, 285" in text


def test_segments_without_a_number_are_told(tmp_path):
    file = coco.write_coco(tmp_path)["panoptic"]
    value = json.loads((tmp_path / "panoptic.json").read_text())
    value["annotations"][0]["segments_info"] = None
    value["annotations"][1]["segments_info"] += [{"category_id": 1}, 5]
    value["annotations"].append(value["annotations"][2])
    (tmp_path / "panoptic.json").write_text(json.dumps(value))
    text = report_text(check_dataset(file), 0)
    assert "image 139 has no segments_info" in text and "2 segments of image 285 have no number" in text and "several annotations of image 632" in text


def test_each_fault_of_a_panoptic_set_is_told(tmp_path):
    files = coco.write_coco(tmp_path)
    ids = coco.ids(0)
    ids[0, 0], ids[ids == 300] = 777, 0
    (tmp_path / "panoptic" / f"{coco.IMAGES[0]}.png").write_bytes(panoptic_png(ids))
    Image.fromarray(np.zeros((coco.HEIGHT, coco.WIDTH), np.uint8)).save(tmp_path / "panoptic" / f"{coco.IMAGES[1]}.png")
    (tmp_path / "panoptic" / f"{coco.IMAGES[2]}.png").unlink()
    report = check_dataset(files["panoptic"])
    found = kinds(report)
    assert found["segment"] == ["000000000139.png"] * 2 + ["000000000285.png"] and found["missing-mask"] == ["000000000632.jpg"]
    text = report_text(report)
    assert "id 777 on 1 pixels" in text and "without a pixel: segments 300" in text


def test_the_command_exits_by_what_it_found_and_writes_json(tmp_path):
    path = write_folder(tmp_path / "a", 30)
    run = [sys.executable, "-m", "seggen_d2.sources", "check", str(path), "--workers", "2", "--json", str(tmp_path / "r.json")]
    good = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert good.returncode == 0 and "a: 30 photos, 0 errors, 0 warnings" in good.stdout, good.stderr
    for n in range(7):
        write_mask(tmp_path / "a", n, np.full((70, 80), 9, np.uint8))
    bad = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert bad.returncode == 1 and "ERROR (7): masks hold ids" in bad.stdout and "and 2 more (--all)" in bad.stdout
    value = json.loads((tmp_path / "r.json").read_text())
    assert value["counts"]["error"] == 7 and len(value["problems"]["id-range"]["files"]) == 7 and value["categories"][0]["name"] == "road"


def test_vae_runs_the_survival_as_a_process_of_its_own(tmp_path, monkeypatch):
    asked = []

    class Done:
        returncode = 3

    monkeypatch.setattr(command.subprocess, "run", lambda words, check: asked.append(words) or Done)
    path = write_folder(tmp_path / "a")
    monkeypatch.setattr(sys, "argv", ["sources", "check", str(path), "--workers", "1", "--vae", "toy", "--", "--limit", "3"])
    with pytest.raises(SystemExit) as left:
        command.main()
    wanted = ["-m", "seggen_d2.generators", "survival", "--dataset", str(path), "--vae", "toy", "--limit", "3"]
    assert left.value.code == 3 and asked == [[sys.executable, *wanted]]
    (tmp_path / "a" / "masks" / "0.png").unlink()
    with pytest.raises(SystemExit) as left:
        command.main()
    assert left.value.code == 1 and len(asked) == 1


def test_every_kind_says_what_to_do():
    assert all(kind.title and kind.remedy and kind.severity in ("error", "warning", "note") for kind in KINDS.values())


@pytest.mark.skipif(not SHARED.is_dir(), reason="no samples beside the repository")
def test_real_samples_are_sound():
    for file in ("panoptic_examples.json", "panoptic_coco_detection_format.json"):
        report = check_dataset(SHARED / "coco_sample" / file)
        assert set(kinds(report)) == {"unused-category", "id-gaps"} and report.photos == 2
    assert not check_dataset(SHARED / "ade20k_sample").problems

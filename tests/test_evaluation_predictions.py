"""Saved predictions in the three formats: the figures of their arrays, the tool and its page, and everything that can be wrong with them."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coco_samples import CATEGORIES as COCO
from coco_samples import HEIGHT, IMAGES, WIDTH, ids, segments, write_coco
from test_evaluation_report import Balanced

from seggen_d2.evaluation.panoptic import panoptic_scores
from seggen_d2.evaluation.predictions import evaluate_predictions, open_dataset
from seggen_d2.evaluation.worst import write_page
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import label_map_png
from seggen_d2.segmentation.panoptic import panoptic_png
from seggen_d2.segmentation.panoptic_quality import PanopticQuality
from seggen_d2.segmentation.rle import encode_mask
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask

SHIFT = 2  # pixels to the right of the truth that everything is predicted


@pytest.fixture
def world(tmp_path):
    """Datasets of three tasks, and predictions that are the truth, shifted; of the last image the train is lost."""
    files = write_coco(tmp_path / "data")
    (tmp_path / "panoptic" / "predictions").mkdir(parents=True)
    (tmp_path / "semantic").mkdir()
    entries, results = [], []
    for place, name in enumerate(IMAGES):
        shifted, infos = np.roll(ids(place), SHIFT, 1), [s for s in segments(place) if place < 2 or s["category_id"] != 7]
        shifted[~np.isin(shifted, [s["id"] for s in infos])] = 0
        (tmp_path / "panoptic" / "predictions" / f"{name}.png").write_bytes(panoptic_png(shifted))
        entries.append({"image_id": int(name), "file_name": f"{name}.png", "segments_info": [{"id": s["id"], "category_id": s["category_id"]} for s in infos]})
        labels = read_mask(load_dataset(files["panoptic"]).records()[place], load_dataset(files["panoptic"])).labels()
        (tmp_path / "semantic" / f"{int(name)}.png").write_bytes(label_map_png(np.where(labels == 255, 2, np.roll(labels, SHIFT, 1)) % 3))
        results += [{"image_id": int(name), "category_id": s["category_id"], "score": 0.9, "segmentation": encode_mask(shifted == s["id"])}
                    for s in infos if s["category_id"] != 92]
    (tmp_path / "panoptic" / "predictions.json").write_text(json.dumps({"annotations": entries, "categories": COCO}))
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path, files


def changed(path, change):
    """The JSON at ``path`` after ``change``."""
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value))


def test_panoptic_predictions_score_as_their_arrays_do(world):
    folder, files = world
    found = evaluate_predictions(folder / "panoptic", files["panoptic"], worst=2)
    source, quality = load_dataset(files["panoptic"]), PanopticQuality(load_dataset(files["panoptic"]).categories)
    for place, record in enumerate(source.records()):
        truth = read_mask(record, source)
        predicted = found.judged.saved.read(record)
        assert predicted.shape == (HEIGHT, WIDTH) and len(predicted.segments) == (4 if place < 2 else 3)
        quality.update(predicted, truth)
    assert found.scores.figures == panoptic_scores(quality).figures and 0 < found.scores.figures["PQ_th"] < 100
    assert [record["image_id"] for _, record in found.worst][0] == 632 and found.worst[0][0] < found.worst[1][0]


def test_the_three_outputs_of_a_panoptic_model(world):
    folder, files = world
    alone = {task: evaluate_predictions(path, files[of], task=task).scores.figures
             for task, path, of in (("semantic", folder / "semantic", "panoptic"), ("instance", folder / "results.json", "instance"))}
    options = {"semantic": folder / "semantic", "instances": folder / "results.json"}
    found = evaluate_predictions(folder / "panoptic", files["panoptic"], **options, instance_dataset=files["instance"])
    assert found.scores.figures["AP_pan^Th"] == alone["instance"]["AP"] > 1
    assert found.scores.figures["mIoU_pan"] == alone["semantic"]["mIoU"] > 10
    assert {"PQ", "SQ", "RQ", "AP", "IoU"} <= set(found.scores.per_class) and not [note for note in found.notes if "things" in note]
    assert "things of the panoptic truth" in evaluate_predictions(folder / "panoptic", files["panoptic"], **options).notes[-1]
    with pytest.raises(SegGenError, match="other outputs of a panoptic model"):
        evaluate_predictions(folder / "semantic", files["panoptic"], task="semantic", instances=folder / "results.json")


def test_missing_predictions_are_listed_and_never_counted_in_silence(world):
    folder, files = world
    complete = evaluate_predictions(folder / "panoptic", files["panoptic"]).scores.figures["PQ"]
    changed(folder / "panoptic/predictions.json", lambda value: value["annotations"].pop(0) and None)
    with pytest.raises(SegGenError, match=r"1 of 3 predictions are missing[\s\S]*image 139[\s\S]*--missing skip"):
        evaluate_predictions(folder / "panoptic", files["panoptic"])
    skipped, empty = (evaluate_predictions(folder / "panoptic", files["panoptic"], missing=how) for how in ("skip", "empty"))
    assert (skipped.images, empty.images) == (2, 3) and skipped.missing == empty.missing == (139,)
    assert "139" in skipped.notes[0] and "left out" in skipped.notes[0] and "as nothing" in empty.notes[0]
    assert empty.scores.figures["PQ"] < complete and empty.scores.figures["PQ"] < skipped.scores.figures["PQ"]
    assert skipped.to_json()["missing"] == [139] and skipped.to_json()["missing_are"] == "skip"
    (folder / "semantic/285.png").unlink()
    assert evaluate_predictions(folder / "semantic", files["panoptic"], task="semantic", missing="empty").images == 3
    with pytest.raises(SegGenError, match="285.png"):
        evaluate_predictions(folder / "semantic", files["panoptic"], task="semantic")


def test_an_image_without_results_has_no_objects_and_is_told(world):
    folder, files = world
    changed(folder / "results.json", lambda value: [r for r in value if r["image_id"] != 285])
    found = evaluate_predictions(folder / "results.json", files["instance"])
    assert found.missing == (285,) and found.images == 3 and "285" in found.notes[-1]
    with pytest.raises(SegGenError, match="1 of 3"):
        evaluate_predictions(folder / "results.json", files["instance"], missing="error")
    (folder / "results.json").write_text("[]")
    with pytest.raises(SegGenError, match="none of the images is predicted"):
        evaluate_predictions(folder / "results.json", files["instance"])


SAMPLE = Path(__file__).parents[1].parent / "shared" / "data" / "coco_sample"


def from_files(truth, results, things):
    """What pycocotools tells of both JSON files, over ``things`` alone."""
    from pycocotools.coco import COCO as Api
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = Api(str(truth))
        judge = COCOeval(known, known.loadRes(str(results)), "segm")
        judge.params.catIds = things
        judge.evaluate(), judge.accumulate(), judge.summarize()
    return {name: 100 * value if value >= 0 else float("nan") for name, value in zip(("AP", "AP50", "AP75", "APs", "APm", "APl"), judge.stats)}


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.skipif(not SAMPLE.is_dir(), reason="no COCO samples"))])
def test_results_score_as_pycocotools_scores_the_same_files(world, real):
    """Polygons, crowds, areas as the JSON tells them, an object found twice, and stuff, which has no part in it."""
    folder, files = world
    truth, dataset = folder / "data/instance.json", files["instance"]
    if real:
        truth.write_bytes((SAMPLE / "panoptic_coco_detection_format.json").read_bytes())
        dataset = folder / "sample.yaml"
        dataset.write_text(json.dumps({"name": "sample", "task": "instance", "images": str(SAMPLE / "input_images"), "json": str(truth)}))  # JSON is YAML
    source = load_dataset(dataset)
    rng, results, back = np.random.default_rng(0), [], {place: number for number, place in source.numbers.items()}
    for record in source.records():
        for thing in read_mask(record, source).objects:
            for shift in rng.integers(0, 3, int(rng.integers(3))).tolist():
                facts = {"image_id": record["image_id"], "category_id": back[thing.category_id], "score": float(rng.choice([0.5, rng.random()]))}
                results.append({**facts, "segmentation": encode_mask(np.roll(thing.mask, shift, 1))})
    (folder / "results.json").write_text(json.dumps(results))
    found = evaluate_predictions(folder / "results.json", dataset)
    assert "id 0" in found.notes[0]  # both files have one, and pycocotools would never match it
    changed(truth, lambda v: v.update(annotations=[{**a, "id": n} for n, a in enumerate(v["annotations"], start=1)]))
    theirs = from_files(truth, folder / "results.json", list(source.numbers))
    assert found.scores.figures == pytest.approx(theirs, abs=1e-9, nan_ok=True) and theirs["AP"] > 5
    assert not [note for note in evaluate_predictions(folder / "results.json", dataset).notes if "id 0" in note]


def test_segments_of_the_truth_that_its_png_lacks_are_missed(world):
    folder, files = world
    before = evaluate_predictions(folder / "panoptic", files["panoptic"]).scores
    lost = [{"id": 4000 + n, "category_id": 92, "iscrowd": n, "bbox": [0, 0, 1, 1], "area": 1} for n in (0, 1)]
    changed(folder / "data/panoptic.json", lambda v: v["annotations"][0]["segments_info"].extend(lost))
    after = evaluate_predictions(folder / "panoptic", files["panoptic"]).scores
    assert after.per_class["RQ"]["sky"] == pytest.approx(100 * 3 / 3.5) and before.per_class["RQ"]["sky"] == 100
    changed(folder / "data/panoptic.json", lambda v: v["annotations"].append(v["annotations"][0]))
    with pytest.raises(SegGenError, match="139"):
        evaluate_predictions(folder / "panoptic", files["panoptic"])


def broken_panoptic(change):
    return lambda folder: changed(folder / "panoptic/predictions.json", change)


@pytest.mark.parametrize("change, words", [
    (broken_panoptic(lambda v: v["annotations"].append(v["annotations"][0])), "predicts 1 images twice"),
    (broken_panoptic(lambda v: v["annotations"][0].update(image_id=7)), r"1 images that dataset coco_panoptic does not hold[\s\S]*139[\s\S]*: +7"),
    (broken_panoptic(lambda v: v["annotations"][0]["segments_info"].pop() and None), r"holds segments that its JSON does not know[\s\S]*pixels"),
    (broken_panoptic(lambda v: v["annotations"][0]["segments_info"].append({"id": 77, "category_id": 1})), r"not those of[\s\S]*without a pixel: \[77\]"),
    (broken_panoptic(lambda v: v["annotations"][0]["segments_info"].append(v["annotations"][0]["segments_info"][0])), r"twice: \[70000\]"),
    (broken_panoptic(lambda v: v["annotations"][0]["segments_info"][0].update(category_id=3)), "category 3, which is unknown"),
    (broken_panoptic(lambda v: v["categories"][0].update(name="kite")), r"categories of[\s\S]*id 1: person[\s\S]*'kite'"),
    (broken_panoptic(lambda v: v["annotations"][0].pop("file_name") and None), "lacks file_name"),
    (broken_panoptic(lambda v: {"images": []}), "lack annotations"),
    (broken_panoptic(lambda v: v["annotations"]), "--task instance"),
    (lambda folder: (folder / "panoptic/predictions.json").write_text('{"annotations": ['), "is not JSON"),
    (lambda folder: (folder / "panoptic/predictions.json").rename(folder / "panoptic/a.txt"), "no JSON file"),
    (lambda folder: (folder / f"panoptic/predictions/{IMAGES[1]}.png").unlink(), "does not exist"),
    (lambda folder: (folder / f"panoptic/predictions/{IMAGES[1]}.png").write_bytes(label_map_png(ids(1) % 9)), "no coloured ids"),
    (lambda folder: (folder / f"panoptic/predictions/{IMAGES[1]}.png").write_bytes(panoptic_png(np.roll(ids(1), 2, 1)[:, :-1])), "differ in size"),
])
def test_bad_panoptic_predictions(world, change, words):
    change(world[0])
    with pytest.raises(SegGenError, match=words):
        evaluate_predictions(world[0] / "panoptic", world[1]["panoptic"])


@pytest.mark.parametrize("change, words", [
    (lambda v: v[0].update(image_id=1), "1 images that dataset coco_instance does not hold"),
    (lambda v: v[0].update(category_id=5), "category 5, which is unknown"),
    (lambda v: v[0].update(category_id=92), "category 92, which is unknown"),
    (lambda v: v[0].update(score="high"), "score of result 0"),
    (lambda v: v[0].update(score=float("nan")), "score of result 0"),
    (lambda v: v[0].pop("segmentation") and None, "lacks segmentation"),
    (lambda v: v[0]["segmentation"].update(size=[9, 9]), r"another size than its image[\s\S]*20 x 28"),
    (lambda v: v[0]["segmentation"].update(counts=v[0]["segmentation"]["counts"][:-2]), "is broken"),
    (lambda v: {"annotations": v}, "no list of results"),
])
def test_bad_results(world, change, words):
    changed(world[0] / "results.json", change)
    with pytest.raises(SegGenError, match=words):
        evaluate_predictions(world[0] / "results.json", world[1]["instance"])


@pytest.mark.parametrize("array, words", [
    (np.full((HEIGHT, WIDTH), 3, np.uint8), "id 3 on 560 pixels"),
    (np.zeros((HEIGHT, WIDTH - 1), np.uint8), "differ in size"),
    (None, "holds colours"),
])
def test_bad_label_maps(world, array, words):
    folder, files = world
    (folder / "semantic/139.png").write_bytes(panoptic_png(ids(0)) if array is None else label_map_png(array))
    with pytest.raises(SegGenError, match=words):
        evaluate_predictions(folder / "semantic", files["panoptic"], task="semantic")


def test_datasets_by_name(world, monkeypatch):
    folder, files = world
    monkeypatch.chdir(folder)
    (folder / "datasets").mkdir()
    relative = files["panoptic"].read_text().replace("images: images", f"images: {folder}/data/images")
    (folder / "datasets/val.yaml").write_text(relative)
    assert open_dataset("coco_panoptic").name == "coco_panoptic"
    with pytest.raises(SegGenError, match=r"no dataset is named 'coco_panoptik'[\s\S]*did you mean 'coco_panoptic'"):
        open_dataset("coco_panoptik")
    (folder / "datasets/more").mkdir()
    (folder / "datasets/more/val.yaml").write_text(relative)
    with pytest.raises(SegGenError, match="several datasets"):
        open_dataset("coco_panoptic")
    with pytest.raises(SegGenError, match="the task for dataset coco_instance"):
        evaluate_predictions(folder / "panoptic", files["instance"], task="panoptic")


@pytest.mark.parametrize("task, path", [("semantic", "semantic"), ("panoptic", "panoptic"), ("instance", "results.json")])
def test_the_page_shows_the_worst_images(world, task, path):
    folder, files = world
    found = evaluate_predictions(folder / path, files["panoptic"], task=task, classes=("person",), worst=2)
    text = write_page(found, folder / "page.html").read_text()
    loaded = Balanced(text).loaded
    assert len(loaded) == 1 + 2 * 4 and all(value.startswith("data:") for value in loaded) and "$" not in text.split("</style>")[1]
    assert f"{found.judged.rank}*" in text and f"{found.worst[0][1]['image_id']}: {found.judged.rank}" in text
    view = found.judged.view(found.worst[0][1], found.judged.saved.read(found.worst[0][1]))
    assert 0.02 < view.wrong.mean() < 0.9


def test_the_tool_prints_and_writes(world):
    folder, files = world
    tool = Path(__file__).parents[1] / "tools" / "evaluate.py"
    words = ["--predictions", folder / "panoptic", "--dataset", files["panoptic"], "--json", folder / "out.json", "--page", folder / "page.html"]
    done = subprocess.run([sys.executable, tool, *words, "--classes", "person", "sky"], capture_output=True, text=True)
    assert done.returncode == 0 and "PQ_th" in done.stdout and "PQ*" in done.stdout and (folder / "page.html").is_file(), done.stderr
    written = json.loads((folder / "out.json").read_text())
    assert written["images"] == 3 and len(written["worst"]) == 3 and written["per_class"]["PQ"]["train"] > 0
    done = subprocess.run([sys.executable, tool, *words, "--classes", "persson"], capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean 'person'" in done.stderr and "Traceback" not in done.stderr

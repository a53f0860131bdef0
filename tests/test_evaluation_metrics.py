"""mIoU: identities of the confusion matrix, scores of a folder, summaries over seeds."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from seggen_d2.evaluation import ConfusionMatrix, read_runs, score_folder, summarise, text_table
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, label_map_png

CATEGORIES = Categories.from_names(["sky", "road", "car"])
RNG = np.random.default_rng(0)
LABELS = RNG.choice([0, 1, 2, 255], (40, 50))
PREDICTED = RNG.integers(0, 3, (40, 50))


def matrix(*pairs):
    made = ConfusionMatrix(CATEGORIES)
    for predicted, labels in pairs:
        made.update(predicted, labels)
    return made


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_a_perfect_prediction_scores_100(dtype):
    assert matrix((LABELS.astype(dtype), LABELS.astype(dtype))).miou() == 100.0


def test_what_is_predicted_on_ignored_pixels_counts_nowhere():
    other = np.where(LABELS == 255, (PREDICTED + 1) % 3, PREDICTED)
    assert np.array_equal(matrix((PREDICTED, LABELS)).counts, matrix((other, LABELS)).counts)


def test_counts_add_up_over_images():
    halves = [(PREDICTED[:20], LABELS[:20]), (PREDICTED[20:], LABELS[20:])]
    whole = matrix((PREDICTED, LABELS))
    assert np.array_equal(whole.counts, matrix(*halves).counts)
    assert np.array_equal(whole.counts, (matrix(halves[0]) + matrix(halves[1])).counts)
    assert whole.counts.sum() == (LABELS != 255).sum()


def test_iou_is_intersection_over_union():
    known = LABELS != 255
    for i, name in enumerate(CATEGORIES.names):
        ours, theirs = (i == PREDICTED) & known, i == LABELS
        expected = 100 * (ours & theirs).sum() / (ours | theirs).sum()
        assert matrix((PREDICTED, LABELS)).per_class()[name] == pytest.approx(expected)


def test_a_category_without_ground_truth_is_left_out():
    labels = np.zeros((4, 4), np.uint8)
    predicted = labels.copy()
    predicted[0] = 1  # wrong, but there is no road: sky pays for it, road is no category of the mean
    scored = matrix((predicted, labels))
    assert scored.per_class()["sky"] == scored.miou() == 75.0
    assert math.isnan(scored.per_class()["road"]) and scored.metrics()["per_class"]["road"] is None


def test_predicting_nothing_is_a_miss():
    scored = matrix((np.full((2, 2), 255), np.zeros((2, 2), int)))
    assert scored.miou() == scored.accuracy() == 0.0


def test_nothing_labelled_has_no_mean():
    assert matrix().metrics() == {"miou": None, "pixel_accuracy": None, "per_class": dict.fromkeys(CATEGORIES.names)}


@pytest.mark.parametrize(
    "predicted, labels, words",
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "differ in size"),
        (np.full((2, 2), 7), np.zeros((2, 2), int), "id 7 on 4 pixels"),
        (np.full((2, 2), -1), np.zeros((2, 2), int), "negative"),
        (np.zeros((2, 2), int), np.full((2, 2), 3), "ground truth"),
    ],
)
def test_bad_label_maps(predicted, labels, words):
    with pytest.raises(SegGenError, match=words):
        matrix((predicted, labels))


@pytest.fixture
def dataset(tmp_path):
    for folder in ("images", "masks", "predictions"):
        (tmp_path / folder).mkdir()
    for name, rows in (("a", slice(20)), ("b", slice(20, 40))):
        Image.new("RGB", (50, 20)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "masks" / f"{name}.png").write_bytes(label_map_png(LABELS[rows]))
        (tmp_path / "predictions" / f"{name}.png").write_bytes(label_map_png(PREDICTED[rows]))
    value = {"name": "d", "images": "images", "masks": "masks", "categories": list(CATEGORIES.names)}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(value))
    return tmp_path


def test_a_folder_scores_as_its_arrays_do(dataset):
    scored = score_folder(dataset / "predictions", dataset / "dataset.yaml")
    assert scored == {"dataset": "d", "images": 2, **matrix((PREDICTED, LABELS)).metrics()}


def test_missing_predictions_are_named(dataset):
    (dataset / "predictions" / "b.png").unlink()
    with pytest.raises(SegGenError, match=r"1 of 2 predictions are missing[\s\S]*b\.png"):
        score_folder(dataset / "predictions", dataset / "dataset.yaml")


def test_the_tool_prints_and_writes(dataset):
    tool = Path(__file__).parents[1] / "tools" / "evaluate.py"
    words = ["--predictions", dataset / "predictions", "--dataset", dataset / "dataset.yaml"]
    done = subprocess.run(
        [sys.executable, tool, *words, "--json", dataset / "out.json"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "mIoU" in done.stdout, done.stderr
    assert json.loads((dataset / "out.json").read_text())["images"] == 2
    (dataset / "predictions" / "a.png").unlink()
    done = subprocess.run([sys.executable, tool, *words], capture_output=True, text=True)
    assert done.returncode == 2 and "a.png" in done.stderr and "Traceback" not in done.stderr


def runs(**settings):
    return [
        {"setting": name, "seed": seed, "metric": "mIoU", "value": miou, "per_class": {"sky": miou, "car": None}}
        for name, values in settings.items()
        for seed, miou in enumerate(values)
    ]


@pytest.mark.parametrize(
    "values, verdict",
    [
        ((40.0, 41.0, 42.0), "better"),
        ((30.5, 31.0, 31.5), "not told apart"),
        ((20.0, 21.0, 22.0), "worse"),
        ((26.0, 31.0, 46.0), "not told apart"),
        ((50.0,), "one seed"),
    ],
)
def test_only_what_an_interval_over_seeds_keeps_from_zero_gets_a_verdict(values, verdict):
    real, other = summarise(runs(real=(30.0, 31.0, 32.0), other=values))
    assert (real.verdict, real.mean, real.spread, real.difference) == ("baseline", 31.0, 1.0, None)
    assert other.verdict == verdict
    assert other.difference == pytest.approx(sum(values) / len(values) - 31.0)
    assert other.per_class == {"sky": pytest.approx(other.mean), "car": None}


def write_run(folder, metrics):
    folder.mkdir(parents=True)
    (folder / "metrics_final.json").write_text(json.dumps(metrics))


def test_runs_are_read_in_order(tmp_path):
    for name in (
        "synthetic-seed0",
        "real+seggen-seed10",
        "real-seed1",
        "real+seggen-seed2",
        "real-seed0",
        "mine-seed0",
    ):
        write_run(tmp_path / name, {"metric": "mIoU", "value": 1.0, "per_class": {}, "seconds": 2.0, "dataset": "d"})
    (tmp_path / "unfinished-seed3").mkdir()
    found = read_runs([tmp_path])
    assert [f"{run['setting']} {run['seed']}" for run in found] == [
        "real 0",
        "real 1",
        "real+seggen 2",
        "real+seggen 10",
        "synthetic 0",
        "mine 0",
    ]
    assert found == read_runs(sorted(tmp_path.glob("*[!3]"))) and found[0]["seconds"] == 2.0


def test_bad_runs(tmp_path):
    with pytest.raises(SegGenError, match="no finished run"):
        read_runs([tmp_path])
    write_run(tmp_path / "real-seed0", {"metric": "mIoU", "value": 1.0, "per_class": {}})
    with pytest.raises(SegGenError, match="twice[\\s\\S]*real-seed0"):
        read_runs([tmp_path, tmp_path / "real-seed0"])
    write_run(tmp_path / "real", {"metric": "mIoU", "value": 1.0, "per_class": {}})
    with pytest.raises(SegGenError, match="setting and seed"):
        read_runs([tmp_path])
    write_run(tmp_path / "other" / "real-seed0", {"metric": "mIoU", "value": 1.0})
    with pytest.raises(SegGenError, match="lacks per_class"):
        read_runs([tmp_path / "other"])


def test_a_table_lines_up():
    lines = text_table(("name", "x"), [("a", "1.0"), ("longer", "10.0")]).splitlines()
    assert {len(line) for line in lines} == {12}

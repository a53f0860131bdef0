"""Weights of images: by figures of classes, by predictions of folds, and what must not serve for either."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from seggen_d2.evaluation.weakness import Weighing, class_errors, errors_by_classes, errors_by_predictions, weigh_sources
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import label_map_png
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask
from seggen_d2.sources.weights import read_weights

ROOT = Path(__file__).parent.parent


@pytest.fixture
def source(toy_folder):
    return load_dataset(toy_folder / "dataset.yaml")


def figures(folder: Path, source, **changes) -> Path:
    """The first category is bad, the others are good, the last has no figure."""
    names = source.categories.names
    per_class = {name: 20.0 if not place else 80.0 for place, name in enumerate(names[:-1])} | {names[-1]: None}
    file = folder / "metrics_final.json"
    file.write_text(json.dumps({"dataset": "toy_val", "metric": "mIoU", "per_class": per_class, **changes}))
    return file


def predict(folder: Path, source, records, wrong: int = 0) -> Path:
    """The truth of each record, but the upper ``wrong`` rows as the first category."""
    folder.mkdir(parents=True)
    for record in records:
        labels = np.array(read_mask(record, source).labels())
        labels[:wrong] = 0
        (folder / f"{record['image_id']}.png").write_bytes(label_map_png(labels))
    return folder


def test_an_image_weighs_as_the_classes_that_it_holds(source, tmp_path):
    errors, on = class_errors(figures(tmp_path, source), source)
    assert on == "toy_val" and errors[0] == pytest.approx(0.8) and np.allclose(errors[1:-1], 0.2)
    assert errors[-1] == pytest.approx(errors[:-1].mean())
    found = errors_by_classes(source, errors)
    for record, error in zip(source.records(), found, strict=True):
        held = [c for c in range(len(errors)) if (read_mask(record, source).labels() == c).mean() >= 0.003]
        assert error == pytest.approx(errors[held].mean())


def test_weights_are_monotonic_bounded_below_and_all_alike_at_power_0():
    errors = np.array([0.1, 0.5, 0.9, np.nan])
    weights = Weighing(power=2, least=0.25).weights(errors)
    assert weights[0] == 0.25 and weights[0] < weights[1] < weights[2] and weights[3] == 1.0
    assert np.allclose(Weighing(power=1, least=0).weights(errors[:3]), errors[:3] / 0.5)
    assert np.array_equal(Weighing(power=0).weights(errors), np.ones(4)) and np.array_equal(Weighing().weights(np.zeros(3)), np.ones(3))


def test_figures_of_evaluate_py_serve_as_those_of_a_run(source, tmp_path):
    plain = class_errors(figures(tmp_path, source), source)[0]
    per_class = json.loads((tmp_path / "metrics_final.json").read_text())["per_class"]
    nested = class_errors(figures(tmp_path, source, per_class={"IoU": per_class, "ACC": dict.fromkeys(per_class, 1.0)}), source)[0]
    assert np.array_equal(plain, nested)


def test_folds_weigh_images_by_their_own_figures(source, tmp_path):
    records = source.records()
    folds = [predict(tmp_path / "a", source, records[:3]), predict(tmp_path / "b", source, records[3:], wrong=16)]
    errors = errors_by_predictions(source, folds)
    assert np.array_equal(errors[:3], np.zeros(3)) and errors[3:].min() > 0
    with pytest.raises(SegGenError, match="3 of 6 images are predicted nowhere"):
        errors_by_predictions(source, folds[:1])


def test_figures_of_the_training_images_are_refused(source, tmp_path):
    with pytest.raises(SegGenError, match="where a segmenter looks good"):
        class_errors(figures(tmp_path, source, dataset=source.name), source)


def test_predictions_by_a_segmenter_that_saw_the_images_are_warned_of(source, toy_folder, tmp_path):
    run = tmp_path / "run"
    place = predict(run / "predictions" / source.name, source, source.records(), wrong=4)
    dataset, file = toy_folder / "dataset.yaml", tmp_path / "weights.json"
    assert "warning" not in weigh_sources(dataset, file, predictions=[str(place)])
    (run / "config.yaml").write_text(f"DATASETS: {{TRAIN: [{source.name}]}}\n")
    assert "where they look good" in weigh_sources(dataset, file, predictions=[str(place)])


@pytest.mark.parametrize(("change", "told"), [
    ({"per_class": {}}, "tells no figures by category"),
    ({"per_class": {"unicorn": 3.0}}, "categories that the dataset does not have"),
    ({"per_class": {"sky": None}}, "no figure of any category"),
])
def test_figures_of_no_use_are_told(source, tmp_path, change, told):
    with pytest.raises(SegGenError, match=told):
        class_errors(figures(tmp_path, source, **change), source)


def test_the_tool_writes_the_same_weights_again(source, toy_folder, tmp_path, monkeypatch, capsys):
    words = ["--dataset", str(toy_folder / "dataset.yaml"), "--metrics", str(figures(tmp_path, source)), "--output", str(tmp_path / "weights.json")]
    monkeypatch.setattr(sys, "argv", ["weigh_sources.py", *words])
    made = []
    for _ in range(2):
        runpy.run_path(str(ROOT / "tools/weigh_sources.py"), run_name="__main__")
        made.append((tmp_path / "weights.json").read_bytes())
    told = capsys.readouterr().out
    assert made[0] == made[1] and "toy_val" in told and "must not be the test images" in told and "weightiest" in told
    weights = read_weights(tmp_path / "weights.json", source.name, [record["source_id"] for record in source.records()])
    errors = errors_by_classes(source, class_errors(tmp_path / "metrics_final.json", source)[0])
    assert np.array_equal(np.argsort(weights, kind="stable"), np.argsort(Weighing().weights(errors), kind="stable"))


def test_one_of_figures_and_predictions_is_given(toy_folder, tmp_path):
    for given in ({}, {"metrics": "a", "predictions": ["b"]}):
        with pytest.raises(SegGenError, match="come from figures by class or from predictions"):
            weigh_sources(toy_folder / "dataset.yaml", tmp_path / "w.json", **given)

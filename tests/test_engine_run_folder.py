# ruff: noqa: E402
"""A run's folder with the transformers engine: metrics, predictions of every kind, and as the weights of another run."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("pycocotools")
from run_folders import call, check_run_folder
from toy_world import write_task_world

from seggen_d2.engine.run_folder import holds_training
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling.finished import FINALS, final_model


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_a_run_leaves_what_other_tools_read(monkeypatch, capsys, tmp_path, task):
    config = write_task_world(tmp_path / "data", task)
    check_run_folder(monkeypatch, capsys, config, tmp_path, "SEGGEN.ENGINE", "transformers")


@pytest.mark.parametrize("engine", FINALS)
def test_a_finished_runs_folder_stands_for_its_model(tmp_path, engine):
    (tmp_path / FINALS[engine]).touch()
    assert final_model(tmp_path, engine) == str(tmp_path / FINALS[engine])
    other = next(name for name in FINALS if name != engine)
    with pytest.raises(SegGenError, match=rf"holds a run of the {engine} engine(.|\n)*SEGGEN.ENGINE {engine}"):
        final_model(tmp_path, other)
    (tmp_path / FINALS[other]).touch()
    assert final_model(tmp_path, other) == str(tmp_path / FINALS[other])


@pytest.mark.parametrize("left", ["stage-0/checkpoint-2", "model_0000001.pth", "metrics_final.json"])
def test_a_run_that_did_not_finish_is_told(tmp_path, left):
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).write_text("{}")
    for engine in FINALS:
        with pytest.raises(SegGenError, match="holds no finished run"):
            final_model(tmp_path, engine)
    assert holds_training(tmp_path) == (left != "metrics_final.json")


def test_other_weights_stand_for_themselves(tmp_path):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "model_final").mkdir()
    for weights in ("", "detectron2://a.pkl", "org/name", str(tmp_path), str(tmp_path / "none.pth"), str(tmp_path / "model_final")):
        assert final_model(weights) == weights


def test_a_wrong_folder_is_told_before_data_is_evaluated(monkeypatch, tmp_path):
    config = write_task_world(tmp_path / "data", "semantic")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model_final.pth").touch()
    with pytest.raises(SegGenError, match="holds a run of the detectron2 engine"):
        call(monkeypatch, "train_net", "--config-file", config, "--eval-only", "MODEL.WEIGHTS", tmp_path / "run", "SEGGEN.ENGINE", "transformers")
    assert not (tmp_path / "data/out").exists()

"""Stages: each by its own rules, each from the one before, resumed where it stopped; results by type of evaluator."""

import json
import os
import signal

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin.training.evaluators import EVALUATORS, build_evaluator
from seggen_d2.plugin.training.plan import plan
from seggen_d2.plugin.training.results import main_figures, plain
from seggen_d2.plugin.training.stages import position, stage_configs, train_stages
from seggen_d2.plugin.training.trainer import Stopped, Trainer

from .training_world import keyed, write_toy

TWO = "[{'P_AUG': 1.0, 'ITERATIONS': 2}, {'P_AUG': 0.0, 'ITERATIONS': 3, 'BASE_LR': 5.0e-4}]"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("stages"), "stages", SOLVER={"LOG_PERIOD": 1})


def synthetic_shares(folder):
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {line["swap/synthetic_share"] for line in lines if "swap/synthetic_share" in line}


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def test_pretrain_then_finetune(config, tmp_path):
    cfg = keyed(config, {"SEGGEN.STAGES": TWO, "OUTPUT_DIR": tmp_path})
    train_stages(cfg)
    assert synthetic_shares(tmp_path / "stage-0") == {1.0} and synthetic_shares(tmp_path / "stage-1") == {0.0}
    final, last = weights(tmp_path / "model_final.pth"), weights(tmp_path / "stage-1/model_final.pth")
    assert all(torch.equal(final[name], last[name]) for name in final)
    metrics = json.loads((tmp_path / "metrics_final.json").read_text())
    assert metrics["iterations"] == 5 and metrics["dataset"] == "stages_test" and len(metrics["per_class"]) == 8
    assert "stage-1/model_final.pth (--resume" not in plan(cfg, resume=True)
    # the second stage again, from the first one's weights alone
    (tmp_path / "stage-1/last_checkpoint").unlink()
    assert position(stage_configs(cfg)) == 0
    train_stages(cfg, resume=True)
    again = weights(tmp_path / "model_final.pth")
    assert all(torch.equal(final[name], again[name]) for name in final)
    finished = train_stages(cfg, resume=True)  # nothing is left to train
    assert finished["sem_seg"]["mIoU"] == metrics["miou"]


def test_a_signal_in_the_evaluation_of_a_stage_stops_before_the_next(config, tmp_path, monkeypatch):
    cfg, evaluate = keyed(config, {"SEGGEN.STAGES": TWO, "OUTPUT_DIR": tmp_path}), Trainer.evaluate

    def interrupted(self):
        if not self.iterations_before:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="after stage 1 of 2"):
        patch.setattr(Trainer, "evaluate", interrupted)
        train_stages(cfg)
    assert (tmp_path / "stage-0/model_final.pth").exists() and not (tmp_path / "stage-1").exists()
    train_stages(cfg, resume=True)
    assert (tmp_path / "model_final.pth").exists() and synthetic_shares(tmp_path / "stage-1") == {0.0}


@pytest.mark.parametrize("name", ["model_0000001.pth", "stage-1/model_0000001.pth", "metrics_final.json"])
def test_a_run_without_resume_leaves_another_one_alone(config, tmp_path, name):
    cfg = keyed(config, {"OUTPUT_DIR": tmp_path, "SOLVER.MAX_ITER": 1})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("earlier")
    with pytest.raises(SegGenError, match=rf"holds a run already(.|\n)*{name}(.|\n)*--resume(.|\n)*another OUTPUT_DIR"):
        train_stages(cfg)
    with pytest.raises(SegGenError, match="holds a run already"):  # nothing there tells where to go on
        train_stages(cfg, resume=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert f"not without --resume or another OUTPUT_DIR: the folder holds {tmp_path / name}" in plan(cfg)


def test_a_stage_has_its_own_length_rate_steps_and_weights(config, tmp_path):
    keys = {"SOLVER.MAX_ITER": 100, "SOLVER.STEPS": "[50, 90]", "SEGGEN.STAGES": TWO, "OUTPUT_DIR": tmp_path}
    first, second = stage_configs(keyed(config, {**keys, "MODEL.WEIGHTS": "start.pth"}))
    assert (first.SOLVER.MAX_ITER, first.SOLVER.BASE_LR, first.SEGGEN.P_AUG) == (2, 1e-3, 1.0)
    assert (second.SOLVER.MAX_ITER, second.SOLVER.BASE_LR, second.SEGGEN.P_AUG) == (3, 5e-4, 0.0)
    assert first.SOLVER.STEPS == (1, 2) and second.SOLVER.STEPS == (2, 3)
    assert first.MODEL.WEIGHTS == "start.pth" and str(tmp_path / "stage-0/model_final.pth") == second.MODEL.WEIGHTS
    own = TWO.replace("'BASE_LR': 5.0e-4", "'START_WEIGHTS': 'other.pth'")
    assert stage_configs(keyed(config, {**keys, "SEGGEN.STAGES": own}))[1].MODEL.WEIGHTS == "other.pth"
    (only,) = stage_configs(keyed(config, {**keys, "SEGGEN.STAGES": "[]"}))
    assert str(tmp_path) == only.OUTPUT_DIR and only.SOLVER.STEPS == (50, 90)


def test_the_learning_rate_follows_upstreams_schedules(config, tmp_path):
    rates = {}
    for name in ("WarmupPolyLR", "WarmupMultiStepLR"):
        keys = {"SOLVER.LR_SCHEDULER_NAME": name, "SOLVER.STEPS": "[2]", "SOLVER.MAX_ITER": 4, "OUTPUT_DIR": tmp_path}
        cfg = keyed(config, keys)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        scheduler, rates[name] = Trainer.build_lr_scheduler(cfg, optimizer), []
        for _ in range(4):
            rates[name].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    assert rates["WarmupPolyLR"] == pytest.approx([(1 - t / 4) ** 0.9 for t in range(4)])
    assert rates["WarmupMultiStepLR"] == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_a_stage_of_synthetic_samples_needs_a_bank(config):
    with pytest.raises(SegGenError, match="no bank to swap from"):
        stage_configs(keyed(config, {"SEGGEN.STAGES": TWO, "SEGGEN.BANKS": "[]"}))


def names(evaluators):
    return sorted(type(evaluator).__name__ for evaluator in evaluators._evaluators)


@pytest.fixture
def panoptic_name(tmp_path):
    name = "stages_panoptic"
    DatasetCatalog.register(name, lambda: [{"file_name": "a.jpg", "image_id": 1, "sem_seg_file_name": "a.png"}])
    (tmp_path / "instances.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    MetadataCatalog.get(name).set(
        evaluator_type="coco_panoptic_seg",
        stuff_classes=["a", "b"],
        ignore_label=255,
        json_file=str(tmp_path / "instances.json"),
        thing_dataset_id_to_contiguous_id={1: 0},
        stuff_dataset_id_to_contiguous_id={2: 1},
    )
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_evaluators_by_type_and_switch(config, tmp_path, panoptic_name):
    test = "MODEL.MASK_FORMER.TEST"
    on = {"INPUT.DATASET_MAPPER_NAME": "mask_former_panoptic", f"{test}.PANOPTIC_ON": True, f"{test}.INSTANCE_ON": True}
    cfg = keyed(config, {"OUTPUT_DIR": tmp_path, **on})
    assert names(build_evaluator(cfg, panoptic_name)) == ["COCOEvaluator", "COCOPanopticEvaluator", "SemSegEvaluator"]
    assert names(build_evaluator(keyed(config, {"OUTPUT_DIR": tmp_path}), panoptic_name)) == ["SemSegEvaluator"]
    saved = keyed(config, {"OUTPUT_DIR": tmp_path, "TEST.SAVE_PREDICTIONS": True})
    assert names(build_evaluator(saved, "stages_test")) == ["TaskEvaluator"]
    assert names(build_evaluator(saved, panoptic_name)) == ["SemSegEvaluator", "TaskEvaluator"]
    with pytest.raises(SegGenError, match="would get no metrics"):
        keyed(config, {f"{test}.SEMANTIC_ON": False})
    MetadataCatalog.get("stages_unknown").set(evaluator_type="cocoo")
    with pytest.raises(SegGenError, match="did you mean 'coco'"):
        build_evaluator(cfg, "stages_unknown")
    assert set(EVALUATORS) >= {"sem_seg", "coco", "lvis", "coco_panoptic_seg", "ade20k_panoptic_seg"}


def test_results_as_json_holds_them():
    found = {"mIoU": 50.0, "pACC": 60.0, "IoU-a": 100.0, "IoU-b": float("nan"), "BoundaryIoU-a": 1.0}
    semantic = main_figures({"sem_seg": found})
    assert semantic["per_class"] == {"a": 100.0, "b": None} and (semantic["metric"], semantic["miou"]) == ("mIoU", 50.0)
    panoptic = main_figures({"sem_seg": found, "panoptic_seg": {"PQ": 1.0}, "segm": {"AP": 2.0, "AP-a": 3.0}})
    assert panoptic["figures"] == {"PQ": 1.0, "mIoU_pan": 50.0, "pACC": 60.0, "AP_pan^Th": 2.0} and panoptic["per_class"] == {}
    instance = main_figures({"segm": {"AP": 2.0, "AP-a": 3.0, "APs": 1.0}})
    assert instance == {"metric": "AP", "value": 2.0, "per_class": {"a": 3.0}, "figures": {"AP": 2.0, "APs": 1.0}}
    assert main_figures({"sem_seg": {"IoU": 5.0, "iIoU": 4.0}})["value"] == 5.0  # Cityscapes' own evaluator
    assert main_figures({})["metric"] == "" and plain({"x": {"y": float("nan")}}) == {"x": {"y": None}}

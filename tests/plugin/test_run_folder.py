"""A run's folder with the Detectron2 engine: metrics, predictions of every kind, and as the weights of another run."""

import json
import uuid

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import launch
from detectron2.structures import Instances
from run_folders import call, check_predictions, check_run_folder, metrics
from toy_world import write_task_world

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin.training.command import Arguments, run
from seggen_d2.plugin.training.task_evaluator import prediction_writer
from seggen_d2.segmentation import read_label_map
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.segmentation.rle import decode_mask

ENGINE = ("SEGGEN.ENGINE", "detectron2")


def world(folder, task):
    return write_task_world(folder, task, f"run_{task}_{uuid.uuid4().hex[:6]}")


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_a_run_leaves_what_other_tools_read(monkeypatch, capsys, tmp_path, task):
    check_run_folder(monkeypatch, capsys, world(tmp_path / "data", task), tmp_path, *ENGINE)


def test_after_several_stages_too(monkeypatch, capsys, tmp_path):
    config = world(tmp_path / "data", "semantic")
    stages = [{"P_AUG": 1.0, "ITERATIONS": 1}, {"P_AUG": 0.0, "ITERATIONS": 1}]
    words = ("--config-file", config, *ENGINE, "TEST.SAVE_PREDICTIONS", True)
    call(monkeypatch, "train_net", *words, "OUTPUT_DIR", tmp_path / "run", "SEGGEN.STAGES", stages)
    check_predictions(monkeypatch, capsys, config, tmp_path / "run")
    assert not list((tmp_path / "run").glob("stage-*/predictions"))
    call(monkeypatch, "train_net", *words, "OUTPUT_DIR", tmp_path / "next", "SOLVER.MAX_ITER", 1, "MODEL.WEIGHTS", tmp_path / "run")
    call(monkeypatch, "train_net", *words, "OUTPUT_DIR", tmp_path / "own", "MODEL.WEIGHTS", tmp_path / "run", "--eval-only")
    assert metrics(tmp_path / "own")["figures"] == metrics(tmp_path / "run")["figures"]


def test_a_run_of_the_other_engine_is_told_and_its_model_read(monkeypatch, capsys, tmp_path):
    config, figures = world(tmp_path / "data", "semantic"), {}
    words = ("--config-file", config, "SOLVER.MAX_ITER", 1)
    for engine in ("transformers", "detectron2"):
        call(monkeypatch, "train_net", *words, "SEGGEN.ENGINE", engine, "OUTPUT_DIR", tmp_path / engine)
        figures[engine] = metrics(tmp_path / engine)["figures"]
    for engine, other, model in (("transformers", "detectron2", "model_final.pth"), ("detectron2", "transformers", "model_final")):
        again = (*words, "SEGGEN.ENGINE", engine, "OUTPUT_DIR", tmp_path / engine / "own", "--eval-only", "MODEL.WEIGHTS")
        with pytest.raises(SegGenError, match=rf"holds a run of the {other} engine(.|\n)*{model} itself"):
            call(monkeypatch, "train_net", *again, tmp_path / other)
        call(monkeypatch, "train_net", *again, tmp_path / other / model)
        assert metrics(tmp_path / engine / "own")["figures"] == pytest.approx(figures[other], nan_ok=True)


def test_two_processes_write_what_one_writes(monkeypatch, capsys, tmp_path):
    config = world(tmp_path / "data", "panoptic")
    words = ("TEST.SAVE_PREDICTIONS", "True", "TEST.IMS_PER_BATCH", "1", "INPUT.MIN_SIZE_TEST", "64", "SOLVER.MAX_ITER", "1")
    run(Arguments(str(config), (*words, "OUTPUT_DIR", str(tmp_path / "run"))))
    words = (*words, "OUTPUT_DIR", str(tmp_path / "two"), "MODEL.WEIGHTS", str(tmp_path / "run"))
    launch(run, 2, dist_url="auto", args=(Arguments(str(config), words, eval_only=True, num_gpus=2),))
    assert metrics(tmp_path / "two")["figures"] == metrics(tmp_path / "run")["figures"]
    check_predictions(monkeypatch, capsys, config, tmp_path / "two")
    files = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
             for folder in (tmp_path / "run/predictions", tmp_path / "two/predictions")]
    assert len(files[0]) == 2 + 2 + 2 and files[0] == files[1]


def test_predictions_for_a_dataset_that_detectron2_knows(tmp_path):
    """Category ids are those of its JSON; names of files follow its images where it tells no ids."""
    name = f"known_{uuid.uuid4().hex[:6]}"
    MetadataCatalog.get(name).set(thing_dataset_id_to_contiguous_id={7: 0}, stuff_dataset_id_to_contiguous_id={7: 0, 9: 1})
    folder = tmp_path / "saved"
    writer = prediction_writer(("semantic", "panoptic", "instance"), name, 2, folder)
    ids = torch.tensor([[1, 1], [1, 2]])
    objects = Instances((2, 2), pred_masks=(ids == 1)[None].float(), scores=torch.tensor([0.5]), pred_classes=torch.tensor([0]))
    output = {"sem_seg": torch.eye(2)[ids - 1].permute(2, 0, 1), "instances": objects,
              "panoptic_seg": (ids, [{"id": 1, "category_id": 0, "isthing": True}, {"id": 2, "category_id": 1, "isthing": False}])}
    for _ in range(2):  # as an evaluation after another
        writer.reset()
        writer.process([{"file_name": "x/photo.jpg"}, {"file_name": "x/other.jpg", "image_id": 0}], [output, output])
        assert writer.evaluate() == {}
    assert np.array_equal(read_label_map(folder / "photo.png"), ids.numpy() - 1)
    segments = json.loads((folder / "panoptic.json").read_text())["annotations"]
    assert [entry["image_id"] for entry in segments] == ["photo", 0] and [one["category_id"] for one in segments[0]["segments_info"]] == [7, 9]
    assert np.array_equal(read_panoptic_png(folder / "panoptic" / segments[1]["file_name"]), ids.numpy())
    found = json.loads((folder / "coco_instances_results.json").read_text())
    assert [one["category_id"] for one in found] == [7, 7] and np.array_equal(decode_mask(found[0]["segmentation"], ""), ids.numpy() == 1)


def test_results_without_truth_are_turned_off(tmp_path):
    from .training_world import keyed

    test = "MODEL.MASK_FORMER.TEST"
    cfg = keyed(world(tmp_path, "semantic"), {f"{test}.PANOPTIC_ON": True, f"{test}.INSTANCE_ON": True})
    assert (cfg.MODEL.MASK_FORMER.TEST.SEMANTIC_ON, cfg.MODEL.MASK_FORMER.TEST.PANOPTIC_ON, cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON) == (True, False, False)
    assert cfg.is_frozen()

# ruff: noqa: E402
"""Panoptic and instance segmentation by the embedded engine: targets, results, metrics, and what is refused."""


import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("pycocotools")
from toy_world import losses_with_and_without_swap, write_task_world

from seggen_d2.engine.config import load_config
from seggen_d2.engine.from_config import experiment
from seggen_d2.engine.inference import evaluate
from seggen_d2.engine.run import finish, train
from seggen_d2.engine.tasks import MAPPERS, with_objects
from seggen_d2.evaluation.predictions import evaluate_predictions
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import Outputs
from seggen_d2.sources.masks import read_mask

TASKS = ("panoptic", "instance")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """For each task: a config of 4 training scenes, 2 test scenes and a bank."""
    return {task: write_task_world(tmp_path_factory.mktemp(task), task) for task in TASKS}


def run_of(config, *pairs, **options):
    return experiment(load_config(config, list(pairs))[0], **options)


@pytest.mark.parametrize("mapper", [name for name, kind in MAPPERS.items() if kind.task in TASKS])
def test_every_mapper_trains(worlds, tmp_path, mapper):
    task = MAPPERS[mapper].task
    run = run_of(worlds[task], "OUTPUT_DIR", str(tmp_path), "INPUT.DATASET_MAPPER_NAME", mapper, "SOLVER.MAX_ITER", "2")
    metrics = finish(run, train(run))
    assert metrics["task"] == task and metrics["metric"] == {"panoptic": "PQ", "instance": "AP"}[task]
    assert set(metrics["per_class"]) == set(run.tests[0].categories.names) and 0 <= metrics["value"] <= 100
    assert {"PQ_th", "SQ", "AP_pan^Th", "mIoU_pan"} <= metrics["figures"].keys() if task == "panoptic" else "AP50" in metrics["figures"]


@pytest.mark.parametrize("task", TASKS)
def test_p_aug_0_gives_the_bare_mappers_losses_bit_for_bit(worlds, task):
    bare, swapped, synthetic = losses_with_and_without_swap(run_of(worlds[task]), 4)
    assert all(torch.equal(bare[name], swapped[name]) for name in bare)
    assert any(not torch.equal(bare[name], value) for name, value in synthetic.items())


class Oracle(torch.nn.Module):
    """A model whose queries are the segments, or objects, of the truth."""

    def __init__(self, source):
        super().__init__()
        self.source, panoptic = source, source.task == "panoptic"
        things = tuple(item.isthing for item in source.categories.items)
        self.outputs = Outputs(semantic=panoptic, panoptic=panoptic, instance=True, is_thing=things)

    def forward(self, samples):
        return [self.outputs.read(*self._queries(read_mask(sample, self.source)), sample) for sample in samples]

    def _queries(self, truth):
        panoptic = truth.task == "panoptic"
        parts = [(truth.ids == s.id, s) for s in truth.segments] if panoptic else [(o.mask, o) for o in truth.objects]
        classes = torch.full((len(parts) + 1, len(self.source.categories) + 1), -20.0)
        classes[range(len(parts) + 1), [part.category_id for _, part in parts] + [-1]] = 20
        masks = torch.stack([torch.tensor(mask, dtype=torch.float32) for mask, _ in parts] + [torch.zeros(truth.shape)])
        return classes, masks * 40 - 20


@pytest.mark.parametrize("task", TASKS)
def test_the_truth_as_prediction_is_worth_100_also_once_saved(worlds, task, tmp_path):
    run = run_of(worlds[task], training=False)
    metrics = evaluate(Oracle(run.tests[0]), run.tests[0], run.test_mapper, batch_size=2, predictions=tmp_path)
    assert metrics["value"] == pytest.approx(100) and metrics["images"] == 2
    whole = ("PQ", "PQ_th", "PQ_st", "mIoU_pan", "AP_pan^Th") if task == "panoptic" else ("AP", "AP50")
    assert all(metrics["figures"][name] == pytest.approx(100) for name in whole)
    others = {"semantic": tmp_path, "instances": tmp_path} if task == "panoptic" else {}
    saved = evaluate_predictions(tmp_path, yaml.safe_load(worlds[task].read_text())["SEGGEN"]["DATASETS"][1], **others)
    assert not saved.missing and all(saved.scores.figures[name] == pytest.approx(metrics["figures"][name]) for name in whole)


def test_the_dataset_must_be_of_the_mappers_task(worlds):
    with pytest.raises(SegGenError, match=r"is for another task(.|\n)*task: panoptic"):
        run_of(worlds["instance"], "INPUT.DATASET_MAPPER_NAME", "coco_panoptic_lsj", "MODEL.MASK_FORMER.TEST.PANOPTIC_ON", "True")


def test_a_bank_must_be_of_the_task(worlds):
    other = yaml.safe_load(worlds["panoptic"].read_text())["SEGGEN"]["BANKS"]
    with pytest.raises(SegGenError, match="was made for another task"):
        run_of(worlds["instance"], "SEGGEN.BANKS", str(other))


def test_a_model_without_a_metric_is_refused(worlds):
    with pytest.raises(SegGenError, match=r"would get no metrics(.|\n)*INSTANCE_ON"):
        run_of(worlds["instance"], "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False", "MODEL.MASK_FORMER.TEST.SEMANTIC_ON", "True")


def test_images_of_crowds_alone_are_left_out():
    records = [{"annotations": parts} for parts in ([], [{"iscrowd": 1}], [{"iscrowd": 0}, {"iscrowd": 1}], [{}])]
    assert with_objects(records) == records[2:]
    with pytest.raises(SegGenError, match=r"no training image holds an object(.|\n)*FILTER_EMPTY_ANNOTATIONS"):
        with_objects(records[:2])

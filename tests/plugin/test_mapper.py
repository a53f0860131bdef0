"""This package's mappers against Mask2Former's own: equal samples where the draws are equal."""

from __future__ import annotations

import copy

import bank_samples
import coco_samples as coco
import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, HFlipTransform, PadTransform, Transform
from PIL import Image

from seggen_d2.bank import Bank, import_bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping.colours import Hue, Linear, Saturation
from seggen_d2.plugin.data.bench_mapper import SAMPLES, mapper_rows, sample_records
from seggen_d2.plugin.data.mapper import build_mapper
from seggen_d2.plugin.hosts import host_mapper
from seggen_d2.segmentation import label_map_png
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.sources import load_dataset

from .mapper_world import FOLDERS, config, needs_stock, training_set  # noqa: F401 (a fixture)


class Colours(Transform):
    """The stock arithmetic of a plan's colours, on the whole image, value by value."""

    def __init__(self, operations, is_rgb):
        self.operations, self.order = operations, (2, 1, 0) if is_rgb else (0, 1, 2)

    def apply_image(self, image, interp=None):
        from detectron2.projects.point_rend import ColorAugSSDTransform

        stock, image = ColorAugSSDTransform("BGR"), image[:, :, self.order]
        for operation in self.operations:
            apply = self._linear if isinstance(operation, Linear) else self._hsv
            image = apply(stock, image, operation)
        return image[:, :, self.order]

    def _linear(self, stock, image, operation):
        return stock.convert(image, alpha=operation.factor, beta=operation.shift)

    def _hsv(self, stock, image, operation):
        import cv2

        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        if isinstance(operation, Saturation):
            hsv[:, :, 1] = stock.convert(hsv[:, :, 1], alpha=operation.factor)
        elif isinstance(operation, Hue):
            hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + operation.shift) % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)

    def apply_segmentation(self, segmentation):
        return segmentation

    def apply_coords(self, coordinates):
        return coordinates


def stock_transforms(plan, cfg):
    """A plan as Detectron2's transforms; without large-scale jitter the stock mappers pad by themselves."""
    top, left, height, width = plan.window
    steps = [HFlipTransform(plan.source[1])] if plan.source_flip[1] else []
    steps += [T.ResizeTransform(*plan.source, *plan.resized), CropTransform(left, top, width, height)]
    steps += [Colours(plan.colours, cfg.INPUT.FORMAT == "RGB")] if plan.colours else []
    steps += [HFlipTransform(width)] if plan.flip[1] else []
    if "lsj" in cfg.INPUT.DATASET_MAPPER_NAME:
        below, right = plan.canvas[0] - height, plan.canvas[1] - width
        steps.append(PadTransform(0, 0, right, below, width, height, 128.0, 255))
    return steps


def both(cfg, record, number):
    """Our sample and the stock mapper's with the same draws."""
    pytest.importorskip("mask2former")
    mapper, stock = build_mapper(cfg), host_mapper(cfg)
    image = Image.open(record["file_name"])
    areas = None
    if cfg.INPUT.DATASET_MAPPER_NAME in ("mask_former_semantic", "mask_former_panoptic"):
        targets = mapper.mapper.targets
        labels = targets.read(record)
        areas = lambda plan: targets.areas(labels, plan)  # noqa: E731
    plan = mapper.mapper.draw((image.height, image.width), number, areas)
    stock.tfm_gens = stock_transforms(plan, cfg)
    return mapper(copy.deepcopy(record), number), stock(copy.deepcopy(record))


def assert_equal_samples(ours, stock, but=()):
    """Same keys, types, shapes and values."""
    assert set(ours) == set(stock)
    for key in set(stock) - {"instances", *but}:
        assert_equal(ours[key], stock[key], key)
    assert ours["instances"].image_size == stock["instances"].image_size
    fields = stock["instances"].get_fields()
    assert set(ours["instances"].get_fields()) == set(fields)
    for key in set(fields) - set(but):
        assert_equal(*(getattr(s["instances"].get(key), "tensor", s["instances"].get(key)) for s in (ours, stock)), key)


def assert_equal(a, b, key):
    if torch.is_tensor(b):
        assert a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b), key
    else:
        assert a == b, key


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """``{task: records of the real samples}``; panoptic ones have a semantic map beside."""
    folder = tmp_path_factory.mktemp("samples")
    found = {task: sample_records(task, folder) for task in ("semantic", "panoptic", "instance")}
    for record in found["panoptic"]:
        ids = read_panoptic_png(record["pan_seg_file_name"])
        labels = np.full(ids.shape, 255)
        for segment in record["segments_info"]:
            labels[ids == segment["id"]] = segment["category_id"]
        place = folder / f"{record['image_id']}.png"
        place.write_bytes(label_map_png(labels))
        record["sem_seg_file_name"] = str(place)
    return found


@needs_stock
@pytest.mark.parametrize("options", [(), ("INPUT.CROP.SINGLE_CATEGORY_MAX_AREA", 0.5), ("INPUT.FORMAT", "BGR")])
def test_semantic_samples_equal_the_stock_ones(samples, options):
    cfg = config("mask_former_semantic", *options)
    for number in range(9):
        assert_equal_samples(*both(cfg, samples["semantic"][number % 3], number))


@needs_stock
@pytest.mark.parametrize("options", [(), ("INPUT.SIZE_DIVISIBILITY", -1, "INPUT.CROP.ENABLED", False, "INPUT.COLOR_AUG_SSD", False)])
def test_panoptic_samples_equal_the_stock_ones(samples, options):
    cfg = config("mask_former_panoptic", *options)
    for number in range(6):
        assert_equal_samples(*both(cfg, samples["panoptic"][number % 2], number))


@needs_stock
def test_panoptic_samples_of_large_scale_jitter_equal_the_stock_ones(samples):
    cfg = config("coco_panoptic_lsj")
    for number in range(8):
        record = {k: v for k, v in samples["panoptic"][number % 2].items() if k != "sem_seg_file_name"}
        assert_equal_samples(*both(cfg, record, number))


@needs_stock
def test_instance_samples_of_run_lengths_equal_the_stock_ones(samples):
    cfg = config("mask_former_instance")
    source = load_dataset_of_runs()
    for number in range(6):
        assert_equal_samples(*both(cfg, source[number % 2], number))


def load_dataset_of_runs():
    from seggen_d2.sources import CocoInstanceSource

    folder = SAMPLES / "coco_sample"
    return CocoInstanceSource("runs", folder / "input_images", folder / "panoptic_coco_detection_format.json").records()


@needs_stock
@pytest.mark.parametrize("mapper", ["mask_former_instance", "coco_instance_lsj"])
def test_instance_samples_of_polygons_equal_the_stock_ones(samples, mapper):
    """Outlines that do not cross themselves; stock has shapely mend those that do, before it cuts them."""
    cfg = config(mapper)
    for number in range(8):
        ours, stock = both(cfg, samples["instance"][number % 2], number)
        assert_equal_samples(ours, stock, but=("gt_boxes", "padding_mask"))
        if mapper == "coco_instance_lsj":
            boxes = [sample["instances"].gt_boxes.tensor for sample in (ours, stock)]
            assert boxes[0].dtype == boxes[1].dtype and (boxes[0] - boxes[1]).abs().max() < 1e-3
            # Detectron2 pads masks with 255, so stock's is false everywhere; ours is true where padding is
            assert not stock["padding_mask"].any() and ours["padding_mask"].dtype == torch.bool
            assert (ours["image"][:, ours["padding_mask"]] == 128).all()


@needs_stock
def test_the_benchmark_gives_a_row_a_task():
    pytest.importorskip("mask2former")
    rows = mapper_rows(turns=1, batch=1)
    assert len(rows) == 3 and all(row["ratio"] > 0 and "times as fast" in row["reference"] for row in rows)


@pytest.fixture
def banks(tmp_path):
    """``{task: bank}``."""
    bank_samples.write_bank(tmp_path / "semantic")
    for task, file in coco.write_coco(tmp_path / "coco").items():
        import_bank(load_dataset(file), tmp_path / task)
    opened = {task: Bank(tmp_path / task, name=f"mapper-{task}") for task in ("semantic", "panoptic", "instance")}
    yield opened
    for bank in opened.values():
        bank.close()


@pytest.mark.parametrize("mapper", FOLDERS)
def test_records_of_banks_are_mapped_and_those_of_other_tasks_refused(banks, mapper):
    wanted = next(task for task in banks if task in mapper)
    given = build_mapper(config(mapper, "INPUT.IMAGE_SIZE", 64, "INPUT.MIN_SIZE_TRAIN", "(20, 40)"))
    for number in range(3):
        sample = given(banks[wanted].record(number), number)
        assert sample["image"].dtype == torch.uint8 and sample["source_id"] == banks[wanted].record(number)["source_id"]
        assert len(sample["instances"]) <= 3 and sample["instances"].gt_masks.shape[1:] == sample["image"].shape[1:]
        assert not {"sem_seg_file_name", "pan_seg_file_name", "annotations"} & set(sample)
    for task in set(banks) - {wanted}:
        with pytest.raises(SegGenError, match=f"no {wanted} labels"):
            given(banks[task].record(0), 0)


def test_draws_follow_the_number_or_else_numpys_generator(banks):
    mapper, record = build_mapper(config("mask_former_semantic", "INPUT.MIN_SIZE_TRAIN", "(20, 40)")), banks["semantic"].record(0)
    first = [mapper(record, number)["image"] for number in range(6)]
    assert all(torch.equal(mapper(record, number)["image"], image) for number, image in enumerate(first))
    runs = []
    for _ in range(2):
        np.random.seed(5)
        runs.append([mapper(record)["image"] for _ in range(6)])
    assert all(map(torch.equal, *runs)) and not all(map(torch.equal, runs[0], first))


def test_an_image_without_labels_gives_empty_instances(tmp_path, banks):
    (tmp_path / "m.png").write_bytes(label_map_png(np.full((16, 16), 255)))
    record = {**banks["semantic"].record(0), "sem_seg_file_name": str(tmp_path / "m.png")}
    cfg = config("mask_former_semantic", "INPUT.MIN_SIZE_TRAIN", "(16,)", "INPUT.SIZE_DIVISIBILITY", -1)
    instances = build_mapper(cfg)(record, 0)["instances"]
    assert len(instances) == 0 and instances.gt_masks.shape == (0, 16, 16) and instances.gt_masks.dtype == torch.bool


def test_what_does_not_fit_is_refused():
    with pytest.raises(SegGenError, match="training alone"):
        build_mapper(config("mask_former_semantic"), is_train=False)
    cfg = config("mask_former_semantic").clone()
    cfg.defrost()
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_semantics"
    with pytest.raises(SegGenError, match="mask_former_semantic'"):
        build_mapper(cfg)

"""Scale, crop, flip and colours are distributed as Mask2Former's own mappers draw them, on the real samples."""

from __future__ import annotations

import numpy as np
import pytest
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, HFlipTransform
from PIL import Image

from seggen_d2.mapping.colours import Linear
from seggen_d2.plugin.data.bench_mapper import sample_records
from seggen_d2.plugin.data.mapper import build_mapper
from seggen_d2.plugin.hosts import host_mapper

from .mapper_world import config, needs_stock, training_set  # noqa: F401 (a fixture)


def stock_draws(cfg, size, count):
    """(resized height, top, left, flipped) of the stock augmentations, which look at shapes alone."""
    generators = host_mapper(cfg).tfm_gens
    for _ in range(count):
        shape, found = size, {"flip": False}
        for generator in generators:
            if not isinstance(generator, T.Augmentation):
                continue
            picture = np.broadcast_to(np.uint8(0), (*shape, 3))
            labels = (picture[..., 0],) if isinstance(generator, T.RandomCrop_CategoryAreaConstraint) else ()
            steps = generator.get_transform(picture, *labels)
            for step in getattr(steps, "transforms", [steps]):
                if isinstance(step, T.ResizeTransform):
                    found["resized"] = shape = step.new_h, step.new_w
                elif isinstance(step, CropTransform):
                    found["window"] = step.y0, step.x0
                    shape = min(step.h, shape[0]), min(step.w, shape[1])
                elif isinstance(step, HFlipTransform):
                    found["flip"] = True
        yield found["resized"][0], *found["window"], found["flip"]


def our_draws(cfg, size, count):
    mapper = build_mapper(cfg).mapper
    for number in range(count):
        plan = mapper.draw(size, number)
        yield plan.resized[0], *plan.window[:2], bool(plan.flip[1] or plan.source_flip[1])


def alike(a, b):
    """Whether two samples may come of one distribution: Kolmogorov and Smirnov's test, or chi-squared for few values."""
    from scipy import stats

    a, b = np.asarray(a, float), np.asarray(b, float)
    values = np.unique(np.concatenate([a, b]))
    if len(values) == 1:
        return True
    if len(values) > 24:
        return stats.ks_2samp(a, b).pvalue > 1e-3
    table = [[np.count_nonzero(sample == value) for value in values] for sample in (a, b)]
    return stats.chi2_contingency(table).pvalue > 1e-3


@needs_stock
@pytest.mark.parametrize("mapper", ["mask_former_semantic", "mask_former_instance", "coco_panoptic_lsj"])
def test_scale_crop_and_flip_are_distributed_as_stock_has_them(tmp_path, mapper):
    pytest.importorskip("mask2former")
    cfg, count = config(mapper), 3000
    for record in sample_records("panoptic" if "coco" in mapper else "semantic", tmp_path):
        image = Image.open(record["file_name"])
        np.random.seed(1)
        stock = list(zip(*stock_draws(cfg, (image.height, image.width), count), strict=True))
        ours = list(zip(*our_draws(cfg, (image.height, image.width), count), strict=True))
        for a, b, name in zip(ours, stock, ("scale", "top", "left", "flip"), strict=True):
            assert alike(a, b), (mapper, name)
        middle = np.median(stock[2])
        places = [np.array(draws[1]) + 10_000 * (np.array(draws[2]) > middle) for draws in (ours, stock)]
        assert alike(*places), "top and left together"


def test_a_biased_scale_would_be_noticed():
    rng = np.random.default_rng(0)
    assert alike(rng.uniform(0.1, 2.0, 3000), rng.uniform(0.1, 2.0, 3000))
    assert not alike(rng.uniform(0.1, 2.0, 3000), rng.uniform(0.1, 1.8, 3000))
    assert not alike(rng.random(3000) < 0.5, rng.random(3000) < 0.56)


class SpiedColours:
    """What Detectron2's colour augmentation draws: (brightness, contrast, saturation, hue, whether contrast is first)."""

    def __init__(self, monkeypatch):
        from detectron2.projects.point_rend import color_augmentation

        self.stock, self.random = color_augmentation.ColorAugSSDTransform("BGR"), color_augmentation.random
        self.stock.convert = self._convert
        integer = self.random.randint
        monkeypatch.setattr(self.random, "randint", lambda low, high: self._note("hue", integer(low, high)))

    def _note(self, name, value):
        self.found[name] = value
        return value

    def _convert(self, image, alpha=1, beta=0):
        name = "saturation" if image.ndim == 2 else "brightness" if beta else "contrast"
        self._note(name, beta or alpha)
        return image

    def draw(self):
        self.found = {}
        self.stock.apply_image(np.zeros((1, 1, 3), np.uint8))
        names = list(self.found)
        return {**self.found, "first": is_first(names)}


def our_colours(plan):
    found = {}
    for operation in plan.colours:
        if isinstance(operation, Linear):
            name = "brightness" if operation.shift else "contrast"
            found[name] = operation.shift or operation.factor
        else:
            found[type(operation).__name__.lower()] = getattr(operation, "factor", getattr(operation, "shift", None))
    return {**found, "first": is_first(list(found))}


def is_first(names):
    """Whether contrast came before saturation and hue; None where that cannot be told."""
    told = "contrast" in names and {"saturation", "hue"} & set(names)
    return names[-1] != "contrast" if told else None


@needs_stock
def test_colours_are_distributed_as_stock_has_them(monkeypatch):
    mapper, spy, count = build_mapper(config("mask_former_semantic")).mapper, SpiedColours(monkeypatch), 4000
    spy.random.seed(0)
    stock = [spy.draw() for _ in range(count)]
    ours = [our_colours(mapper.draw((300, 400), number)) for number in range(count)]
    for name in ("brightness", "contrast", "saturation", "hue", "first"):
        used = [[draw.get(name) is not None for draw in draws] for draws in (ours, stock)]
        assert alike(*used), f"how often {name} is used"
        values = [[draw[name] for draw in draws if draw.get(name) is not None] for draws in (ours, stock)]
        assert len(values[0]) > 500 and alike(*values), name
    operations = ("brightness", "contrast", "saturation", "hue")
    together = [[sum((name in draw) << i for i, name in enumerate(operations)) for draw in draws] for draws in (ours, stock)]
    assert alike(*together), "operations are drawn independently of each other"

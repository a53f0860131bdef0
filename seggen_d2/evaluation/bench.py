"""What scoring costs against the references, and how far the figures are apart: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.measure import interleaved, median_ratio, row
from seggen_d2.segmentation import Categories, Category, label_map_png, read_label_map
from seggen_d2.segmentation.masks import Segment, SegmentMask
from seggen_d2.segmentation.panoptic import panoptic_png, read_panoptic_png
from seggen_d2.segmentation.panoptic_quality import PanopticQuality

from .instances import Detection, MaskAP, TruthObject, encode_object
from .semantic import SemanticScorer

SIZE = (480, 640)  # pixels, as COCO's
CATEGORIES = Categories(tuple(Category(f"c{i}", i < 80) for i in range(133)))
NEITHER = "not installed, so not compared: "
Call = Callable[[], float]  # returns a figure in percent
Way = tuple[Call, Call | None]  # ours and the reference's
Labels = list[tuple[np.ndarray, np.ndarray]]


def metric_rows(images: int = 6, turns: int = 5, semantic: Callable[[Labels, Categories, Path], Call] | None = None) -> list[dict[str, Any]]:
    """Seconds to score images of 480 x 640 pixels and 133 categories, PNGs read from disk; medians over turns.

    Args:
        images: how many.
        turns: how often.
        semantic: makes the reference of mIoU for ``(predicted, truth)`` label maps and a folder; Detectron2's evaluator,
            where it is installed (:mod:`seggen_d2.plugin.training.bench_metrics`).
    """
    draw = np.random.default_rng(0)
    truths = [_scene(draw) for _ in range(images)]
    pairs = [(SegmentMask(np.roll(truth.ids, 3, 1), truth.segments), truth) for truth in truths]
    with tempfile.TemporaryDirectory() as folder:
        ways = {"mIoU": ("Detectron2's SemSegEvaluator", _semantic(pairs, Path(folder), semantic)), "PQ": ("panopticapi", _panoptic(pairs, Path(folder))),
                "AP": ("pycocotools alone", _instances(pairs, draw))}
        return [made for name, (reference, way) in ways.items() for made in _rows(name, reference, way, images, turns)]


def _rows(name: str, reference: str, way: Way, images: int, turns: int) -> list[dict[str, Any]]:
    ours, theirs = way
    found: list[list[float]] = [[], []]
    calls = [lambda _, call=call, kept=kept: kept.append(call()) for call, kept in zip(way, found, strict=True) if call]
    seconds = interleaved(calls, turns)
    title, median = f"{name} of {images} images", statistics.median(seconds[0])
    if theirs is None:
        return [row(title, median, "s", reference=NEITHER + reference)]
    apart = abs(found[0][0] - found[1][0])
    return [row(title, median, "s", median_ratio(*seconds), f"{reference}; figures differ by {apart:.1e} points")]


def _scene(draw: np.random.Generator) -> SegmentMask:
    """Twenty-five boxes over each other on void."""
    ids, kinds = np.zeros(SIZE, np.int32), []
    for number in range(1, 26):
        top, left = int(draw.integers(SIZE[0] - 20)), int(draw.integers(SIZE[1] - 20))
        ids[top : top + int(draw.integers(20, 240)), left : left + int(draw.integers(20, 320))] = number
        kinds.append(Segment(number, int(draw.integers(len(CATEGORIES)))))
    return SegmentMask(ids, tuple(kinds))


def _semantic(pairs: list[tuple[SegmentMask, SegmentMask]], folder: Path, reference: Callable[[Labels, Categories, Path], Call] | None) -> Way:
    """The truth is read from disk; Boundary IoU is counted, as the reference counts one of its own."""
    labels = [(np.minimum(ours.labels(), len(CATEGORIES) - 1), theirs.labels()) for ours, theirs in pairs]
    for number, (_, truth) in enumerate(labels):
        (folder / f"{number}.png").write_bytes(label_map_png(truth))

    def own() -> float:
        scorer = SemanticScorer(CATEGORIES)
        for number, (predicted, _) in enumerate(labels):
            scorer.update(predicted, read_label_map(folder / f"{number}.png"))
        return scorer.scores().figures["mIoU"]

    return own, reference(labels, CATEGORIES, folder) if reference else None


def _panoptic(pairs: list[tuple[SegmentMask, SegmentMask]], folder: Path) -> Way:
    for side, place in (("ours", 0), ("theirs", 1)):
        (folder / side).mkdir()
        for number, pair in enumerate(pairs):
            (folder / side / f"{number}.png").write_bytes(panoptic_png(pair[place].ids))

    def own() -> float:
        quality = PanopticQuality(CATEGORIES)
        for number, pair in enumerate(pairs):
            quality.update(*(SegmentMask(read_panoptic_png(folder / side / f"{number}.png"), mask.segments)
                             for side, mask in zip(("ours", "theirs"), pair, strict=True)))
        return quality.pq()

    return own, _panopticapi(pairs, folder) if importlib.util.find_spec("panopticapi") else None


def _panopticapi(pairs: list[tuple[SegmentMask, SegmentMask]], folder: Path) -> Callable[[], float]:
    from panopticapi.evaluation import PQStat, pq_compute_single_core

    items = {place: {"id": place, "isthing": int(item.isthing)} for place, item in enumerate(CATEGORIES.items)}

    def entry(number: int, mask: SegmentMask) -> dict[str, Any]:
        infos = [{"id": s.id, "category_id": s.category_id, "iscrowd": 0, "area": int((mask.ids == s.id).sum())} for s in mask.segments]
        return {"image_id": number, "file_name": f"{number}.png", "segments_info": infos}

    matched = [(entry(number, theirs), entry(number, ours)) for number, (ours, theirs) in enumerate(pairs)]

    def reference() -> float:
        counted = PQStat()
        with contextlib.redirect_stdout(io.StringIO()):
            counted += pq_compute_single_core(0, matched, str(folder / "theirs"), str(folder / "ours"), items)
        return 100 * counted.pq_average(items, None)[0]["pq"]

    return reference


def _instances(pairs: list[tuple[SegmentMask, SegmentMask]], draw: np.random.Generator) -> Way:
    sides = [[[(s.category_id, encode_object(mask.ids == s.id)) for s in mask.segments if CATEGORIES.items[s.category_id].isthing]
              for mask in masks] for masks in zip(*pairs, strict=True)]
    scores = [draw.random(len(found)).tolist() for found in sides[0]]

    def own() -> float:
        scorer = MaskAP(CATEGORIES)
        for number, (ours, theirs) in enumerate(zip(*sides, strict=True)):
            scorer.update(number, [Detection(category, score, rle) for (category, rle), score in zip(ours, scores[number], strict=True)],
                          [TruthObject(*o) for o in theirs])
        return scorer.scores().figures["AP"]

    return own, lambda: _pycocotools(sides, scores)


def _pycocotools(sides: list[list[list[tuple[int, dict[str, Any]]]]], scores: list[list[float]]) -> float:
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def listed(side: int) -> list[dict[str, Any]]:
        found = [{"image_id": number, "category_id": category, "segmentation": rle, "iscrowd": 0, "area": int(mask.area(rle))}
                 for number, objects in enumerate(sides[side]) for category, rle in objects]
        return [{**item, "id": place} for place, item in enumerate(found, start=1)]

    scored = [{**item, "score": score} for item, score in zip(listed(0), itertools.chain(*scores), strict=True)]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        images = [{"id": number, "height": SIZE[0], "width": SIZE[1]} for number in range(len(scores))]
        truth.dataset = {"images": images, "annotations": listed(1), "categories": [{"id": i} for i, item in enumerate(CATEGORIES.items) if item.isthing]}
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(scored), "segm")
        judge.evaluate(), judge.accumulate(), judge.summarize()
    return float(100 * judge.stats[0])

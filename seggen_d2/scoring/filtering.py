"""The filter: what a segmenter doubts of a bank, corrected masks, samples to drop, and weights to draw by. One pass, one command.

Beside the rows of each shard it writes ``filter.json``, the mean loss of each class, which samples spread over the bank, or real
images, tell before any sample is judged, and the archives that :class:`seggen_d2.bank.FilteredBank` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from seggen_d2.bank.filter_files import CORRECTED, FIELDS, KEPT, WEIGHT
from seggen_d2.bank.format import PARTS
from seggen_d2.bank.mask_members import instance_members, mask_members, useless
from seggen_d2.foundation.errors import check_choice, check_range
from seggen_d2.foundation.files import json_bytes
from seggen_d2.modeling import Mask2Former
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import InstanceMask, Mask
from seggen_d2.segmentation.rle import encode_mask
from seggen_d2.sources.dataset_file import Source

from .alignment import sparse, total
from .looking import Looking
from .marks import MARKS, Marked, mark
from .nearest import evenly
from .noise import class_losses, mean_losses, ratio_of
from .resampling import ClassPixels, weights
from .samples import BankSource, Part, Real, labelled
from .sidecar import Sidecar

MEANS_OF = 2000  # samples that tell the classes' mean losses, evenly spread; of a smaller bank or test set all
REFERENCES = ("auto", "bank", "test")
_SUMS = "filter"  # of the sparse columns: pixels, losses, marked pixels by class


@dataclass(frozen=True)
class FilterOptions:
    """What is doubted, dropped, and drawn more often.

    Attributes:
        marks: ``segments``, ``pixels`` (both where the segmenter sees another category), or ``freemask``: pixels whatever it sees.
        reference: whose mean loss of a class is the measure: that of the ``bank`` itself, as FreeMask has it, or of the real ``test``
            set, which masks that are wrong do not move; ``auto`` is the test set where there is one.
        tolerance: times its class's mean loss, above which a pixel or segment is doubted.
        drop_above: times the loss usual for its classes, above which a sample is dropped.
        hardness, rarity: exponents of a mask's hardness and of its rarest class in the weights; 0 leaves one out.
    """

    marks: str = "segments"
    reference: str = "auto"
    tolerance: float = 2.0
    drop_above: float = 3.0
    hardness: float = 1.0
    rarity: float = 0.5

    def __post_init__(self) -> None:
        check_choice("--marks", self.marks, MARKS)
        check_choice("--reference", self.reference, REFERENCES)
        for name in ("tolerance", "drop_above"):
            check_range(f"--{name.replace('_', '-')}", getattr(self, name), 0, 10**6)
        for name in ("hardness", "rarity"):
            check_range(f"--{name}", getattr(self, name), 0, 10)


class Filter:
    """The score of the kind ``filter``.

    Args:
        sidecar: of the bank.
        model: the segmenter; its ``outputs`` become semantic scores, whatever the task.
        options: of the filter.
        parts: all that is scored: it decides which samples the classes' mean losses are of.
        test: a real held-out set: what is doubted there is the segmenter's own fault.
        batch: images that the segmenter sees at once, all of one size.
    """

    kind = "filter"

    def __init__(self, sidecar: Sidecar, model: Mask2Former, options: FilterOptions, parts: Sequence[Part], *, test: Real | None = None, batch: int = 8):
        self.sidecar, self.bank, self.options, self.test, self.look = sidecar, sidecar.bank, options, test, Looking(model, batch)
        self.task, self.categories, self.parts = self.bank.info.task, self.bank.info.categories, parts

    def columns(self, part: Part, tick: Callable[[], Any]) -> dict[str, Any]:
        """What was measured of each sample and segment; corrected members go to the shard's archives before."""
        plain = list(part.records())
        records = [labelled(self.bank, record) for record in plain]
        found: dict[str, Marked] = {}
        for record, mask, seen in self.look(BankSource(self.bank), records):
            found[record["image_id"]] = mark(mask, seen, self.bars, self.options.marks, self.categories)
            tick()
        rows = [found[record["image_id"]] for record in records]
        sums = np.stack([row.sums for row in rows])
        corrected = [{reading: _members(self.task, mask, record, self.categories) for reading, mask in row.corrected.items()}
                     for record, row in zip(plain, rows, strict=True)]
        return {**self._figures(sums), "filter_useful": [int(not any(map(useless, row.corrected.values()))) for row in rows],
                "filter_segments": _segment_column(rows), **dict(zip((f"{_SUMS}_classes", f"{_SUMS}_sums"), sparse(sums), strict=True)),
                **{reading: self._archive(reading, part, corrected) for reading in CORRECTED}}

    def _figures(self, sums: np.ndarray) -> dict[str, list[float]]:
        """``filter_loss``, a pixel; ``filter_ratio``, against what is usual for the classes; ``filter_marked``, share of the pixels."""
        pixels, losses, marked = np.moveaxis(sums, -1, 0)
        counts = np.maximum(pixels.sum(1), 1)
        ratios = [ratio_of(*row, self.means) for row in zip(pixels, losses, strict=True)]
        return {"filter_loss": (losses.sum(1) / counts).tolist(), "filter_ratio": ratios, "filter_marked": (marked.sum(1) / counts).tolist()}

    def _archive(self, reading: str, part: Part, corrected: Sequence[dict[str, dict[str, bytes]]]) -> pa.Array:
        """Write a reading's members of a shard; where they lie, as a struct a sample."""
        keys = part.column("key").tolist()
        members = [(key, kind, data) for key, own in zip(keys, corrected, strict=True) for kind, data in own.get(reading, {}).items()]
        places = self.sidecar.archive(reading, part, [(f"{key}.{kind}", data) for key, kind, data in members])
        rows: dict[str, dict[str, int]] = {key: dict.fromkeys(FIELDS, 0) for key in keys}
        for (key, kind, _), place in zip(members, places, strict=True):
            rows[key] |= dict(zip((f"{kind}_{fact}" for fact in ("offset", "length", "crc32")), place, strict=True))
        return pa.array(list(rows.values()), pa.struct([(name, pa.int64()) for name in FIELDS]))

    @cached_property
    def means(self) -> np.ndarray:
        """``(K,)`` mean loss a pixel of each class."""
        told = self.sidecar.once("filter.json", self._measure_means)
        return np.array([told["mean_loss"][name] for name in self.categories.names])

    @property
    def bars(self) -> np.ndarray:
        """``(K,)`` the loss above which each class is doubted."""
        return self.options.tolerance * self.means

    def _measure_means(self) -> dict[str, Any]:
        source, records = self._reference()
        sums = np.zeros((len(self.categories), 2))
        with tqdm(total=len(records), desc=f"mean loss of classes, {source.name}", unit="image", disable=None) as bar:
            for _, mask, seen in self.look(source, records):
                sums += class_losses(mask, seen, self.categories)
                bar.update()
        return {"of": source.name, "images": len(records), "mean_loss": dict(zip(self.categories.names, mean_losses(sums).tolist(), strict=True))}

    def _reference(self) -> tuple[Source, list[dict[str, Any]]]:
        """What tells the mean losses: its records, ``MEANS_OF`` at most."""
        if self.options.reference == "test":
            return self.test.source, [self.test.records[place] for place in evenly(len(self.test.records), MEANS_OF)]
        rows = np.concatenate([part.first + part.places for part in self.parts])
        return BankSource(self.bank), [labelled(self.bank, self.bank.record(int(rows[place]))) for place in evenly(len(rows), MEANS_OF)]

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """What is kept, marked and corrected, by class, and on the real set beside it. Writes ``kept`` and ``weight`` of each sample."""
        table = self.sidecar.table(self.kind, parts, ["filter_ratio", "filter_useful", f"{_SUMS}_classes", f"{_SUMS}_sums", CORRECTED[0]])
        kept = (table["filter_ratio"].to_numpy() <= self.options.drop_above) & (table["filter_useful"].to_numpy() > 0)
        drawn = weights(_class_pixels(table), self.means, kept, self.options.hardness, self.options.rarity)
        start = 0
        for part in parts:
            own = slice(start, start := start + len(part))
            self.sidecar.write("weights", part, {KEPT: kept[own].astype(np.int8), WEIGHT: drawn[own]})
        changed = sum(np.asarray(pc.struct_field(table[CORRECTED[0]], "png_length")) > 0)
        found = {"samples": len(table), "kept": int(kept.sum()), "dropped": int((~kept).sum()), "changed": int(changed), "marks": self.options.marks,
                 "tolerance": self.options.tolerance, "reference": self.options.reference, "most_weight": float(drawn.max(initial=0)), **self._shares(table)}
        if self.test:
            real = self.sidecar.real(self.kind, self.test.print, self._of_real)
            found["real"] = {"dataset": self.test.source.name, "images": len(real), **self._shares(real)}
        return found

    def _of_real(self) -> dict[str, Any]:
        rows = []
        with tqdm(total=len(self.test.records), desc=f"{self.kind} of {self.test.source.name}", unit="image", disable=None) as bar:
            for _, mask, seen in self.look(self.test.source, self.test.records):
                rows.append(mark(mask, seen, self.bars, self.options.marks, self.categories).sums)
                bar.update()
        return dict(zip((f"{_SUMS}_classes", f"{_SUMS}_sums"), sparse(np.stack(rows)), strict=True))

    def _shares(self, table: pa.Table) -> dict[str, Any]:
        """The share of the pixels that is marked, and of each class with its mean loss."""
        pixels, losses, marked = total(table, _SUMS, np.zeros((len(self.categories), 3))).T
        classes = {"mean_loss": _by_name(self.categories.names, losses, pixels), "marked": _by_name(self.categories.names, marked, pixels)}
        return {"marked": float(marked.sum() / max(pixels.sum(), 1)), "per_class": classes}


def _by_name(names: Sequence[str], parts: np.ndarray, wholes: np.ndarray) -> dict[str, float | None]:
    return {name: float(part / whole) if whole else None for name, part, whole in zip(names, parts, wholes, strict=True)}


def _class_pixels(table: pa.Table) -> ClassPixels:
    lists = table[f"{_SUMS}_classes"].combine_chunks()
    sums = table[f"{_SUMS}_sums"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    counts = np.asarray(pc.list_value_length(lists))
    return ClassPixels(len(table), np.repeat(np.arange(len(table)), counts), lists.flatten().to_numpy(), sums[:, 0])


def _segment_column(rows: Sequence[Marked]) -> pa.Array:
    kind = pa.list_(pa.struct([("category", pa.int32()), ("pixels", pa.int64()), ("loss", pa.float32())]))
    return pa.array([[{"category": int(category), "pixels": int(pixels), "loss": loss} for category, pixels, loss in row.segments.tolist()]
                     for row in rows], kind)


def _object_members(mask: InstanceMask, record: dict[str, Any], categories: Categories) -> dict[str, Any]:
    """As the bank tells them but for their categories: boxes, areas and polygons stay."""
    told = {part["rle"]["counts"]: part for part in record["annotations"]}
    things = [({**told[encode_mask(thing.mask)["counts"]], "category_id": thing.category_id, "iscrowd": int(thing.iscrowd)}, thing.mask)
              for thing in mask.objects]
    return instance_members(things, mask.shape, categories)


def _members(task: str, mask: Mask, record: dict[str, Any], categories: Categories) -> dict[str, bytes]:
    """The corrected PNG, and the JSON of segments or objects that agrees with it."""
    made = _object_members(mask, record, categories) if isinstance(mask, InstanceMask) else mask_members(mask, categories)
    if task == "semantic":
        return {"png": made["mask"]}
    return {"png": made["mask"], "json": json_bytes({PARTS[task]: made[{"panoptic": "segments", "instance": "annotations"}[task]]})}

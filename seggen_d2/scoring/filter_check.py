"""How well a filter finds errors, before it is trusted with a bank: real masks with errors of known places.

Some segments of held-out masks get another category. Whatever the filter marks elsewhere is the segmenter's own fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from seggen_d2.evaluation.tables import number, text_table
from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.modeling import load_mask2former
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import Mask, SegmentMask, SemanticMask
from seggen_d2.sources import load_dataset

from .looking import Looking
from .marks import MARKS, mark
from .nearest import evenly
from .noise import Seen, class_losses, mean_losses, regions_of

Setting = tuple[str, str, float]  # reference, marks, tolerance
_HEAD = ("reference", "marks", "tolerance", "marked, %", "of these wrong, %", "of the wrong found, %", "wrong left: none ignored, %", "ignore, %", "relabel, %")


@dataclass(frozen=True)
class CheckOptions:
    """What is tried.

    Attributes:
        dataset: YAML of a real held-out set. Every second image tells the classes' mean losses, the others get errors.
        segmenter: a finished run on real images.
        share: of the segments that get another category, in [0, 1].
        tolerances: times the class's mean loss.
        images: at most, evenly spread.
        seed: of the errors. batch: images at once. device: ``auto``, ``cpu``, ``cuda:0``, ...
    """

    dataset: str
    segmenter: str
    share: float = 0.15
    tolerances: tuple[float, ...] = (1.25, 1.5, 2.0, 3.0)
    images: int = 400
    seed: int = 0
    batch: int = 8
    device: str = "auto"

    def __post_init__(self) -> None:
        check_range("--share", self.share, 0, 1)
        check_range("--images", self.images, 2, 10**6)
        check_range("--batch", self.batch, 1, 10**4)


def check_filter(options: CheckOptions) -> dict[Setting, np.ndarray]:
    """Try every way to mark.

    Returns:
        For each setting the pixels: labelled, wrong, marked, wrong and marked, wrong after ``relabel``.

    Raises:
        SegGenError: dataset and segmenter do not fit, or a single image is there.
    """
    source = load_dataset(options.dataset)
    everything = source.records()
    records = [everything[place] for place in evenly(len(everything), options.images)]
    if len(records) < 2:
        raise SegGenError(f"{options.dataset} is too small", expected="2 images or more", found=str(len(records)))
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    look = Looking(load_mask2former(options.segmenter, source.categories).to(device), options.batch)
    means = _means(look, source, records, options)
    found: dict[Setting, np.ndarray] = {}
    for mask, wrong, seen in _with_errors(look, source, records[1::2], options):
        for reference, losses in means.items():
            for how in MARKS:
                for tolerance in options.tolerances:
                    counted = _count(mask, wrong, seen, tolerance * losses, how, source.categories)
                    found[reference, how, tolerance] = found.get((reference, how, tolerance), 0) + counted
    return found


def _means(look: Looking, source: Any, records: Sequence[dict[str, Any]], options: CheckOptions) -> dict[str, np.ndarray]:
    """Mean losses of the classes: of the masks with errors, as a bank tells them, and of the real ones."""
    sums = {name: np.zeros((len(source.categories), 2)) for name in ("bank", "test")}
    for _, wrong, seen in _with_errors(look, source, records[1::2], options):
        sums["bank"] += class_losses(wrong, seen, source.categories)
    for _, mask, seen in tqdm(look(source, records[::2]), total=len(records[::2]), desc="real masks", unit="image", disable=None):
        sums["test"] += class_losses(mask, seen, source.categories)
    return {name: mean_losses(own) for name, own in sums.items()}


def _with_errors(look: Looking, source: Any, records: Sequence[dict[str, Any]], options: CheckOptions) -> Iterator[tuple[Mask, Mask, Seen]]:
    for record, mask, seen in tqdm(look(source, records), total=len(records), desc="masks with errors", unit="image", disable=None):
        draws = np.random.default_rng(derive_seed("filter check", options.seed, str(record["image_id"])))
        yield mask, with_errors(mask, draws, options.share, source.categories), seen


def with_errors(mask: Mask, draws: np.random.Generator, share: float, categories: Categories) -> Mask:
    """A share of the segments as another category; things as other things, where a task tells things apart."""
    def other(category: int) -> int:
        things = [item.isthing for item in categories.items]
        rivals = [rival for rival in range(len(things)) if rival != category and (mask.task == "semantic" or things[rival] == things[category])]
        return int(draws.choice(rivals)) if rivals and draws.random() < share else category

    if isinstance(mask, SemanticMask):
        regions = regions_of(mask)
        new = np.array([other(category) for category in regions.categories.tolist()], np.int64)
        return replace(mask, ids=np.where(regions.numbers > 0, regions.spread(new), mask.ids).astype(np.uint16))
    if isinstance(mask, SegmentMask):
        return replace(mask, segments=tuple(replace(part, category_id=other(part.category_id)) for part in mask.segments))
    return replace(mask, objects=tuple(replace(part, category_id=other(part.category_id)) for part in mask.objects))


def _count(mask: Mask, wrong: Mask, seen: Seen, bars: np.ndarray, how: str, categories: Categories) -> np.ndarray:
    corrected = mark(wrong, seen, bars, how, categories).corrected
    truth, labels = mask.labels(), wrong.labels()
    ignored, relabelled = (corrected[reading].labels() if corrected else labels for reading in ("ignore", "relabel"))
    bad, marked = labels != truth, ignored != labels
    return np.array([(truth != mask.ignore_id).sum(), bad.sum(), marked.sum(), (bad & marked).sum(), (relabelled != truth).sum()])


def check_text(found: dict[Setting, np.ndarray]) -> str:
    """The table of :func:`check_filter`; objects of instance masks are marked whole, so that one way stands for all."""
    return text_table(_HEAD, [(reference, how, f"{tolerance:g}", *(number(value, 1) for value in _shares(*counts.tolist())))
                              for (reference, how, tolerance), counts in found.items()])


def _shares(labelled: int, wrong: int, marked: int, both: int, relabelled: int) -> list[float | None]:
    """Percent; None of nothing."""
    parts = ((marked, labelled), (both, marked), (both, wrong), (wrong, labelled), (wrong - both, labelled - marked), (relabelled, labelled))
    return [100 * part / whole if whole else None for part, whole in parts]

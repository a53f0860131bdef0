"""A bank as one page that needs nothing else: samples, masks with names, frequencies, and what was rejected."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import write_bytes
from seggen_d2.segmentation import check_same_categories
from seggen_d2.sources import Source, load_dataset
from seggen_d2.sources.masks import read_labelled

from .document import document
from .pictures import picture, sample_picture
from .real import real_frequencies
from .survey import Survey, survey_bank

if TYPE_CHECKING:
    from ..reader import Bank

_log = logging.getLogger(__name__)
OWN_SCORES = ("labelled", "classes")  # which every sample has: the labelled share of its pixels, and how many classes it holds


@dataclass(frozen=True)
class InspectOptions:
    """What the page shows.

    Attributes:
        samples: at most so many; a larger bank is drawn from, and the page says so.
        side: of its pictures, pixels.
        real: real masks that are read for class frequencies at most; 0 for none.
        seed: of the draws.
    """

    samples: int = 200
    side: int = 256
    real: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("samples", self.samples, 1, 5000)
        check_range("side", self.side, 32, 1024)
        check_range("real", self.real, 0, 10**7)


def inspect_bank(bank: Bank, output: str | os.PathLike, options: InspectOptions | None = None, *, dataset: str | os.PathLike = "") -> Path:
    """Write the page.

    Args:
        bank: of any task and size.
        output: the HTML file.
        options: what it shows.
        dataset: YAML of the real data that the bank was made from; its images are shown beside the samples made from them.

    Returns:
        ``output``.

    Raises:
        SegGenError: the bank is empty (one whose samples were all rejected is not), a shown sample is damaged, or the dataset
            is of another task or label space.
    """
    options = options or InspectOptions()
    if not len(bank) and not bank.rejections():
        raise SegGenError(f"bank {bank.root} holds no sample", expected="one or more, or rejected ones", found="none",
                          remedy="go on with the command that makes it")
    source = _open_source(bank, dataset) if dataset else None
    survey = survey_bank(bank, options.samples, options.seed)
    records = [bank.record(number) for number in survey.chosen]
    real = real_frequencies(source, options.real, options.seed) if source else None
    reals = _reals(source, {record["source_id"] for record in records}, options.side) if source else {}
    scores, notes = _scores(bank, survey)
    samples = [_sample(bank, record, place, scores, options.side) for place, record in enumerate(tqdm(records, desc="samples", unit="sample"))]
    write_bytes(output, document(bank, survey, samples, reals, real, list(scores), notes).encode())
    return Path(output)


def _open_source(bank: Bank, dataset: str | os.PathLike) -> Source:
    source = load_dataset(dataset, task=bank.info.task)
    check_same_categories(source.categories, bank.info.categories, a_is=f"dataset {dataset}", b_is=f"bank {bank.root}", things=bank.info.task != "semantic")
    return source


def _reals(source: Source, wanted: set[str], side: int) -> dict[str, dict[str, Any]]:
    """``{source id: picture}`` of the real images that the shown samples come from."""
    records = [record for record in source.records() if str(record["image_id"]) in wanted]
    classes = len(source.categories)
    return {str(record["image_id"]): picture(*read_labelled(record, source), classes, side) for record in tqdm(records, desc="real", unit="image")}


def _sample(bank: Bank, record: dict[str, Any], place: int, scores: dict[str, np.ndarray], side: int) -> dict[str, Any]:
    made = sample_picture(bank, record, side)
    own = dict(zip(OWN_SCORES, (round(min(1.0, sum(made["shares"])), 4), len(made["classes"])), strict=True))
    found = {name: float(values[place]) for name, values in scores.items() if name not in OWN_SCORES and np.isfinite(values[place])}
    facts = {"key": record["image_id"], "source": record["source_id"]} | {name: record[name] for name in ("strategy", "caption", "seed", "height", "width")}
    return {**facts, **made, "seed": str(facts["seed"]), "scores": {**own, **{name: round(value, 5) for name, value in found.items()}}}


def _scores(bank: Bank, survey: Survey) -> tuple[dict[str, np.ndarray], list[str]]:
    """The shown samples' numbers from the sidecars under ``scores/``; a sidecar that can't be joined is told, not shown."""
    from ..columns import sidecar_columns

    scores: dict[str, np.ndarray] = {name: np.empty(0) for name in OWN_SCORES}
    notes = []
    for folder in bank.store.folders("scores"):
        for column in sidecar_columns(bank.store, f"scores/{folder}", bank.shards):
            try:
                values = bank.column(f"scores/{folder}:{column}")[survey.chosen]
                scores[f"{folder}: {column}"] = values.astype(float)
            except SegGenError as error:
                notes.append(error.problem)
            except (TypeError, ValueError):
                continue  # texts are no scores
    for note in notes:
        _log.warning("%s: it is not shown", note)
    return scores, notes

"""What a bank holds beside the real set: pixels and images of each class, and samples that are there again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from seggen_d2.bank import Bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import parse_json

from .labels import ClassTargets

Record = dict[str, Any]


@dataclass(frozen=True)
class Counts:
    """Of one set of labelled images.

    Attributes:
        images: how many. pixels: ``(N,)`` of each class. held: ``(N,)`` images that hold the class.
    """

    images: int
    pixels: np.ndarray
    held: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """``(N,)`` percent of the labelled pixels."""
        return 100 * self.pixels / max(1, self.pixels.sum())

    @property
    def occurrence(self) -> np.ndarray:
        """``(N,)`` percent of the images."""
        return 100 * self.held / max(1, self.images)


def count_real(records: Sequence[Record], targets: ClassTargets) -> dict[str, np.ndarray]:
    """``pixels`` and ``held`` of :class:`Counts`, of real records.

    Raises:
        SegGenError: labels cannot be read.
    """
    classes = len(targets.categories)
    rows = [np.bincount(targets.read(record).ravel(), minlength=classes)[:classes] for record in tqdm(records, desc="classes", unit="image", disable=None)]
    table = np.stack(rows)
    return {"pixels": table.sum(0), "held": (table > 0).sum(0)}


def count_banks(banks: Sequence[Bank], classes: int) -> Counts:
    """The same of banks, from their indexes; classes past the label space (background) are 0."""
    tables = [bank.column("histogram") for bank in banks]
    pixels, held = (sum(part) for part in zip(*((table.sum(0), (table > 0).sum(0)) for table in tables), strict=True))
    wide = [np.pad(value, (0, classes - len(value))) for value in (pixels, held)]
    return Counts(sum(map(len, tables)), *wide)


@dataclass(frozen=True)
class BankFacts:
    """One bank.

    Attributes:
        root: its folder or URL. samples: how many. images, masks: different ones among them, by their checksums.
        strategies: of its samples. sources: share, in [0, 1], of samples whose source is an image of the real set.
        alignment: by sidecar, what ``scores/NAME/summary.json`` tells of alignment: main figure on the bank, and on real images (or None).
    """

    root: str
    samples: int
    images: int
    masks: int
    strategies: tuple[str, ...]
    sources: float
    alignment: dict[str, tuple[str, float | None, float | None]]


def facts_of(bank: Bank, names: frozenset[str]) -> BankFacts:
    """What the bank's index and its scores tell.

    Args:
        names: every name of an image of the real set.
    """
    sources = np.isin(bank.column("source_id").astype(str), list(names)).mean()
    images, masks = (len(np.unique(bank.column(f"{kind}_crc32"))) for kind in ("jpg", "png"))
    strategies = tuple(sorted({str(word) for word in np.unique(bank.column("strategy").astype(str))}))
    return BankFacts(str(bank.root), len(bank), images, masks, strategies, float(sources), dict(_alignments(bank)))


def _alignments(bank: Bank) -> list[tuple[str, tuple[str, float | None, float | None]]]:
    found = []
    for name in bank.store.folders("scores"):
        summary = f"scores/{name}/summary.json"
        try:
            told = parse_json(bank.store.read(summary, "scores"), summary) if bank.store.facts(summary) else {}
            figures = told["alignment"]["figures"]
            figure = next(iter(figures))
            found.append((name, (figure, figures[figure], told["alignment"].get("real", {}).get("figures", {}).get(figure))))
        except (KeyError, TypeError, StopIteration, SegGenError):  # scores of other kinds, or cut short: they are not needed
            continue
    return found

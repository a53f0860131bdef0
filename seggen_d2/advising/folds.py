"""Which real images a probe trains on, which it is tested on, and which of a bank's samples it may see then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seggen_d2.bank import Bank, FilteredBank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.mixing.sampling import names_of
from seggen_d2.scoring.nearest import evenly
from seggen_d2.sources.splits import group_of

Record = dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """One division of the real images.

    Attributes:
        number: from 0. train: records to train on. test: records that are held out and tested on.
        kept_out: every name of a held-out image, tested on or not; no sample that was made from one may be seen.
    """

    number: int
    train: tuple[Record, ...]
    test: tuple[Record, ...]
    kept_out: frozenset[str]

    @property
    def trained(self) -> frozenset[str]:
        """Every name of an image that is trained on."""
        return names_in(self.train)


def folds_of(records: Sequence[Record], folds: int, *, held_out: int, limit: int = 0, group_pattern: str = "") -> list[Fold]:
    """The divisions: each group of images is held out once. They follow from the images' names alone.

    Args:
        records: of the real training set.
        folds: how many.
        held_out: images a fold that are tested on, at most. limit: images that are used at all, shared out over the folds; 0 takes all.
        group_pattern: see :func:`seggen_d2.sources.splits.group_of`.

    Raises:
        SegGenError: there are fewer groups than folds.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(group_of(str(record["image_id"]), group_pattern), []).append(record)
    if len(groups) < folds:
        raise SegGenError(f"there are too few images to hold out one part of {folds}", expected=f"{folds} images or groups of images at least",
                          found=f"{len(records)} images in {len(groups)} groups", remedy="give fewer --folds, or mend --group-pattern")
    ranked = sorted(groups, key=lambda name: derive_seed("fold", name))
    parts = [[record for name in ranked[number::folds] for record in groups[name]] for number in range(folds)]
    used = [_some(part, -(-limit // folds) or len(part)) for part in parts]
    return [Fold(number, tuple(record for other in used if other is not used[number] for record in other), _some(used[number], held_out), names_in(part))
            for number, part in enumerate(parts)]


def _some(records: Sequence[Record], count: int) -> tuple[Record, ...]:
    """``count`` of them at most, spread evenly."""
    return tuple(records[place] for place in evenly(len(records), min(count, len(records))).tolist())


class PartOfBank:
    """Some rows of a bank, which a swap draws from as from a whole one.

    Args:
        bank: the bank.
        rows: ``(M,)`` its rows, ascending.
    """

    def __init__(self, bank: Bank | FilteredBank, rows: np.ndarray):
        self.bank, self.rows = bank, rows
        self.info, self.root, self.name = bank.info, bank.root, bank.name

    def __len__(self) -> int:
        return len(self.rows)

    def record(self, number: int) -> Record:
        """Sample ``number`` of the part; see :meth:`Bank.record`."""
        return self.bank.record(int(self.rows[number]))

    def key(self, number: int) -> str:
        """The key of sample ``number`` of the part."""
        return self.bank.key(int(self.rows[number]))

    def column(self, name: str) -> np.ndarray:
        """A column, of the part's rows; see :meth:`Bank.column`."""
        return self.bank.column(name)[self.rows]


def apart(bank: Bank | FilteredBank, names: frozenset[str]) -> PartOfBank:
    """The samples whose source is none of ``names``."""
    return PartOfBank(bank, np.flatnonzero(~np.isin(bank.column("source_id").astype(str), list(names))))



def names_in(records: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Every name that a bank may call one of ``records`` by."""
    return frozenset(name for record in records for name in names_of(record))

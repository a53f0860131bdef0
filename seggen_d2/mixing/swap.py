"""The swap itself: a callable around any dataset mapper that now and then hands it a synthetic record instead."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.seeds import unit_float

from .sampling import check_banks, check_goes_with, cumulative, make_pickers, pick, shares_of_banks

if TYPE_CHECKING:
    from seggen_d2.bank import Bank

logger = logging.getLogger(__name__)
ALARM = 32  # so many synthetic samples in a row that fail are no accident: said at level ERROR
MOST_TOLD = 100  # failing samples that a process names; the others are counted


class SwapMapper:
    """Replaces the dataset dict before the wrapped mapper sees it; wraps any mapper of any project.

    A synthetic sample that cannot be read or mapped is logged once, counted in ``failures``, and the real one is used.
    A real record without a variant (``paired``) stays real and is counted in ``without_variant``. What goes wrong with
    a real record is raised. Counters are those of their own process: a data-loader worker keeps its own.

    Args:
        mapper: ``mapper(record)``, or ``mapper(record, number=number)`` where numbers are handed over.
        banks: one bank or several of one label space. None is needed where ``p_aug`` is 0.
        p_aug: probability in [0, 1] of a synthetic sample, or a function of the global sample number that gives it.
        p_aug_of: of a real record and that probability, the record's own (``rarity.Rarity``); with ``paired`` alone, whose
            synthetic samples hold the record's classes.
        bank_weights: how often each bank is drawn from; by default as their sizes are. ``paired`` draws among the banks
            that hold a variant.
        sampling: ``"uniform"`` over a bank, ``"paired"`` (a variant of the same real image) or ``"weighted"``.
        sample_weights: for ``weighted``, the bank's column: of its index, or ``scores/NAME:column``.
        seed: with the sample's number it fixes the draw.
        start_iteration: of a host's loader that hands over no numbers; a resumed run gives the iteration it resumes at.

    Raises:
        SegGenError: a value out of range, an empty bank, banks of different label spaces or tasks, unusable weights.
    """

    def __init__(
        self,
        mapper: Callable[..., Any],
        banks: Bank | Sequence[Bank],
        p_aug: float | Callable[[int], float],
        *,
        p_aug_of: Callable[[Mapping[str, Any], float], float] | None = None,
        bank_weights: Sequence[float] | None = None,
        sampling: str = "uniform",
        sample_weights: str | None = None,
        seed: int = 0,
        start_iteration: int = 0,
    ):
        self.mapper, self.seed = mapper, seed
        self.p_aug = p_aug if callable(p_aug) else check_range("p_aug", p_aug, 0, 1)
        self.banks = tuple(banks) if isinstance(banks, (list, tuple)) else (banks,)
        if not self.banks and p_aug != 0:
            raise SegGenError(
                "there is no bank to draw from",
                expected="1 bank or more, or p_aug 0",
                found="no bank",
                remedy="name a bank (SEGGEN.BANKS), or set p_aug to 0",
            )
        check_banks(self.banks)
        check_goes_with(sampling, sample_weights, p_aug_of)
        self.p_aug_of = p_aug_of
        self._pickers = make_pickers(self.banks, sampling, sample_weights)
        self._shares = shares_of_banks(self.banks, bank_weights) if self.banks else np.empty(0)
        self._sums = (
            cumulative(self._shares, "the list of bank weights", len(self.banks)) if self.banks else self._shares
        )
        self._rank = _rank()
        self.start_at(start_iteration)
        self._calls = self.failures = self.without_variant = self.swapped = 0
        self._failed_keys: set[str] = set()

    def start_at(self, iteration: int) -> None:
        """Tell the iteration that training begins at, before a host's loader starts its workers."""
        self._host = f"{iteration}/{self._rank}"

    def __call__(self, record: dict[str, Any], number: int | None = None) -> Any:
        """Map ``record`` or a synthetic sample in its place.

        Args:
            record: a dataset dict; ``file_name`` is all that is read of it, and ``image_id`` where it is.
            number: the global sample number; the draw is a function of it and the seed. None: of the seed, the start
                iteration, the rank, the worker and its count of calls.

        Returns:
            What the wrapped mapper returns; a dict also gets ``is_synthetic``, and ``swap_failed`` (True) where a
            synthetic sample was drawn and could not be used, so that whoever sees the batches can count.
        """
        synthetic = self._draw(record, number)
        if synthetic is None:
            return _mark(self._map(record, number), is_synthetic=False)
        try:
            output = self._map(self.banks[synthetic[0]].record(synthetic[1]), number)
        except Exception as error:  # whatever it is, training does not die of a synthetic sample
            self._count_failure(synthetic, error)
            return _mark(self._map(record, number), is_synthetic=False, swap_failed=True)
        self.swapped += 1
        return _mark(output, is_synthetic=True)

    def _map(self, record: dict[str, Any], number: int | None) -> Any:
        return self.mapper(record) if number is None else self.mapper(record, number=number)

    def _draw(self, record: Mapping[str, Any], number: int | None) -> tuple[int, int] | None:
        """``(bank, row)``, or None for the real record."""
        if self.p_aug == 0:
            return None
        p_aug = self._chance(record, number)
        where = self._host_number() if number is None else number
        if unit_float("swap", self.seed, where) >= p_aug:
            return None
        draw = unit_float("row", self.seed, where)
        for bank in self._bank_order(where):
            row = self._pickers[bank](record, draw)
            if row is not None:
                return bank, row
        self.without_variant += 1
        return None

    def _chance(self, record: Mapping[str, Any], number: int | None) -> float:
        """p_aug of the real ``record`` at ``number``."""
        if callable(self.p_aug) and number is None:
            raise SegGenError(
                "p_aug is a function of the sample number, and the loader gives none",
                expected="a number in [0, 1]",
                remedy="use NumberedSampler and NumberedDataset, or a constant p_aug",
            )
        p_aug = check_range("p_aug", self.p_aug(number), 0, 1) if callable(self.p_aug) else self.p_aug
        return p_aug if self.p_aug_of is None else self.p_aug_of(record, p_aug)

    def _bank_order(self, where: int | str) -> Iterator[int]:
        """Banks by weight, none twice; a bank without a fitting row gives way to the others in their proportions."""
        if len(self.banks) == 1:
            yield 0
            return
        sums, shares = self._sums, self._shares.copy()
        for attempt in range(np.count_nonzero(shares)):
            if attempt:
                sums = cumulative(shares, "the list of bank weights", len(shares))
            bank = pick(sums, unit_float("bank", self.seed, where, attempt))
            yield bank
            shares[bank] = 0

    def _host_number(self) -> str:
        """In place of a number, where the loader gives none: start iteration, rank, worker and its count of calls."""
        self._calls += 1
        return f"{self._host}/{_worker()}/{self._calls}"

    def _count_failure(self, synthetic: tuple[int, int], error: Exception) -> None:
        bank, row = synthetic
        key = f"{self.banks[bank].name}, row {row}"
        self.failures += 1
        if key not in self._failed_keys and len(self._failed_keys) < MOST_TOLD:
            self._failed_keys.add(key)
            reason = f"{type(error).__name__}: {error}"
            told = f"{key}{_member(self.banks[bank], row)}"
            logger.warning("synthetic sample not used, the real one is (bank %s): %s", told, reason)
            if len(self._failed_keys) == MOST_TOLD:
                logger.warning("%d synthetic samples could not be used; further ones are counted only", MOST_TOLD)
        if self.failures == ALARM and not self.swapped:
            logger.error("none of the first %d synthetic samples could be used: training sees real data alone", ALARM)


def _member(bank: Bank, row: int) -> str:
    try:
        return f", {bank.key(row)}"
    except Exception:  # an index that cannot be read is the reason told
        return ""


def _mark(output: Any, **marks: bool) -> Any:
    if isinstance(output, dict):
        output.update(marks)
    return output


def _rank() -> int:
    """Of this process, asked when the mapper is made: in its workers torch no longer knows."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return int(os.environ.get("RANK", 0))


def _worker() -> str:
    """The data-loader worker, by its id and by torch's seed of it, which is another one each epoch."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data else None
    return f"{info.id}.{info.seed}" if info else "main"

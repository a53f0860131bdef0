"""Banks read through a filter, as ``SEGGEN.FILTER`` names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seggen_d2.bank.filter_files import WEIGHT, parse_filter
from seggen_d2.bank.filtered import FilteredBank

if TYPE_CHECKING:
    from seggen_d2.bank import Bank


def through_filter(banks: Sequence[Bank], name: str) -> list[Bank | FilteredBank]:
    """Each bank read through its own filter of that name.

    Args:
        name: ``scores/NAME`` or ``scores/NAME:READING``; ``""`` leaves the banks as they are.

    Raises:
        SegGenError: a bank has no such filter, or it does not fit the bank.
    """
    return [FilteredBank(bank, name) for bank in banks] if name else list(banks)


def weights_column(sampling: str, column: str, filter_name: str) -> str | None:
    """The column that ``weighted`` sampling draws by: the one that is named, else the filter's own weights; None of others.

    Args:
        sampling: SEGGEN.SAMPLING. column: SEGGEN.SAMPLE_WEIGHTS. filter_name: SEGGEN.FILTER.
    """
    if sampling == "weighted" and not column and filter_name:
        return f"{parse_filter(filter_name)[0]}:{WEIGHT}"
    return column or None

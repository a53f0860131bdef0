"""Banks must not be made from images that a model is tested on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seggen_d2.foundation.errors import SegGenError

from .sampling import names_of

if TYPE_CHECKING:
    from seggen_d2.bank import Bank

_logger = logging.getLogger(__name__)


def check_leaks(
    banks: Sequence[Bank],
    test_records: Iterable[Mapping[str, Any]],
    test_name: str,
    train_records: Iterable[Mapping[str, Any]] = (),
) -> None:
    """No bank may hold a sample made from a test image: one whose ``image_id`` or file stem is a sample's source.

    Names that the training set has as well (both count from 1, say) cannot tell; they are warned of.

    Args:
        banks: looked up by name: 5,000 test images against 1.2 million samples take a fraction of a second.
        test_records: dataset dicts; ``file_name`` and ``image_id`` are read, where they are.
        test_name: the test set's name, for the error.
        train_records: those of the real training data, where they are at hand.

    Raises:
        SegGenError: a test image is a bank's source; some are named.
    """
    tests = [names_of(record) for record in test_records]
    shared = {name for record in train_records for name in names_of(record)}
    for bank in banks:
        sources = [source for names in tests if (source := _source(bank, sorted(names, key=shared.__contains__)))]
        leaked = [source for source in sources if source not in shared]
        if leaked:
            raise SegGenError(
                f"bank {bank.root} was made from {len(leaked)} images of the test set {test_name}",
                expected="no image of a test set",
                found=", ".join(leaked[:5]) + (", ..." if len(leaked) > 5 else ""),
                remedy="make the bank from the training set alone; where the two sets merely share file names, set "
                "SEGGEN.CHECK_SOURCES to False",
            )
        if sources:
            _logger.warning(
                "%d names of the test set %s are also the training set's: whether bank %s was made from test images "
                "cannot be checked",
                len(sources),
                test_name,
                bank.root,
            )


def _source(bank: Bank, names: Sequence[str]) -> str:
    """The first of ``names`` that is a source of the bank, or ``""``."""
    for name in names:
        rows = bank.variants(name)
        if len(rows) and bank.record(int(rows[0]))["source_id"] == name:
            return name
    return ""

"""The banks that are open in this process, by the names that ``bank://NAME/...`` calls them by."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol

from seggen_d2.foundation.errors import SegGenError

from .format import check_name

PREFIX = "bank://"


class OpenBank(Protocol):
    """What serves ``bank://NAME/...``.

    Attributes:
        name: NAME. root: its folder or URL. check: whether members are compared with their checksums.
    """

    name: str
    root: Path | str
    check: bool

    def read(self, key: str, kind: str, *, check: bool = False) -> bytes:
        """The member ``KEY.kind``."""

    def holds(self, key: str, kind: str) -> bool:
        """Whether there is a member ``KEY.kind``."""


_open_banks: dict[str, OpenBank] = {}
_lock = threading.Lock()


def register_bank(bank: OpenBank) -> None:
    """Make ``bank://NAME/...`` lead to ``bank``; an earlier opening of the same folder is replaced.

    Raises:
        SegGenError: another folder is open under the name.
    """
    check_name(bank.name, "the name of a bank")
    with _lock:
        other = _open_banks.get(bank.name)
        if other is not None and other.root != bank.root:
            raise SegGenError(
                f"two banks are called {bank.name}",
                expected=f"the one at {other.root}",
                found=f"one at {bank.root}",
                remedy='give the second another name: Bank(root, name="...")',
            )
        _open_banks[bank.name] = bank


def forget_bank(bank: OpenBank) -> None:
    """The inverse of :func:`register_bank`."""
    with _lock:
        if _open_banks.get(bank.name) is bank:
            del _open_banks[bank.name]


def free_name(wanted: str, root: os.PathLike | str, suffix: str) -> str:
    """``wanted``, or ``wanted-suffix`` where another folder than ``root`` is open under it."""
    other = _open_banks.get(wanted)
    return wanted if other is None or other.root == root else f"{wanted}-{suffix}"


def find_member(path: str) -> tuple[OpenBank, str, str]:
    """The bank, key and kind that a ``bank://`` path names.

    Raises:
        SegGenError: the bank is not open in this process.
    """
    name, _, member = path[len(PREFIX) :].partition("/")
    key, _, kind = member.rpartition(".")
    bank = _open_banks.get(name)
    if bank is None:
        raise SegGenError(
            f"{path} leads to a bank that is not open",
            expected="one of: " + (", ".join(_open_banks) or "none is open"),
            found=name,
            remedy="open it with Bank(root); in a spawned worker, hand it over with the dataset",
        )
    return bank, key, kind


def is_open(name: str) -> bool:
    """Whether a bank of that name is open in this process."""
    return name in _open_banks

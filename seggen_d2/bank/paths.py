"""``bank://NAME/KEY.jpg``: members of open banks as paths, for iopath and for this package's own readers."""

from __future__ import annotations

import functools
import io
import os
import threading
from typing import IO, TYPE_CHECKING, Any

from iopath.common.file_io import PathHandler, PathManager

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes

from .format import check_name

if TYPE_CHECKING:
    from .reader import Bank

PREFIX = "bank://"
_open_banks: dict[str, Bank] = {}
_lock = threading.Lock()


def register_bank(bank: Bank) -> None:
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


def forget_bank(bank: Bank) -> None:
    """The inverse of :func:`register_bank`."""
    with _lock:
        if _open_banks.get(bank.name) is bank:
            del _open_banks[bank.name]


def free_name(wanted: str, root: os.PathLike | str, suffix: str) -> str:
    """``wanted``, or ``wanted-suffix`` where another folder than ``root`` is open under it."""
    other = _open_banks.get(wanted)
    return wanted if other is None or other.root == root else f"{wanted}-{suffix}"


def open_member(path: str | os.PathLike) -> bytes:
    """The bytes of a file or of a ``bank://`` member; where its bank was opened with ``check``, as they were written.

    Raises:
        SegGenError: it is missing, empty, cut short or damaged, or its bank is not open in this process.
    """
    path = os.fspath(path)
    if not path.startswith(PREFIX):
        return read_bytes(path)
    bank, key, kind = _resolve(path)
    return bank.read(key, kind, check=bank.check)


def _resolve(path: str) -> tuple[Bank, str, str]:
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


class BankPathHandler(PathHandler):
    """Lets any iopath ``PathManager`` (fvcore's, Detectron2's) read members of the banks open in this process."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[Any]:
        self._check_kwargs(kwargs)
        if mode not in ("r", "rt", "rb"):
            raise SegGenError(
                f"{path} cannot be opened for writing",
                expected="mode r or rb",
                found=mode,
                remedy="banks are written by BankWriter alone",
            )
        stream = io.BytesIO(open_member(path))
        return stream if mode == "rb" else io.TextIOWrapper(stream, encoding="utf-8")

    def _isfile(self, path: str, **kwargs: Any) -> bool:
        self._check_kwargs(kwargs)
        bank, key, kind = _resolve(path)
        return bank.holds(key, kind)

    def _isdir(self, path: str, **kwargs: Any) -> bool:
        self._check_kwargs(kwargs)
        return path[len(PREFIX) :].rstrip("/") in _open_banks

    def _exists(self, path: str, **kwargs: Any) -> bool:
        return self._isdir(path, **kwargs) or self._isfile(path, **kwargs)

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        raise SegGenError(
            f"{path} is no file of its own",
            expected="PathManager.open(path, 'rb')",
            found="get_local_path",
            remedy="read it with open, or write the bank out as folders with export_folders",
        )


@functools.lru_cache(maxsize=1)
def bank_path_manager() -> PathManager:
    """A path manager that reads plain files and ``bank://`` paths; each process has its own."""
    manager = PathManager()
    manager.register_handler(BankPathHandler())
    return manager

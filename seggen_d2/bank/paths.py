"""``bank://NAME/KEY.jpg``: members of open banks as paths, for iopath and for this package's own readers."""

from __future__ import annotations

import functools
import io
import os
from typing import IO, Any

from iopath.common.file_io import PathHandler, PathManager

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes

from .open_banks import PREFIX, find_member, is_open


def open_member(path: str | os.PathLike) -> bytes:
    """The bytes of a file or of a ``bank://`` member; where its bank was opened with ``check``, as they were written.

    Raises:
        SegGenError: it is missing, empty, cut short or damaged, or its bank is not open in this process.
    """
    path = os.fspath(path)
    if not path.startswith(PREFIX):
        return read_bytes(path)
    bank, key, kind = find_member(path)
    return bank.read(key, kind, check=bank.check)


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
        bank, key, kind = find_member(path)
        return bank.holds(key, kind)

    def _isdir(self, path: str, **kwargs: Any) -> bool:
        self._check_kwargs(kwargs)
        return is_open(path[len(PREFIX) :].rstrip("/"))

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

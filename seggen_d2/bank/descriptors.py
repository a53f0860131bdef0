"""Open files of this process, read by position.

``os.pread`` moves no file offset, so forked workers and threads may share a descriptor.
"""

from __future__ import annotations

import functools
import os
import resource
from collections.abc import Callable


class Descriptor:
    """A file open for reading; closed when the last reader lets go of it, never under a reader's hands."""

    __slots__ = ("_number", "path")

    def __init__(self, path: str):
        self._number = -1
        self.path = path
        self._number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset``; fewer where the file ends or the system gives fewer."""
        return os.pread(self._number, length, offset)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # bound here: at exit `os` may be gone first
        if self._number >= 0:
            close(self._number)


def _room() -> int:
    """A quarter of the descriptors that the process may have: data loaders need the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(max(soft // 4, 16), 4096)


@functools.lru_cache(maxsize=_room())
def open_descriptor(path: str, version: str) -> Descriptor:
    """The descriptor of ``path``, from a cache of the least recently used ones.

    Args:
        path: the file.
        version: part of the cache's key: a file that was made again is opened again.
    """
    return Descriptor(path)

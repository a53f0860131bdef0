"""What a store of a bank's files can do, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol


class Facts(NamedTuple):
    """Of a file: its length in bytes, and when it was written in nanoseconds since 1970 (0 where a store tells no time)."""

    size: int
    time: int


class Reader(Protocol):
    """A file read by position."""

    def read(self, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset``; fewer where the file ends."""


class Store(Protocol):
    """A bank's files, by names with slashes such as ``shards/imgsyn-00000.tar``. A file is there whole or not at all."""

    root: Path | str

    @property
    def label(self) -> str:
        """The last part of the root."""

    def address(self, name: str) -> str:
        """The whole path or URL."""

    def facts(self, name: str) -> Facts | None:
        """None where there is no such file."""

    def listing(self, folder: str) -> dict[str, Facts]:
        """Of the files right in ``folder`` but hidden ones, by name, ascending; none where there is no such folder."""

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right in ``folder``, ascending."""

    def read(self, name: str, what: str = "file") -> bytes:
        """All of a small file.

        Raises:
            SegGenError: it is missing or empty; it is called ``what``.
        """

    def reader(self, address: str, version: str) -> Reader:
        """Of the file at ``address``; another ``version`` is another opening of it."""

    def open(self, name: str) -> BinaryIO:
        """For reading it in order."""

    def fetch(self, names: Sequence[str], fresh: bool = False) -> list[Path]:
        """Local files of the same bytes; ``fresh`` trusts no copy."""

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write or replace a file."""

    def create(self, name: str, data: bytes) -> None:
        """Write a file unless it is there already."""

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    def sweep(self, name: str) -> None:
        """Remove what killed writers of the file left, once it is finished."""

    def table_folders(self) -> tuple[Path, ...]:
        """Local folders that can hold its look-up table, the best first."""

"""Where a bank's files lie: a local folder, or an object store by an fsspec URL such as ``s3://bucket/banks/imgsyn``."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes, write_aside
from seggen_d2.foundation.seeds import fingerprint

from .descriptors import open_descriptor

CACHE_VARIABLE = "SEGGEN_CACHE"
_URL = re.compile(r"[A-Za-z0-9+.:_-]+://")
_FLATTENED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")  # what pathlib makes of a URL


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


def is_url(root: str | os.PathLike) -> bool:
    """Whether ``root`` is an fsspec URL, and no local path; ``file://`` URLs are local ones."""
    return isinstance(root, str) and bool(_URL.match(root)) and not root.startswith("file://")


def locate(root: str | os.PathLike) -> Path | str:
    """A bank's place, written in one way: the absolute path of a local one, a URL without slashes at its end.

    Raises:
        SegGenError: a URL was made a path on the way here, which joins its slashes.
    """
    if is_url(root):
        return str(root).rstrip("/")
    root = os.fspath(root).removeprefix("file://")
    if _FLATTENED.match(root):
        raise SegGenError(
            f"{root} is no folder, and no URL either",
            expected="a folder, or a URL with two slashes such as s3://bucket/bank",
            found="one slash: it may have been turned into a path",
            remedy="write the URL whole; in Python hand it over as text, not as a Path",
        )
    return Path(root).resolve()


def join(root: str | os.PathLike, name: str) -> str:
    """The place of bank ``name`` in the folder or at the URL ``root``."""
    return f"{str(root).rstrip('/')}/{name}" if is_url(root) else str(Path(root) / name)


def open_store(root: str | os.PathLike) -> Store:
    """The store at ``root``; nothing is read yet.

    Raises:
        SegGenError: what a URL needs is not installed, or it is of no kind that fsspec knows.
    """
    place = locate(root)
    if isinstance(place, Path):
        return LocalStore(root if isinstance(root, Path) else str(root).removeprefix("file://"))
    from .remote import RemoteStore  # fsspec stays out of processes that read local banks

    return RemoteStore(place)


def cache_folder() -> Path:
    """Where copies of remote index files and look-up tables go: SEGGEN_CACHE, or the system's temporary folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(tempfile.gettempdir()) / f"seggen_d2-{os.getuid()}"


def cache_of(root: Path | str) -> Path:
    """The part of :func:`cache_folder` that belongs to one bank."""
    return cache_folder() / fingerprint(os.fsencode(root))


class LocalStore:
    """A folder. Files are written aside, synced and renamed; members are read by ``os.pread``."""

    reader = staticmethod(open_descriptor)

    def __init__(self, root: str | os.PathLike):
        self.root = Path(root)

    @property
    def label(self) -> str:
        return self.root.name

    def address(self, name: str) -> str:
        return os.fspath(self.root / name)

    def facts(self, name: str) -> Facts | None:
        try:
            state = os.stat(os.path.join(self.root, name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Facts(state.st_size, state.st_mtime_ns)

    def listing(self, folder: str) -> dict[str, Facts]:
        names = sorted(entry.name for entry in self._entries(folder) if not entry.is_dir())
        found = {f"{folder}/{name}": self.facts(f"{folder}/{name}") for name in names}
        return {name: facts for name, facts in found.items() if facts}

    def folders(self, folder: str) -> list[str]:
        return sorted(entry.name for entry in self._entries(folder) if entry.is_dir())

    def _entries(self, folder: str) -> list[os.DirEntry]:
        try:
            with os.scandir(self.root / folder) as entries:
                return [entry for entry in entries if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, name: str, what: str = "file") -> bytes:
        return read_bytes(self.root / name, what)

    def open(self, name: str) -> BinaryIO:
        return open(self.root / name, "rb")

    def fetch(self, names: Sequence[str], fresh: bool = False) -> list[Path]:
        return [self.root / name for name in names]

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        with write_aside(self.root / name) as aside, open(aside, "wb") as file:
            file.writelines(blocks)

    def create(self, name: str, data: bytes) -> None:
        try:
            with write_aside(self.root / name, replace=False) as aside:
                aside.write_bytes(data)
        except FileNotFoundError:
            if not (self.root / name).exists():
                raise
            # another process created it and swept this one's temporary file away

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def sweep(self, name: str) -> None:
        """Temporary files of ``name`` last written before it was finished."""
        path, facts = self.root / name, self.facts(name)
        finished = facts.time if facts else 0  # gone: another writer of it is at work
        for aside in path.parent.glob(f".{path.name}.*.part"):
            try:
                if aside.stat().st_mtime_ns < finished:
                    aside.unlink()
            except FileNotFoundError:  # its writer was quicker
                continue

    def table_folders(self) -> tuple[Path, ...]:
        return self.root / ".cache", cache_of(self.root.resolve())

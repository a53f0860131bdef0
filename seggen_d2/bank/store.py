"""Where a bank's files lie: a local folder, or an object store by an fsspec URL such as ``s3://bucket/banks/imgsyn``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes, write_aside

from .cache import cache_of
from .descriptors import open_descriptor
from .store_protocol import Facts, Store

_URL = re.compile(r"[A-Za-z0-9+.:_-]+://")
_FLATTENED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")  # what pathlib makes of a URL


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

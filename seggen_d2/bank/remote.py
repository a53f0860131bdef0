"""Banks on object stores, through fsspec: whole objects are put, members read by range, index files copied once.

A shard is finished in a local temporary file and put as one object, which a store shows whole or not at all, and its
index is put before it: as on disk, a shard is finished when its index tells its archive's length. Credentials, the
endpoint and retries are the library's own matters (for S3: ``AWS_PROFILE``, ``AWS_ENDPOINT_URL`` and the like).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside

from .cache import cache_folder, cache_of
from .file_systems import facts_of, file_system, told
from .format import check_name
from .store_protocol import Facts

_AT_ONCE = 256  # files of one bulk download
_ABANDONED = 6 * 3600  # seconds after which a file on its way is that of a killed process
_FEW = 4  # files whose facts are asked for one by one; for more, the folder is listed
_AHEAD = 32 * 1024  # bytes asked for beyond a member's end: its mask and its JSON come along, and cost no request
_abandoned: list[Any] = []  # file systems of a parent process: closing one here would reach into the parent's loop


class RemoteStore:
    """The objects below a URL.

    Every process has a file system of its own, made when it is first needed: fsspec's run their connections in a thread,
    which a forked worker does not inherit. Pickling hands the URL over.

    Args:
        root: the URL, without a slash at its end.

    Raises:
        SegGenError: the store's package is not installed, or the URL is of an unknown kind.
    """

    def __init__(self, root: str):
        self.root = root
        self._files: Any = None
        self._process = 0
        self.last = threading.local()  # what each thread read last
        self.connected()

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStore, (self.root,)

    def connected(self) -> Any:
        """This process's fsspec file system."""
        if self._process != os.getpid():
            if self._files is not None:
                _abandoned.append(self._files)
            self._files, self._process = file_system(self.root), os.getpid()
        return self._files

    @property
    def label(self) -> str:
        return self.root.rpartition("/")[2]

    def address(self, name: str) -> str:
        return f"{self.root}/{name}"

    def facts(self, name: str) -> Facts | None:
        try:
            with told("looked up", self.address(name)):
                info = self.connected().info(self.address(name))
        except FileNotFoundError:
            return None
        return facts_of(info) if info["type"] == "file" else None

    def listing(self, folder: str) -> dict[str, Facts]:
        return {f"{folder}/{name}": facts_of(info) for name, info in self._entries(folder) if info["type"] == "file"}

    def folders(self, folder: str) -> list[str]:
        return [name for name, info in self._entries(folder) if info["type"] == "directory"]

    def _entries(self, folder: str) -> list[tuple[str, dict[str, Any]]]:
        """``(name, fsspec's facts)`` of what is right in ``folder``, ascending."""
        try:
            with told("listed", self.address(folder)):
                found = self.connected().ls(self.address(folder), detail=True)
        except FileNotFoundError:
            return []
        named = [(info["name"].rstrip("/").rpartition("/")[2], info) for info in found]
        return sorted(((name, info) for name, info in named if name and not name.startswith(".")), key=lambda pair: pair[0])

    def read(self, name: str, what: str = "file") -> bytes:
        try:
            with told("read", self.address(name)):
                data = self.connected().cat_file(self.address(name))
        except FileNotFoundError as error:
            raise SegGenError(f"{what} {self.address(name)} does not exist", expected="a readable object",
                              found=f"nothing of that name: {error}", remedy="check the URL and the endpoint") from error
        if not data:
            raise SegGenError(f"{what} {self.address(name)} is empty", expected="an object with content", found="0 bytes",
                              remedy="make it again")
        return data

    def reader(self, address: str, version: str) -> _Range:
        return _Range(self, address, version)

    def open(self, name: str) -> BinaryIO:
        with told("opened", self.address(name)):
            return self.connected().open(self.address(name), "rb", cache_type="readahead")

    def fetch(self, names: Sequence[str], fresh: bool = False) -> list[Path]:
        """Copies in the bank's cache; one whose size or time differs from the object's is fetched anew."""
        facts = self._facts_of(names)
        copies = {name: self._copy(name) for name in names}
        stale = [name for name, copy in copies.items() if fresh or facts[name] != _copy_facts(copy)]
        with tqdm(total=len(stale), desc=f"index of {self.label}", unit="file", mininterval=1, disable=len(stale) < _AT_ONCE) as bar:
            for start in range(0, len(stale), _AT_ONCE):
                part = stale[start : start + _AT_ONCE]
                self._download([(name, copies[name], facts[name]) for name in part])
                bar.update(len(part))
        return list(copies.values())

    def _copy(self, name: str) -> Path:
        return cache_of(self.root) / _safe(name)

    def _facts_of(self, names: Sequence[str]) -> dict[str, Facts | None]:
        if len(names) <= _FEW:
            return {name: self.facts(name) for name in names}
        listed: dict[str, Facts] = {}
        for folder in {name.rpartition("/")[0] for name in names}:
            listed |= self.listing(folder)
        return {name: listed.get(name) for name in names}

    def _download(self, parts: Sequence[tuple[str, Path, Facts | None]]) -> None:
        """Copy objects side by side; copies of those that are gone are removed, so that nobody reads an old one."""
        there = [(name, copy, facts) for name, copy, facts in parts if facts]
        for _, copy, facts in parts:
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not facts:
                copy.unlink(missing_ok=True)
        asides = [copy.with_name(f".{copy.name}.{os.getpid()}-{threading.get_ident()}.part") for _, copy, _ in there]
        try:
            with told("fetched", self.root):
                self.connected().get([self.address(name) for name, _, _ in there], [os.fspath(aside) for aside in asides])
            for aside, (_, copy, facts) in zip(asides, there, strict=True):
                os.utime(aside, ns=(facts.time, facts.time))
                os.replace(aside, copy)
        finally:
            for aside in asides:
                aside.unlink(missing_ok=True)

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        self._copy(name).unlink(missing_ok=True)  # the next one may be of the same size and second
        held = cache_folder() / "outgoing" / f"{cache_of(self.root).name}-{os.getpid()}-{threading.get_ident()}"
        try:
            with write_aside(held) as aside, open(aside, "wb") as file:
                file.writelines(blocks)
            length = held.stat().st_size
            with told("written", self.address(name), missing=True):
                self.connected().put_file(os.fspath(held), self.address(name))
        finally:
            held.unlink(missing_ok=True)
        found = self.facts(name)
        if found is None or found.size != length:
            raise SegGenError(f"{self.address(name)} did not arrive whole", expected=f"{length} bytes",
                              found=f"{found.size} bytes" if found else "no object", remedy="give the same command again")

    def create(self, name: str, data: bytes) -> None:
        try:
            self.connected().pipe_file(self.address(name), data, mode="create")
        except FileExistsError:
            return
        except Exception:  # a store that cannot tell whether it is there, one that faltered, or one that cannot be written at all
            if self.facts(name):  # never over another's
                return
            with told("written", self.address(name), missing=True):
                self.connected().pipe_file(self.address(name), data)

    def remove(self, name: str) -> None:
        try:
            with told("removed", self.address(name)):
                self.connected().rm_file(self.address(name))
        except FileNotFoundError:
            return

    def sweep(self, name: str) -> None:
        """Local temporary files of killed writers.

        What a store keeps of an object that was put in parts and not finished is no object: a rule of the store removes it.
        """
        for held in (cache_folder() / "outgoing").glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - held.stat().st_mtime > _ABANDONED:
                    held.unlink()

    def table_folders(self) -> tuple[Path, ...]:
        return (cache_of(self.root),)


class _Range:
    """An object read by range, and a little further; what lies in the range read last is not asked for again."""

    def __init__(self, store: RemoteStore, address: str, version: str):
        self.store, self.address, self.version = store, address, version

    def read(self, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset``; fewer where the object ends.

        Raises:
            OSError: there is no such object.
            SegGenError: the store cannot be read.
        """
        where, start, data = getattr(self.store.last, "part", (None, 0, b""))
        if where != (self.address, self.version) or not start <= offset <= offset + length <= start + len(data):
            start, data = offset, self._get(length + _AHEAD, offset) if length else b""
            self.store.last.part = (self.address, self.version), start, data
        return data[offset - start : offset - start + length]

    def _get(self, length: int, offset: int) -> bytes:
        try:
            with told("read", self.address):
                return self.store.connected().cat_file(self.address, start=offset, end=offset + length)
        except FileNotFoundError as error:
            raise OSError(f"it does not exist: {error}") from error


def _copy_facts(path: Path) -> Facts | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return Facts(state.st_size, state.st_mtime_ns)


def _safe(name: str) -> Path:
    """A store's name as a path below the cache: its parts are plain names, so it never leads out of there.

    Raises:
        SegGenError: it is none of a bank's.
    """
    *folders, file = name.split("/")
    for part in (*folders, *file.split(".")):
        check_name(part, f"part of {name}")
    return Path(*folders, file)

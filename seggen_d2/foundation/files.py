"""Files that exist whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import SegGenError


@contextmanager
def write_aside(path: str | os.PathLike, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success fsync it and rename it into place.

    If the block raises, the temporary file is removed and ``path`` is as it was before.

    Args:
        path: the file to write.
        replace: False leaves a ``path`` that is there by then as it is; of two processes, one is first.

    Raises:
        SegGenError: the disk is full (nothing already written is lost).
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        with full_disk_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield aside
            with open(aside, "rb+") as file:
                os.fsync(file.fileno())
            _place(aside, path, replace)
            _sync_directory(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def full_disk_told(path: str | os.PathLike) -> Iterator[None]:
    """While ``path`` is written a full disk is told as bad input is, with what to do.

    Raises:
        SegGenError: the disk is full, or the user's share of it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SegGenError(f"no space left while writing {path}", found=str(error),
                              remedy="free some space and give the same command again; finished files are kept") from error
        raise


def check_space(folder: str | os.PathLike, needed: int, what: str) -> None:
    """There is room for ``needed`` more bytes where ``folder`` is or will be; ``what`` names what is to be written.

    Raises:
        SegGenError: there is not.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise SegGenError(f"there is no room for {what} in {folder}", expected=f"{needed / 1e9:.2f} GB free",
                          found=f"{free / 1e9:.2f} GB", remedy="free some space, or choose a folder on another disk")


def _place(aside: Path, path: Path, replace: bool) -> None:
    if not replace:
        try:
            os.link(aside, path)
            return
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if path.exists():
                return
    os.replace(aside, path)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with write_aside(path) as aside:
        aside.write_bytes(data)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON with a stable key order, atomically."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Indented JSON with a stable key order, UTF-8."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(path: str | os.PathLike, what: str = "file") -> Any:
    """Read JSON.

    Raises:
        SegGenError: the file is missing, empty or not JSON.
    """
    return parse_json(read_bytes(path, what), path, what)


def parse_json(data: bytes, path: str | os.PathLike, what: str = "file") -> Any:
    """Parse ``data``, which was read from ``path``; errors name the path."""
    try:
        return json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SegGenError(f"{what} {path} is not JSON", expected="a UTF-8 JSON document", found=str(error),
                          remedy="it may be truncated: make it again") from error


def read_bytes(path: str | os.PathLike, what: str = "file") -> bytes:
    """Read a file that must exist and not be empty.

    Raises:
        SegGenError: it is missing, a folder, or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise SegGenError(f"{what} {path} does not exist", expected="a readable file",
                          found="a folder" if path.is_dir() else f"nothing (in {path.parent}: {_neighbours(path)})",
                          remedy="check the path")
    data = path.read_bytes()
    if not data:
        raise SegGenError(f"{what} {path} is empty", expected="a file with content", found="0 bytes", remedy="make it again")
    return data


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return "no such folder"
    names = sorted(p.name for p in path.parent.iterdir() if not p.name.startswith("."))
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "an empty folder"

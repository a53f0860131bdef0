"""Folders that should hold a dataset: what was expected there, what was found, with counts."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from seggen_d2.foundation.errors import SegGenError

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_ROWS = 8


def need_folder(path: str | os.PathLike, what: str, expected: str) -> Path:
    """A folder that must be there.

    Args:
        path: where. what: what it is, in a word. expected: what belongs there.

    Raises:
        SegGenError: it is not: nothing is there, or an archive, whose content is counted, or another file.
    """
    path = Path(path)
    if path.is_dir():
        return path
    if not path.exists():
        raise SegGenError(f"{what} {path} does not exist", expected=expected, found="nothing", remedy="check the path")
    if path.suffix.lower() in _ARCHIVES:
        raise SegGenError(f"{what} {path} is an archive, not a folder", expected=expected, found=archive_content(path),
                          remedy="unpack it, compare the counts with what it should hold, and give the folder")
    raise SegGenError(f"{what} {path} is a file", expected=expected, found=f"{path.stat().st_size:,} bytes", remedy="give the folder")


def archive_content(path: Path) -> str:
    """The files in an archive by folder and ending; nothing is unpacked."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return content(info.filename for info in archive.infolist() if not info.is_dir())
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                return content(member.name for member in archive if member.isfile())
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        return f"a damaged archive: {error}; download it again"
    return f"no archive that can be read ({path.stat().st_size:,} bytes): it may be cut short, or a web page that was saved under this name"


def folder_content(folder: Path) -> str:
    """The files below a folder by folder and ending."""
    files = (os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names if name[0] != ".")
    return content(Path(name).as_posix() for name in files)


def content(names: Iterable[str]) -> str:
    """``20,210 .jpg in images/training; ...``, the most frequent first."""
    counts = Counter((str(PurePosixPath(name).parent), PurePosixPath(name).suffix.lower()) for name in names)
    rows = [f"{count:,} {ending or 'files without ending'} in {folder}" for (folder, ending), count in counts.most_common(_ROWS)]
    more = sum(counts.values()) - sum(count for _, count in counts.most_common(_ROWS))
    return ("; ".join(rows) or "no files") + (f"; {more:,} more files" if more else "")


def need_counts(what: str, expected: Mapping[str, int], found: Mapping[str, int], allowed: bool) -> list[str]:
    """Counts that must be as known; the rows that differ.

    Args:
        what: the dataset.
        expected: ``{"training photos": 20210, ...}``. found: likewise.
        allowed: other counts are the user's will: rows are given back, not raised.

    Raises:
        SegGenError: some differ, all of them listed.
    """
    rows = [f"{name}: {count:,} expected, {found.get(name, 0):,} found" for name, count in expected.items() if found.get(name, 0) != count]
    if rows and not allowed:
        raise SegGenError(f"{what} is not whole, or another release", expected="; ".join(f"{count:,} {name}" for name, count in expected.items()),
                          found="; ".join(f"{found.get(name, 0):,} {name}" for name in expected),
                          remedy="unpack it again; a part of it on purpose: --allow-counts")
    return rows

"""Derives the look-up table from the index, once for all processes, and again whenever the bank has changed.

The table lies in the bank's own ``.cache/``, or in the system's temporary folder where the bank can't be written. Its
folder's name is the fingerprint of the shards (names, sizes, and when each index was written), so a table is never
wrong, only missing; it is built aside and renamed, so two processes may build at once.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_json
from seggen_d2.foundation.seeds import fingerprint

from .format import index_path, tar_path
from .table import META, NAMES, ROW, Row, Table, name_hash

_logger = logging.getLogger(__name__)
_ABANDONED = 3600  # seconds after which an unfinished table is that of a killed process


def list_shards(root: Path) -> list[str]:
    """Names of the shards that have an index, ascending."""
    return sorted(path.stem for path in (root / "index").glob("[!.]*.parquet"))


def open_table(root: Path, shards: Sequence[str]) -> Table:
    """The look-up table of ``shards``; built first where there is none, or a damaged one.

    Raises:
        SegGenError: it can be written nowhere, or two samples share a key.
    """
    name = "table-" + _state(root, shards)
    candidates = [root / ".cache" / name, _temporary_folder(root) / name]
    for folder in candidates:
        try:
            return Table(folder)
        except FileNotFoundError:
            continue
        except SegGenError as error:
            _logger.warning("%s; it is built again", error.problem)
            shutil.rmtree(folder, ignore_errors=True)
    problems = []
    for folder in candidates:
        try:
            _build(root, shards, folder)
            return Table(folder)
        except OSError as error:
            problems.append(f"{folder.parent}: {error}")
    raise SegGenError(
        f"the look-up table of bank {root} can be written nowhere",
        found="; ".join(problems),
        remedy="make one of the two folders writable, or free some space there",
    )


def _state(root: Path, shards: Sequence[str]) -> str:
    """16 hexadecimal digits over what the table depends on."""
    facts = []
    for shard in shards:
        index, tar = _stat(index_path(root, shard)), _stat(tar_path(root, shard))
        facts.append((shard, index and (index.st_size, index.st_mtime_ns), tar and tar.st_size))
    return fingerprint(repr((ROW.format, facts)).encode())


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _temporary_folder(root: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"seggen_d2-{os.getuid()}" / fingerprint(os.fsencode(root.resolve()))


def _build(root: Path, shards: Sequence[str], folder: Path) -> None:
    from .index import shard_problem  # pyarrow stays out of processes that only read

    problems = {shard: shard_problem(root, shard) for shard in shards}
    whole = [shard for shard in shards if not problems[shard]]
    with _folder_aside(folder) as aside:
        hashes = _write_rows(root, whole, aside)
        for name in NAMES:
            order = np.argsort(hashes[name], kind="stable").astype(np.uint32)
            np.save(aside / f"{name}_rows.npy", order)
            np.save(aside / f"{name}.npy", hashes[name][order])
        lengths = {path.name: path.stat().st_size for path in aside.iterdir()}
        write_json(
            aside / META, {"shards": whole, "bytes": lengths, "left_out": {s: p for s, p in problems.items() if p}}
        )
        _check_unique(root, Table(aside))
    _remove_others(folder)


def _write_rows(root: Path, shards: Sequence[str], folder: Path) -> dict[str, np.ndarray]:
    """Write rows and texts; return the hash of each row's key and of its source id, ``(S,)`` uint64 each."""
    from .index import index_numbers_and_texts

    hashes: dict[str, list[np.ndarray]] = {name: [np.empty(0, "<u8")] for name in NAMES}
    column = {name: place for place, name in enumerate(Row._fields)}
    text_end = 0
    with open(folder / "rows.bin", "wb") as row_file, open(folder / "texts.bin", "wb") as text_file:
        for place, shard in enumerate(shards):
            numbers, texts = index_numbers_and_texts(index_path(root, shard), Row._fields)
            ends = text_end + np.cumsum([0, *map(len, texts)])
            keys, sources = (_hash([text.split(b"\0", 2)[part] for text in texts]) for part in (0, 1))
            for name, digests in zip(NAMES, (keys, sources), strict=True):
                hashes[name].append(digests[:, 0])
            numbers[:, column["shard"]], numbers[:, column["check"]] = place, keys[:, 1].view("<i8")
            numbers[:, column["text"]], numbers[:, column["text_length"]] = ends[:-1], np.diff(ends)
            text_end = int(ends[-1])
            row_file.write(numbers.astype("<i8").tobytes())
            text_file.writelines(texts)
    return {name: np.concatenate(parts) for name, parts in hashes.items()}


def _hash(names: Sequence[bytes]) -> np.ndarray:
    """``(S, 2)`` uint64: both halves of each name's hash."""
    return np.frombuffer(b"".join(map(name_hash, names)), "<u8").reshape(-1, 2)


def _check_unique(root: Path, table: Table) -> None:
    pair = table.repeated_key()
    if pair:
        shards = sorted({table.shards[row.shard] for row in pair})
        raise SegGenError(
            f"two samples of bank {root} have the key {table.texts(pair[0])[0]}",
            expected="keys that differ",
            found=f"shards {', '.join(shards)}",
            remedy="remove the shard that does not belong, and its index",
        )


@contextmanager
def _folder_aside(folder: Path) -> Iterator[Path]:
    """A folder to fill; afterwards renamed to ``folder``, unless another process was first."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    aside.mkdir()
    try:
        yield aside
        try:
            os.rename(aside, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_others(folder: Path) -> None:
    """Tables of the bank as it was before, and what killed processes left. Open ones stay readable to their owners."""
    for other in folder.parent.iterdir():
        abandoned = other.suffix == ".part" and time.time() - _last_written(other) > _ABANDONED
        if abandoned or (other.name.startswith("table-") and other != folder):
            shutil.rmtree(other, ignore_errors=True)


def _last_written(folder: Path) -> float:
    state = _stat(folder)
    return state.st_mtime if state else time.time()

"""Derives the look-up table from the index, once for all processes, and again whenever the bank has changed.

The table lies in the bank's own ``.cache/``, or in the cache folder (``cache.cache_folder``) where the bank can't be
written or is on an object store, whose index files are copied there once. Its folder's name is the fingerprint of the
shards (names, sizes, and when each index was written), so a table is never wrong, only missing; it is built aside and
renamed, so two processes may build at once.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_json
from seggen_d2.foundation.seeds import fingerprint

from .cache import CACHE_VARIABLE
from .format import NAME, index_name, tar_name
from .shards import Shards
from .store_protocol import Store
from .table import META, NAMES, ROW, Row, Table, name_hash

_logger = logging.getLogger(__name__)
_KEY = re.compile(rf"(?:{NAME.pattern})\0".encode())  # a row's texts begin with its key
_ABANDONED = 3600  # seconds after which an unfinished table is that of a killed process


def open_table(store: Store, shards: Sequence[str] | None = None) -> Table:
    """The look-up table of ``shards``, all by default; built first where there is none, or a damaged one.

    Raises:
        SegGenError: it can be written nowhere, two samples share a key, or a key is no name.
    """
    found = Shards(store)
    shards = found.names if shards is None else shards
    name = "table-" + _state(found, shards)
    candidates = [folder / name for folder in store.table_folders()]
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
            _build(found, shards, folder)
            return Table(folder)
        except OSError as error:
            problems.append(f"{folder.parent}: {error}")
    raise SegGenError(
        f"the look-up table of bank {store.root} can be written nowhere",
        found="; ".join(problems),
        remedy=f"make one of these folders writable, free some space there, or name another in {CACHE_VARIABLE}",
    )


def _state(found: Shards, shards: Sequence[str]) -> str:
    """16 hexadecimal digits over what the table depends on."""
    facts = []
    for shard in shards:
        index, tar = found.facts.get(index_name(shard)), found.facts.get(tar_name(shard))
        facts.append((shard, index and (index.size, index.time), tar and tar.size))
    return fingerprint(repr((ROW.format, facts)).encode())


def _build(found: Shards, shards: Sequence[str], folder: Path) -> None:
    problems = found.problems(shards)
    whole = [shard for shard in shards if not problems[shard]]
    with folder_aside(folder) as aside:
        hashes = _write_rows(found.store, whole, aside)
        for name in NAMES:
            order = np.argsort(hashes[name], kind="stable").astype(np.uint32)
            np.save(aside / f"{name}_rows.npy", order)
            np.save(aside / f"{name}.npy", hashes[name][order])
        lengths = {path.name: path.stat().st_size for path in aside.iterdir()}
        write_json(
            aside / META, {"shards": whole, "bytes": lengths, "left_out": {s: p for s, p in problems.items() if p}}
        )
        _check_unique(found.store, Table(aside))
    _remove_others(folder)


def _write_rows(store: Store, shards: Sequence[str], folder: Path) -> dict[str, np.ndarray]:
    """Write rows and texts; return the hash of each row's key and of its source id, ``(S,)`` uint64 each."""
    from .index import index_numbers_and_texts

    hashes: dict[str, list[np.ndarray]] = {name: [np.empty(0, "<u8")] for name in NAMES}
    column = {name: place for place, name in enumerate(Row._fields)}
    text_end = 0
    with open(folder / "rows.bin", "wb") as row_file, open(folder / "texts.bin", "wb") as text_file:
        for place, index in enumerate(store.fetch([index_name(shard) for shard in shards])):
            numbers, texts = index_numbers_and_texts(index, Row._fields)
            _check_keys(texts, store, shards[place])
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


def _check_keys(texts: Sequence[bytes], store: Store, shard: str) -> None:
    """Keys are plain names: exports and ``bank://`` paths are made of them, and none may lead out of its folder."""
    for text in texts:
        if not _KEY.match(text):
            raise SegGenError(
                f"the index of shard {shard} of bank {store.root} holds a key that is no name",
                expected="1 to 90 letters, digits, '-' or '_'",
                found=repr(text.split(b"\0", 1)[0][:80].decode(errors="replace")),
                remedy="remove the shard and its index: no version of this package wrote them so",
            )


def _check_unique(store: Store, table: Table) -> None:
    pair = table.repeated_key()
    if pair:
        shards = sorted({table.shards[row.shard] for row in pair})
        raise SegGenError(
            f"two samples of bank {store.root} have the key {table.texts(pair[0])[0]}",
            expected="keys that differ",
            found=f"shards {', '.join(shards)}",
            remedy="remove the shard that does not belong, and its index",
        )


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
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
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return time.time()

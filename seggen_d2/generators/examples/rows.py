"""Rows of bytes on disk: flat shards read by ``os.pread``, each whole or not at all, so that memory stays flat at any count.

A store is a folder named by what it was made from, so that other input makes another store beside it, and nothing stale is
ever read::

    KIND-FINGERPRINT/
        store.json              what it was made from
        00000.rows              the rows of one shard, end to end
        00000.parquet           where each begins, its length and CRC-32; written before the rows, so that rows are complete
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_aside, write_json
from seggen_d2.foundation.seeds import fingerprint

log = logging.getLogger(__name__)
PER_SHARD = 128
_INDEX = {"offset": np.int64, "length": np.int64, "crc32": np.int64}


@dataclass(frozen=True)
class RowStore:
    """The shards of ``count`` rows in ``folder``; opened with :func:`open_store`."""

    folder: Path
    count: int

    @property
    def shards(self) -> int:
        return -(-self.count // PER_SHARD)

    def rows_of(self, shard: int) -> range:
        """The numbers of a shard's rows."""
        return range(shard * PER_SHARD, min((shard + 1) * PER_SHARD, self.count))

    def path(self, shard: int) -> Path:
        """Where the rows of a shard lie."""
        return self.folder / f"{shard:05d}.rows"

    def missing(self) -> list[int]:
        """Shards that are not there, or not of the length that their index tells (those are logged, and made anew)."""
        lacking = [shard for shard in range(self.shards) if not self._is_whole(shard)]
        for shard in lacking:
            if self.path(shard).is_file():
                log.warning("%s does not fit its index; it is made anew", self.path(shard))
        return lacking

    def share_missing(self) -> float:
        """The share of shards that must still be made, 0 to 1."""
        return len(self.missing()) / max(1, self.shards)

    def _is_whole(self, shard: int) -> bool:
        path = self.path(shard)
        if not path.is_file() or not path.with_suffix(".parquet").is_file():
            return False
        index = _read_index(path)
        return index is not None and len(index["offset"]) == len(self.rows_of(shard)) and int(index["length"].sum()) == path.stat().st_size

    def write(self, shard: int, rows: Sequence[bytes]) -> None:
        """Write a shard.

        Raises:
            SegGenError: the disk is full; the shards written before are kept.
        """
        assert len(rows) == len(self.rows_of(shard)), "a shard is written whole"
        lengths = np.array([len(row) for row in rows], np.int64)
        columns = {"offset": np.cumsum(lengths) - lengths, "length": lengths, "crc32": np.array([zlib.crc32(row) for row in rows], np.int64)}
        self.path(shard).unlink(missing_ok=True)
        with write_aside(self.path(shard).with_suffix(".parquet")) as aside:
            pq.write_table(pa.table(columns), aside)
        with write_aside(self.path(shard)) as aside, open(aside, "wb") as file:
            file.writelines(rows)

    def wait(self, seconds: float = 5.0) -> None:
        """Return once all shards are there and whole, made by this process or by others that see the folder."""
        lacking, turn = list(range(self.shards)), 0
        while lacking := [shard for shard in lacking if not self._is_whole(shard)]:
            if turn % 12 == 1:
                log.info("%s: waiting for %d of %d shards that other processes make", self.folder.name, len(lacking), self.shards)
            time.sleep(seconds if turn else 0.2)
            turn += 1

    def open(self) -> Rows:
        """Its rows, for reading.

        Raises:
            SegGenError: a shard is missing or does not fit its index.
        """
        return Rows(self)


def open_store(parent: Path, kind: str, facts: dict[str, Any], count: int) -> RowStore:
    """The store of ``count`` rows made from ``facts`` under ``parent``; begun where it is not there.

    Args:
        parent: the cache's folder.
        kind: a word for what the rows are; the folder's name begins with it.
        facts: JSON values; each key names a part of what the rows are made from.

    Stores of the kind that were made from something else stay as they are; a warning tells what differs.
    """
    facts = json.loads(json.dumps({**facts, "rows": count}))
    folder = parent / f"{kind}-{fingerprint(json.dumps(facts, sort_keys=True).encode())}"
    if not (folder / "store.json").is_file():
        _tell_others(parent, kind, facts)
        write_json(folder / "store.json", facts)
    return RowStore(folder, count)


def _tell_others(parent: Path, kind: str, facts: dict[str, Any]) -> None:
    for path in sorted(parent.glob(f"{kind}-*/store.json")):
        before = read_json(path, "cache")
        changed = ", ".join(key for key in sorted({*facts, *before}) if facts.get(key) != before.get(key))
        log.warning("cache %s was made from other input (%s): it is left as it is, and another one is made beside it. "
                    "If nothing else uses it, remove it to free its space", path.parent, changed)


class Rows:
    """The rows of a whole store: an index of some 20 bytes a row in memory, the rows on disk."""

    def __init__(self, store: RowStore):
        parts = [_read_index(store.path(shard)) for shard in range(store.shards)]
        bad = [str(store.path(n)) for n, part in enumerate(parts) if part is None or not store.path(n).is_file()]
        if bad:
            raise SegGenError(f"cache {store.folder} lacks {len(bad)} of {store.shards} shards", found=", ".join(bad[:3]),
                              remedy="give the same command again: it makes what is missing")
        self.store = store
        self._index = {name: np.concatenate([part[name] for part in parts]) for name in _INDEX}

    def __len__(self) -> int:
        return self.store.count

    def __getitem__(self, number: int) -> bytes:
        """One row.

        Raises:
            SegGenError: the disk gave other bytes than were written.
        """
        path, (offset, length, crc32) = self._where(number)
        data = _pread(path, length, offset)
        if zlib.crc32(data) != crc32:
            raise SegGenError(f"cache {path} is damaged at row {number % PER_SHARD}", expected=f"{length} bytes with checksum {crc32:08x}",
                              found=f"{len(data)} bytes with checksum {zlib.crc32(data):08x}",
                              remedy="remove this file and give the same command again: it is made anew")
        return data

    def end(self, number: int, count: int) -> bytes:
        """The last ``count`` bytes of one row, without a look at the rest."""
        path, (offset, length, _) = self._where(number)
        return _pread(path, count, offset + length - count)

    def _where(self, number: int) -> tuple[Path, tuple[int, int, int]]:
        return self.store.path(number // PER_SHARD), tuple(int(self._index[name][number]) for name in _INDEX)


def _pread(path: Path, length: int, offset: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)  # opened anew: shared descriptors do not survive forks, many do not fit
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SegGenError(f"cache {path} cannot be read", found=str(error), remedy="give the same command again: it makes what is missing") from error


def _read_index(path: Path) -> dict[str, np.ndarray] | None:
    try:
        table = pq.read_table(path.with_suffix(".parquet"), columns=list(_INDEX), memory_map=False)
    except (OSError, pa.ArrowInvalid):
        return None
    return {name: table[name].to_numpy().astype(dtype) for name, dtype in _INDEX.items()}


def check_space(folder: Path, needed: int, what: str) -> None:
    """Tell how much a cache takes, and refuse what does not fit.

    Args:
        folder: where it goes; it need not exist.
        needed: bytes still to be written.
        what: what they hold, for the message.

    Raises:
        SegGenError: the disk has less free.
    """
    place = next(p for p in (folder, *folder.resolve().parents) if p.is_dir())
    free = shutil.disk_usage(place).free
    log.info("cache in %s: %s still to write, %s free", folder, _size(needed), _size(free))
    if needed > free:
        raise SegGenError(f"{folder} has no room for {what}", expected=f"{_size(needed)} free", found=_size(free),
                          remedy="name a folder on a larger disk, store float16, or leave the mirror images out (cache: folder, precision, mirrored)")


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.2f} MB"

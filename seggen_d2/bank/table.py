"""The look-up table: where each sample lies, derived from the index and read in place.

A bank of 1.2 million samples opens in milliseconds and costs a process a few megabytes, because nothing is loaded:
sorted name hashes are memory-mapped and searched, and one row is read by position (``os.pread``). Files of a table:

    rows.bin      16 int64 a sample, the fields of ``Row``
    texts.bin     key, source_id, strategy and caption of each sample, joined by NUL
    keys.npy      (S,) uint64 hashes of the keys, ascending; keys_rows.npy: their row numbers
    sources.npy   (S,) uint64 hashes of the source ids, ascending; sources_rows.npy: their row numbers
    table.json    the shards in the order of their rows, those left out and why, lengths of the files above
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json

from .descriptors import Descriptor
from .format import KINDS


class Row(NamedTuple):
    """A sample's place. ``shard`` counts the table's shards, ``check`` is half the key's hash, the rest are bytes."""

    shard: int
    height: int
    width: int
    seed: int
    check: int
    text: int
    text_length: int
    jpg_offset: int
    jpg_length: int
    jpg_crc32: int
    png_offset: int
    png_length: int
    png_crc32: int
    json_offset: int
    json_length: int
    json_crc32: int

    def member(self, kind: str) -> tuple[int, int, int]:
        """Offset, length and CRC-32 of the member ``jpg``, ``png`` or ``json``."""
        start = _MEMBER_FIELDS[kind]
        return self[start : start + 3]


ROW = struct.Struct(f"<{len(Row._fields)}q")
_MEMBER_FIELDS = {kind: Row._fields.index(f"{kind}_offset") for kind in KINDS}
META = "table.json"
NAMES = ("keys", "sources")


def name_hash(name: bytes) -> bytes:
    """16 bytes of BLAKE2b: the first half is searched for, the second, kept in the row, tells the key for certain."""
    return hashlib.blake2b(name, digest_size=16).digest()


class Names:
    """From a name to its rows, by binary search over memory-mapped hashes (the first half of :func:`name_hash`)."""

    def __init__(self, folder: Path, what: str):
        self.hashes, self.rows = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
            for name in (what, f"{what}_rows")
        )

    def find(self, digest: bytes) -> np.ndarray:
        """``(M,)`` uint32 row numbers, ascending; M is 0 for an unknown name."""
        value = np.frombuffer(digest, "<u8", 1)
        start = self.hashes.searchsorted(value)[0]
        if start == len(self.hashes) or self.hashes[start] != value[0]:
            return self.rows[:0]
        stop = start + 1
        if stop < len(self.hashes) and self.hashes[stop] == value[0]:
            stop = self.hashes.searchsorted(value, "right")[0]
        return self.rows[start:stop]

    def repeated(self) -> list[int]:
        """Row numbers that share a hash with the row before them in the order of the hashes."""
        return self.rows[1:][self.hashes[1:] == self.hashes[:-1]].tolist()


class Table:
    """An open look-up table.

    Raises:
        FileNotFoundError: there is none in ``folder``.
        SegGenError: it is damaged.
    """

    def __init__(self, folder: Path):
        if not (folder / META).exists():
            raise FileNotFoundError(folder / META)
        self.folder = folder
        meta = read_json(folder / META, "look-up table")
        for name, length in meta["bytes"].items():
            if (folder / name).stat().st_size != length:
                raise SegGenError(f"look-up table {folder / name} is cut short", expected=f"{length} bytes")
        self.shards: tuple[str, ...] = tuple(meta["shards"])
        self.left_out: dict[str, str] = meta["left_out"]  # shards that are not whole, and why
        self._count: int = meta["bytes"]["rows.bin"] // ROW.size
        self._rows, self._texts = (Descriptor(os.fspath(folder / name)) for name in ("rows.bin", "texts.bin"))
        try:
            self._keys, self._sources = (Names(folder, name) for name in NAMES)
        except ValueError as error:  # no array of numbers; one of Python objects is not read
            raise SegGenError(f"look-up table {folder} is damaged", found=str(error)) from error

    def __len__(self) -> int:
        return self._count

    def row(self, number: int) -> Row:
        """Row ``number``, 0 to ``len(self) - 1``."""
        return Row._make(ROW.unpack(self._rows.read(ROW.size, number * ROW.size)))

    def texts(self, row: Row) -> list[str]:
        """Key, source id, strategy and caption."""
        return self._texts.read(row.text_length, row.text).decode().split("\0")

    def find(self, key: str) -> Row | None:
        """The row of ``key``, or None."""
        number = self.number(key)
        return None if number is None else self.row(number)

    def number(self, key: str) -> int | None:
        """The row number of ``key``, or None."""
        digest = name_hash(key.encode())
        for number in self._keys.find(digest).tolist():
            if self.row(number).check == int.from_bytes(digest[8:], "little", signed=True):
                return number
        return None

    def variants(self, source_id: str) -> np.ndarray:
        """``(M,)`` uint32 row numbers, ascending, of a source (two of 20,000 share a hash with odds of 1e-11)."""
        return self._sources.find(name_hash(source_id.encode()))

    def repeated_key(self) -> tuple[Row, Row] | None:
        """Two rows with one key, or None; only a table of a faulty bank has them."""
        for number in self._keys.repeated():
            row = self.row(number)
            first = self.find(self.texts(row)[0])
            if first != row:
                return first, row
        return None

"""Opens a bank and reads its samples."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.files import parse_json
from seggen_d2.foundation.seeds import fingerprint

from .format import KINDS, Rejection, index_name, record_parts, tar_name
from .info import read_info
from .open_banks import forget_bank, free_name, register_bank
from .store import locate, open_store
from .table import Row
from .table_build import open_table
from .verify import verify_bank

_logger = logging.getLogger(__name__)


class Bank:
    """A bank opened for reading: its whole shards, in the order of their names.

    Opening one registers its name, so that ``bank://NAME/KEY.jpg`` can be read; so does unpickling it in a spawned
    worker. Forked workers, threads and copies may read at once.

    Args:
        root: the bank's folder, or an fsspec URL such as ``s3://bucket/bank``. Forked and spawned workers connect anew.
        name: what it is called in ``bank://`` paths; the folder's name by default.
        check: compare what is read by ``bank://`` paths with its CRC-32. Trainings do: a damaged mask may still decode.

    Attributes:
        root: the folder's absolute path, or the URL as text.
        store: its files, whichever of the two it is.

    Raises:
        SegGenError: the folder holds no bank, or a bank of another format version.
    """

    def __init__(self, root: str | os.PathLike, name: str | None = None, check: bool = False):
        self.root, self.check = locate(root), check
        self.info = read_info(self.root)
        self.name = name or free_name(_as_name(self.root), self.root, fingerprint(os.fsencode(self.root)))
        self._open(None)

    def _open(self, shards: Sequence[str] | None) -> None:
        """Open ``shards``, all by default."""
        self.store = open_store(self.root)
        self._table = open_table(self.store, shards)
        self._version, self._reader = self._table.folder.name, self.store.reader
        self._tars = [self.store.address(tar_name(shard)) for shard in self._table.shards]
        for shard, problem in self._table.left_out.items():
            _logger.warning("shard %s of bank %s is left out, as it is not whole: %s", shard, self.root, problem)
        register_bank(self)

    def close(self) -> None:
        """Take the bank's name out of the ``bank://`` paths; its files are closed with the last reader."""
        forget_bank(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "name": self.name, "info": self.info, "check": self.check, "shards": self.shards}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.root, self.name, self.info, self.check = (state[key] for key in ("root", "name", "info", "check"))
        self._open(state["shards"])
        if self.shards != state["shards"]:
            lost = sorted({*state["shards"]} - {*self.shards})
            raise SegGenError(
                f"bank {self.root} has lost shards since it was opened",
                found=", ".join(lost),
                remedy="make them again with the command that made the bank, then start again",
            )

    @property
    def shards(self) -> tuple[str, ...]:
        """Names of the whole shards, ascending."""
        return self._table.shards

    def __len__(self) -> int:
        return len(self._table)

    def record(self, number: int) -> dict[str, Any]:
        """Sample ``number`` as a dataset dict whose file names are ``bank://`` paths.

        A semantic one has ``sem_seg_file_name``; a panoptic one ``pan_seg_file_name`` and ``segments_info``; an
        instance one ``annotations`` whose ``segmentation`` is polygons (without holes) and whose ``rle`` is the exact
        mask. Only the latter two read the sample's ``KEY.json``.

        Raises:
            IndexError: ``number`` is not in 0..len - 1.
            SegGenError: the shard of a panoptic or instance sample is missing or damaged.
        """
        row = self._row(number)
        key, source_id, strategy, caption = self._table.texts(row)
        mask = f"bank://{self.name}/{key}.png"
        return {
            "file_name": f"bank://{self.name}/{key}.jpg",
            **({"sem_seg_file_name": mask} if self.info.task == "semantic" else self._parts(row, key, mask)),
            "height": row.height,
            "width": row.width,
            "image_id": key,
            "source_id": source_id,
            "strategy": strategy,
            "seed": row.seed,
            "caption": caption,
        }

    def _parts(self, row: Row, key: str, mask: str) -> dict[str, Any]:
        where = f"bank://{self.name}/{key}.json"
        facts = parse_json(self._member(row, key, "json"), where, "member")
        return self.parts(facts, mask)

    def parts(self, facts: dict[str, Any], mask: str) -> dict[str, Any]:
        """What a panoptic or instance record holds beside an image's facts.

        Args:
            facts: of the sample's KEY.json. mask: path of its mask.
        """
        return record_parts(self.info.task, facts, self.info.categories, mask)

    @property
    def version(self) -> str:
        """Another one once the bank's shards have changed."""
        return self._version

    def key(self, number: int) -> str:
        """The key of sample ``number``."""
        return self._table.texts(self._row(number))[0]

    def _row(self, number: int) -> Row:
        if not 0 <= number < len(self):
            raise IndexError(f"bank {self.name} holds {len(self)} samples; there is no sample {number}")
        return self._table.row(number)

    def variants(self, source_id: str) -> np.ndarray:
        """``(M,)`` row numbers, ascending, of the samples made from the real image ``source_id``; may be empty."""
        return self._table.variants(source_id)

    def find(self, key: str) -> Row | None:
        """Where the sample ``key`` lies; None where there is no such sample."""
        return self._table.find(key)

    def number(self, key: str) -> int | None:
        """The row number of the sample ``key``; None where there is no such sample."""
        return self._table.number(key)

    def holds(self, key: str, kind: str) -> bool:
        """Whether there is a member ``KEY.kind``."""
        return kind in KINDS and self.find(key) is not None

    def read(self, key: str, kind: str, check: bool = False) -> bytes:
        """The bytes of a member.

        Args:
            key: the sample's.
            kind: ``"jpg"``, ``"png"`` or ``"json"``.
            check: compare the bytes with their CRC-32.

        Raises:
            SegGenError: there is no such sample, its shard is missing or cut short, or its checksum differs.
        """
        row = self.find(key)
        if row is None or kind not in KINDS:
            check_choice(f"the kind of member {key}.{kind}", kind, KINDS)
            raise SegGenError(
                f"bank {self.name} holds no sample {key}",
                expected=f"a key of the {len(self)} samples in {self.root}",
                found=key,
            )
        return self._member(row, key, kind, check)

    def _member(self, row: Row, key: str, kind: str, check: bool = False) -> bytes:
        return self.span(self._tars[row.shard], self._version, f"{key}.{kind}", row.member(kind), check)

    def span(self, tar: str, version: str, member: str, place: tuple[int, int, int], check: bool = False) -> bytes:
        """Bytes of an archive in the bank's store.

        Args:
            tar: its address. version: another one is another opening of it. member: what errors call the bytes.
            place: offset, length, CRC-32. check: compare the bytes with it.

        Raises:
            SegGenError: the archive is missing or cut short, or the checksum differs.
        """
        offset, length, crc32 = place
        data = self._pread(tar, version, length, offset)
        if len(data) != length:
            raise _damaged(tar, member, f"{length} bytes at {offset}", f"{len(data)} bytes")
        if check and zlib.crc32(data) != crc32:
            raise _damaged(tar, member, f"CRC-32 {crc32:08x}", f"{zlib.crc32(data):08x}")
        return data

    def _pread(self, tar: str, version: str, length: int, offset: int) -> bytes:
        try:
            return self._reader(tar, version).read(length, offset)
        except OSError as error:
            raise SegGenError(
                f"shard {tar} of bank {self.name} cannot be read",
                found=str(error),
                remedy="bring it back, or give the command that made the bank again",
            ) from error

    def column(self, name: str) -> np.ndarray:
        """A column of the index, or of a sidecar, in the order of the rows.

        Args:
            name: ``"height"``, ``"strategy"``, ``"histogram"`` ... or ``"scores/NAME:column"``.

        Returns:
            ``(S,)``; ``(S, N)`` for the histogram; texts as objects.

        Raises:
            SegGenError: there is no such column, or a sidecar lacks a sample.
        """
        from .columns import index_column, score_column  # pyarrow stays out of processes that only read

        return (score_column if name.startswith("scores/") else index_column)(self.store, self.shards, name)

    def rejections(self) -> list[Rejection]:
        """What the whole shards rejected, in the order of the plan."""
        from .index import read_facts

        indexes = self.store.fetch([index_name(shard) for shard in self.shards])
        return [rejection for index in indexes for rejection in read_facts(index)[1]]

    def verify(self) -> list[str]:
        """What is cut short or differs from its checksum, by name; empty for a sound bank. Reads every byte."""
        return verify_bank(self.root)


def _as_name(root: os.PathLike | str) -> str:
    last = os.fspath(root).rpartition("/")[2]
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in last)[:60] or "bank"


def _damaged(tar: str, member: str, expected: str, found: str) -> SegGenError:
    return SegGenError(
        f"member {member} of {tar} is damaged",
        expected=expected,
        found=found,
        remedy="give the command that made the bank again: damaged shards are made anew (of scores: remove them, and score again)",
    )

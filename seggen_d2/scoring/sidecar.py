"""Sidecars: what was found of a bank's samples, beside the bank and never in it.

    scores/NAME/facts.json             what each kind of score was made with; another model or dataset is refused
    scores/NAME/KIND-SHARD.parquet     a row a sample: ``key``, and the kind's columns; written whole, so that finished ones are the resume state
    scores/NAME/real/KIND-PRINT.parquet  what the same was for the real images, so that it is not made again
    scores/NAME/NAME-SHARD.tar         files of a shard's samples that a kind makes, laid out as the bank's own shards
    scores/NAME/summary.json           the figures over all

``bank.column("scores/NAME:column")``, and so ``SEGGEN.SAMPLE_WEIGHTS``, reads any column of numbers.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seggen_d2.bank import Bank
from seggen_d2.bank.filter_files import METADATA, SAMPLES, archive_name
from seggen_d2.bank.format import check_name, member_offsets, tar_blocks
from seggen_d2.bank.index import read_columns, read_schema
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import json_bytes, parse_json

from .samples import Part

_REMEDY = "give these scores another --name, or name what they were begun with"


class Sidecar:
    """The folder ``scores/NAME`` of a bank.

    Raises:
        SegGenError: the name is none.
    """

    def __init__(self, bank: Bank, name: str):
        self.bank, self.store = bank, bank.store
        self.folder = f"scores/{check_name(name, 'the name of the scores')}"

    def begin(self, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Write what each kind is made with, or make sure that it is what it was begun with.

        Args:
            facts: of each kind; of what is told as ``{"name", "print"}`` the print decides.

        Raises:
            SegGenError: a kind was begun with something else; both are named.
        """
        name = f"{self.folder}/facts.json"
        before = self._told(name)
        for kind, own in facts.items():
            for key in sorted({*own, *before.get(kind, own)}):
                self._check_same(kind, key, before.get(kind, own).get(key), own.get(key))
        known = {kind: {**own, **before.get(kind, {})} for kind, own in facts.items()}
        self.store.write(name, [json_bytes({**before, **known})])

    def _check_same(self, kind: str, key: str, before: Any, now: Any) -> None:
        if _print(before) != _print(now):
            raise SegGenError(f"{self.folder} of bank {self.bank.root}: {kind} was begun with another {key}", expected=_name(before), found=_name(now),
                              remedy=_REMEDY)

    def done(self, kind: str, parts: Sequence[Part]) -> list[Part]:
        """The parts that are finished.

        Raises:
            SegGenError: what is there is of other samples.
        """
        there = self.store.listing(self.folder)
        done = [part for part in parts if self._file(kind, part) in there]
        for part, file in zip(done, self.store.fetch([self._file(kind, part) for part in done]), strict=True):
            told = (read_schema(file).metadata or {}).get(METADATA, b"{}")
            if json.loads(told).get(SAMPLES) != part.print:
                raise SegGenError(f"{self.store.address(self._file(kind, part))} is a sidecar of another bank",
                                  expected=f"scores of the samples in shard {part.shard}", found="scores of other samples",
                                  remedy="remove the folder of these scores, or give another --name")
        return done

    def write(self, kind: str, part: Part, columns: Mapping[str, Any]) -> None:
        """Write the rows of a part; ``columns`` are arrays or lists of its length."""
        rows = pa.table({"key": pa.array(part.column("key"), pa.string()), **columns})
        self.store.write(self._file(kind, part), [_bytes(rows, {SAMPLES: part.print})])

    def archive(self, name: str, part: Part, members: Sequence[tuple[str, bytes]]) -> list[tuple[int, int, int]]:
        """Write ``NAME-SHARD.tar``, laid out as a bank's shards are; offset, length and CRC-32 of each member."""
        offsets, _ = member_offsets([len(data) for _, data in members])
        self.store.write(archive_name(self.folder, name, part.shard), tar_blocks(members))
        return [(offset, len(data), zlib.crc32(data)) for offset, (_, data) in zip(offsets, members, strict=True)]

    def table(self, kind: str, parts: Sequence[Part], names: Sequence[str] | None = None) -> pa.Table:
        """The rows of all parts; columns ``names``, all by default."""
        files = self.store.fetch([self._file(kind, part) for part in parts])
        return pa.concat_tables([read_columns(file, names) for file in files])

    def real(self, kind: str, of: str, make: Callable[[], Mapping[str, Any]]) -> pa.Table:
        """A table about real images, made once.

        Args:
            of: the images' print. make: its columns.
        """
        name = f"{self.folder}/real/{kind}-{of}.parquet"
        if not self.store.facts(name):
            self.store.write(name, [_bytes(pa.table(dict(make())), {})])
        return read_columns(self.store.fetch([name])[0])

    def once(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """JSON values of the file NAME, made once."""
        told = self._told(f"{self.folder}/{name}")
        if not told:
            told = dict(make())
            self.store.write(f"{self.folder}/{name}", [json_bytes(told)])
        return told

    def summarise(self, found: Mapping[str, Any]) -> str:
        """Write ``summary.json`` over what other kinds have there; the file's address."""
        name = f"{self.folder}/summary.json"
        self.store.write(name, [json_bytes({**self._told(name), **found})])
        return self.store.address(name)

    def _told(self, name: str) -> dict[str, Any]:
        """A JSON file's values; none where there is no file."""
        return parse_json(self.store.read(name), self.store.address(name)) if self.store.facts(name) else {}

    def _file(self, kind: str, part: Part) -> str:
        return f"{self.folder}/{kind}-{part.shard}.parquet"


def _bytes(rows: pa.Table, facts: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({METADATA: json.dumps(facts).encode()}), buffer, compression="zstd")
    return buffer.getvalue()


def _print(value: Any) -> Any:
    return value.get("print") if isinstance(value, dict) else value


def _name(value: Any) -> str:
    return f"{value.get('name')} ({value.get('print')})" if isinstance(value, dict) else str(value)

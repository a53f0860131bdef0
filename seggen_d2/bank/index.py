"""A shard's index: one parquet row a sample, and in the file's metadata the archive's length and the rejections.

Equal samples give equal bytes under one pyarrow version. Another version may encode the same rows in other bytes;
nothing compares index files by their bytes, so a bank begun under one can be finished under another.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seggen_d2.foundation.errors import SegGenError

from .format import KINDS, Rejection, Sample, member_offsets

TEXT_COLUMNS = ("key", "source_id", "strategy", "caption")
NUMBER_COLUMNS = (
    "height",
    "width",
    "seed",
    *(f"{kind}_{fact}" for kind in KINDS for fact in ("offset", "length", "crc32")),
)
SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXT_COLUMNS]
    + [(name, pa.int64()) for name in NUMBER_COLUMNS]
    + [("histogram", pa.list_(pa.int64()))]
)
_FACTS, _CHECKSUM = b"seggen", b"seggen_crc32"  # indexes of early banks have no checksums


def index_rows(samples: Sequence[Sample], members: Sequence[dict[str, bytes]]) -> tuple[pa.Table, int]:
    """The rows of ``samples``, whose ``members`` are stored in order, and the length of their archive in bytes."""
    offsets, tar_bytes = member_offsets([len(sample[kind]) for sample in members for kind in KINDS])
    rows = []
    for number, (sample, parts) in enumerate(zip(samples, members, strict=True)):
        row: dict[str, Any] = {name: getattr(sample, name) for name in (*TEXT_COLUMNS, "height", "width", "seed")}
        row["histogram"] = np.asarray(sample.histogram).tolist()
        for place, kind in enumerate(KINDS):
            row[f"{kind}_offset"] = offsets[number * len(KINDS) + place]
            row[f"{kind}_length"], row[f"{kind}_crc32"] = len(parts[kind]), zlib.crc32(parts[kind])
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA), tar_bytes


def index_bytes(rows: pa.Table, tar_bytes: int, rejections: Sequence[Rejection] = ()) -> bytes:
    """The index file of ``rows``."""
    facts = {"tar_bytes": tar_bytes, "rejections": [asdict(rejection) for rejection in rejections]}
    buffer = io.BytesIO()
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()
    metadata = {_FACTS: text, _CHECKSUM: b"%08x" % zlib.crc32(text)}
    pq.write_table(rows.replace_schema_metadata(metadata), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_facts(path: Path) -> tuple[int, list[Rejection]]:
    """The length that the archive must have, in bytes, and the shard's rejections.

    Raises:
        SegGenError: the index is missing, truncated, or not one of ours.
    """
    try:
        metadata = pq.read_schema(path).metadata
        text = metadata[_FACTS]
        if metadata.get(_CHECKSUM, b"%08x" % zlib.crc32(text)) != b"%08x" % zlib.crc32(text):
            raise ValueError("its facts differ from their checksum")
        facts = json.loads(text)
        return facts["tar_bytes"], [Rejection(**rejection) for rejection in facts["rejections"]]
    except (pa.ArrowException, OSError, TypeError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_columns(path: Path, names: Sequence[str] | None = None, check: bool = False) -> pa.Table:
    """Columns of an index or a sidecar, all by default; ``check`` compares its pages with their checksums.

    Raises:
        SegGenError: the file can't be read, or has no such column.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=check) as file:
            table = file.read(columns=None if names is None else list(names))
            found = file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    missing = [name for name in names or () if name not in found]
    if missing:
        raise SegGenError(
            f"{path} has no column {', '.join(missing)}", found=", ".join(found), remedy="use one of its columns"
        )
    return table


def read_schema(path: Path) -> pa.Schema:
    """The columns of an index or a sidecar, and its metadata.

    Raises:
        SegGenError: the file can't be read.
    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def index_numbers_and_texts(path: Path, names: Sequence[str]) -> tuple[np.ndarray, list[bytes]]:
    """``(S, len(names))`` int64 of the columns ``names`` (zeros where the index has none), and each row's texts.

    The texts are the columns ``TEXT_COLUMNS`` joined by NUL, UTF-8.
    """
    rows = read_columns(path, (*TEXT_COLUMNS, *NUMBER_COLUMNS))
    nothing = np.zeros(len(rows), np.int64)
    numbers = np.column_stack([rows[name].to_numpy() if name in NUMBER_COLUMNS else nothing for name in names])
    joined = pc.binary_join_element_wise(*(rows[name].cast(pa.binary()) for name in TEXT_COLUMNS), b"\0")
    return numbers, joined.to_pylist()


def _unreadable(path: Path, error: Exception) -> SegGenError:
    return SegGenError(
        f"{path.parent.name}/{path.name} cannot be read",
        expected=f"a whole parquet file at {path}",
        found=str(error),
        remedy="it may be truncated: give the command that made it again",
    )

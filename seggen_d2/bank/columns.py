"""Whole columns of a bank, from its index or from the sidecars under ``scores/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from seggen_d2.foundation.errors import SegGenError, nearest

from .format import index_name
from .index import SCHEMA, read_columns, read_schema
from .store_protocol import Store


def index_column(store: Store, shards: Sequence[str], name: str) -> np.ndarray:
    """Column ``name`` of the index over ``shards``; ``(S,)``, or ``(S, N)`` for lists."""
    if name not in SCHEMA.names:
        raise SegGenError(
            f"bank {store.root} has no column {name!r}",
            expected=", ".join(SCHEMA.names) + " or scores/NAME:column",
            remedy=nearest(name, SCHEMA.names),
        )
    return column_of(store.fetch([index_name(shard) for shard in shards]), name)


def column_of(indexes: Sequence[Path], name: str) -> np.ndarray:
    """Column ``name`` of local index files; ``(S,)``, or ``(S, N)`` for lists."""
    empty = SCHEMA.empty_table().select([name])
    column = pa.concat_tables([empty, *(read_columns(index, [name]) for index in indexes)])[name]
    if not pa.types.is_list(column.type):
        return column.to_numpy()
    flat = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(len(column), -1 if len(column) else 0)


def sidecar_columns(store: Store, folder: str, shards: Sequence[str]) -> dict[str, list[str]]:
    """The columns of numbers or texts in the folder ``scores/NAME``, by name, and the files that hold each.

    Files ``KIND-SHARD.parquet`` of one kind have the same columns, so that one of them is looked into; so have all other
    files. Lists are no scores, and files without keys none of a sidecar's.
    """
    kinds: dict[str, list[str]] = {}
    known = {*shards}
    for file in (file for file in store.listing(folder) if file.endswith(".parquet")):
        kind, _, shard = file.rpartition("/")[2].removesuffix(".parquet").partition("-")
        kinds.setdefault(kind if shard in known else "", []).append(file)
    found: dict[str, list[str]] = {}
    for files in kinds.values():
        schema = read_schema(store.fetch(files[:1])[0])
        names = [field.name for field in schema if not pa.types.is_nested(field.type)] if "key" in schema.names else []
        found |= {name: [*found.get(name, []), *files] for name in names if name != "key"}
    return found


def score_column(store: Store, shards: Sequence[str], name: str) -> np.ndarray:
    """Column ``scores/NAME:column``, joined to the index by key.

    Raises:
        SegGenError: there is no such sidecar or column, or it lacks a sample.
    """
    folder, _, column = name.partition(":")
    known_columns = sidecar_columns(store, folder, shards)
    if not known_columns or not column:
        known = [f"scores/{sidecar}:COLUMN" for sidecar in store.folders("scores")]
        raise SegGenError(
            f"bank {store.root} has no sidecar {name!r}", expected="scores/NAME:column", remedy=nearest(name, known)
        )
    if column not in known_columns:
        raise SegGenError(f"sidecar {folder} of bank {store.root} has no column {column}", found=", ".join(known_columns),
                          remedy=nearest(column, known_columns))
    scores = pa.concat_tables([read_columns(path, ["key", column]) for path in store.fetch(known_columns[column])])
    keys = pa.array(index_column(store, shards, "key"), pa.string())
    places = pc.index_in(keys, value_set=scores["key"].cast(pa.string()).combine_chunks())
    if places.null_count:
        first = keys.filter(places.is_null())[0].as_py()
        raise SegGenError(
            f"sidecar {name!r} of bank {store.root} lacks {places.null_count} of {len(keys)} samples",
            expected="a row for every key of the index",
            found=f"none for {first}",
            remedy="score the bank again",
        )
    return scores[column].take(places).to_numpy()

"""Captions on disk: a Parquet table with the columns ``image_id``, ``number`` and ``caption``.

An image may have several captions, numbered from 0. The table's metadata names the captioner, its model and the
model's licence. Image ids are text: COCO's 139 is ``"139"`` here.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside

from .dataset_file import Source

COLUMNS = ("image_id", "caption")  # and "number", without which each image has one caption
FACTS = ("captioner", "model", "licence")
_SCHEMA = pa.schema([("image_id", pa.string()), ("number", pa.int32()), ("caption", pa.string())])
_METADATA = b"seggen"
_MAKE = "make them with tools/make_captions.py"


def write_captions(path: str | os.PathLike, captions: Mapping[str, str | Sequence[str]], facts: Mapping[str, str] | None = None) -> None:
    """Write the table, whole or not at all.

    Args:
        path: the Parquet file.
        captions: ``{image_id: captions}``; a text alone is one caption.
        facts: what :func:`read_caption_facts` will tell.

    Raises:
        SegGenError: a caption is empty, or an image has none.
    """
    listed = {image_id: (given,) if isinstance(given, str) or given is None else tuple(given) for image_id, given in captions.items()}
    _check(listed, path)
    rows = [(image_id, number, caption) for image_id, given in listed.items() for number, caption in enumerate(given)]
    table = pa.table([pa.array(column, field.type) for column, field in zip(zip(*rows), _SCHEMA)] if rows else _SCHEMA.empty_table().columns, _SCHEMA)
    text = json.dumps(dict(facts or {}), sort_keys=True, ensure_ascii=False)
    with write_aside(path) as aside:
        pq.write_table(table.replace_schema_metadata({_METADATA: text.encode()}), aside)


def read_captions(path: str | os.PathLike) -> dict[str, tuple[str, ...]]:
    """``{image_id: captions}`` from a table, in its order; an image's captions by their numbers.

    Raises:
        SegGenError: the table is missing, damaged, lacks a column, or holds an empty caption.
    """
    table = _read(path)
    if not set(COLUMNS) <= set(table.column_names):
        raise SegGenError(f"captions {path} lack a column", expected=", ".join(COLUMNS), found=", ".join(table.column_names))
    numbers = table["number"].to_pylist() if "number" in table.column_names else [0] * len(table)
    captions: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for image_id, number, caption in zip(map(str, table["image_id"].to_pylist()), numbers, table["caption"].to_pylist(), strict=True):
        if number in captions[image_id]:
            raise SegGenError(f"captions {path}: image {image_id} has two captions of one number", expected="numbers that differ, from 0",
                              found=f"number {number} twice", remedy="give the captions of an image a column number, 0, 1, ...")
        captions[image_id][number] = caption
    listed = {image_id: tuple(given[number] for number in sorted(given)) for image_id, given in captions.items()}
    _check(listed, path)
    return listed


def read_captions_of(source: Source, path: str | os.PathLike, where: str) -> dict[str, tuple[str, ...]]:
    """:func:`read_captions`, for a dataset all of whose images must have one; ``where`` names the dataset in errors.

    Returns:
        ``{str(record["image_id"]): captions}``.

    Raises:
        SegGenError: the table cannot be read, or lacks images of the dataset.
    """
    captions = read_captions(path)
    lacking = [str(record["image_id"]) for record in source.records() if str(record["image_id"]) not in captions]
    if lacking:
        raise SegGenError(f"captions {path} lack {len(lacking)} images of {where}", found=", ".join(lacking[:5]), remedy=_MAKE)
    return captions


def read_caption_facts(path: str | os.PathLike) -> dict[str, str]:
    """What made a table: ``captioner``, ``model`` and ``licence``, "" each where the table does not tell.

    Raises:
        SegGenError: the table is missing or damaged.
    """
    text = (_read(path, columns=[]).schema.metadata or {}).get(_METADATA, b"{}")
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise _unreadable(path, error) from error
    return {**dict.fromkeys(FACTS, ""), **facts}


def _read(path: str | os.PathLike, columns: list[str] | None = None) -> pa.Table:
    if not Path(path).is_file():
        raise SegGenError(f"captions {path} do not exist", remedy=_MAKE)
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | os.PathLike, error: Exception) -> SegGenError:
    return SegGenError(f"captions {path} cannot be read", expected="a Parquet table", found=str(error)[:120],
                       remedy="make them again with tools/make_captions.py")


def _check(captions: Mapping[str, Sequence[str]], path: str | os.PathLike) -> None:
    empty = [image_id for image_id, given in captions.items() if not given or any(not (caption or "").strip() for caption in given)]
    if empty:
        raise SegGenError(f"captions {path}: {len(empty)} are empty", expected="a few words each",
                          found=", ".join(empty[:5]), remedy="describe these images, or take them out")

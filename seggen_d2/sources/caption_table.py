"""Captions on disk: a Parquet table with the columns ``image_id``, ``number`` and ``caption``.

An image may have several captions, numbered from 0. Where the column ``made_from`` holds a number, the row is an *edit* of
that caption: it tells what to paint, not what the image shows, so that samples are made from it and nothing is trained
on it beside the image. The column ``weight``, one value an image, tells how many samples its captions are worth. The
table's metadata names the captioner, its model and the model's licence. Image ids are text: COCO's 139 is ``"139"``.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside

from .dataset_file import Source

COLUMNS = ("image_id", "caption")  # and "number", without which each image has one caption
FACTS = ("captioner", "model", "licence")
EDITED = {"made_from": pa.int32(), "weight": pa.float64()}  # columns that only tables with edits have
_SCHEMA = pa.schema([("image_id", pa.string()), ("number", pa.int32()), ("caption", pa.string())])
_METADATA, _EDITS = b"seggen", b"seggen_edits"
_MAKE = "make them with tools/make_captions.py"


@dataclass(frozen=True)
class Edits:
    """What a table holds beside the captions that describe its images.

    Attributes:
        texts: ``{image_id: ((text, number of the caption that it was made from), ...)}``.
        weights: ``{image_id: samples that its captions are worth, against 1}``; images that it lacks are worth 1.
        facts: how the edits were made, as JSON has it.
    """

    texts: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompts:
    """What samples of an image are made from.

    Attributes:
        captions: its edits where it has any, else the captions that describe it.
        weight: samples that they are worth, against 1.
    """

    captions: tuple[str, ...]
    weight: float = 1.0


def write_captions(path: str | os.PathLike, captions: Mapping[str, str | Sequence[str]], facts: Mapping[str, str] | None = None,
                   edits: Edits | None = None) -> None:
    """Write the table, whole or not at all.

    Args:
        path: the Parquet file.
        captions: ``{image_id: captions that describe it}``; a text alone is one caption.
        facts: what :func:`read_caption_facts` will tell.
        edits: of these captions; without any the table has three columns.

    Raises:
        SegGenError: a caption is empty, or an image has none.
    """
    listed = {image_id: (given,) if isinstance(given, str) or given is None else tuple(given) for image_id, given in captions.items()}
    _check(listed, path)
    texts, weights = (edits.texts, edits.weights) if edits else ({}, {})
    _check({image_id: [text for text, _ in given] for image_id, given in texts.items() if given}, path)
    rows = [(image_id, number, caption, made_from, float(weights.get(image_id, 1.0))) for image_id, given in listed.items()
            for number, (caption, made_from) in enumerate([*((caption, None) for caption in given), *texts.get(image_id, ())])]
    schema = _SCHEMA if not edits else pa.schema([*_SCHEMA, *EDITED.items()])
    table = pa.table([pa.array(column, field.type) for column, field in zip(zip(*rows), schema)] if rows else schema.empty_table().columns, schema)
    metadata = {_METADATA: dict(facts or {})} | ({_EDITS: dict(edits.facts)} if edits else {})
    told = {key: json.dumps(value, sort_keys=True, ensure_ascii=False).encode() for key, value in metadata.items()}
    with write_aside(path) as aside:
        pq.write_table(table.replace_schema_metadata(told), aside)


def read_captions(path: str | os.PathLike) -> dict[str, tuple[str, ...]]:
    """``{image_id: the captions that describe it}`` from a table, in its order; an image's captions by their numbers.

    Raises:
        SegGenError: the table is missing, damaged, lacks a column, or holds an empty caption.
    """
    return {image_id: tuple(text for text, made_from in given if made_from is None) for image_id, given in _read_rows(path)[0].items()}


def read_edits(path: str | os.PathLike) -> Edits:
    """What a table holds beside :func:`read_captions`.

    Raises:
        SegGenError: as there, or the metadata cannot be read.
    """
    rows, weights = _read_rows(path)
    texts = {image_id: tuple((text, made_from) for text, made_from in given if made_from is not None) for image_id, given in rows.items()}
    return Edits({image_id: given for image_id, given in texts.items() if given}, weights, _facts(path, _EDITS))


def read_prompts_of(source: Source, path: str | os.PathLike, where: str) -> dict[str, Prompts]:
    """What the samples of each image are made from: ``{str(record["image_id"]): Prompts}``.

    Raises:
        SegGenError: as :func:`read_captions_of`.
    """
    captions, edits = read_captions_of(source, path, where), read_edits(path)
    return {image_id: Prompts(tuple(text for text, _ in edits.texts.get(image_id, ())) or given, edits.weights.get(image_id, 1.0))
            for image_id, given in captions.items()}


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
    return {**dict.fromkeys(FACTS, ""), **_facts(path, _METADATA)}


def _facts(path: str | os.PathLike, key: bytes) -> dict[str, Any]:
    text = (_read(path, columns=[]).schema.metadata or {}).get(key, b"{}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unreadable(path, error) from error


def _read_rows(path: str | os.PathLike) -> tuple[dict[str, list[tuple[str, int | None]]], dict[str, float]]:
    """``{image_id: [(caption, number that it was made from or None), ...]}`` by their numbers, and the weights that are not 1."""
    table = _read(path)
    if not set(COLUMNS) <= set(table.column_names):
        raise SegGenError(f"captions {path} lack a column", expected=", ".join(COLUMNS), found=", ".join(table.column_names))

    def column(name: str, otherwise: Any) -> list:
        return table[name].to_pylist() if name in table.column_names else [otherwise] * len(table)

    found: defaultdict[str, dict[int, tuple[str, int | None]]] = defaultdict(dict)
    names = list(map(str, table["image_id"].to_pylist()))
    for image_id, number, caption, made_from in zip(names, column("number", 0), column("caption", ""), column("made_from", None), strict=True):
        if number in found[image_id]:
            raise SegGenError(f"captions {path}: image {image_id} has two captions of one number", expected="numbers that differ, from 0",
                              found=f"number {number} twice", remedy="give the captions of an image a column number, 0, 1, ...")
        found[image_id][number] = caption, made_from
    rows = {image_id: [given[number] for number in sorted(given)] for image_id, given in found.items()}
    _check({image_id: [text for text, _ in given] for image_id, given in rows.items()}, path)
    _check_edits(found, path)
    return rows, _weights(names, column("weight", 1.0), path)


def _check_edits(found: Mapping[str, Mapping[int, tuple[str, int | None]]], path: str | os.PathLike) -> None:
    """Each image has a caption that describes it, and each edit was made from one."""
    for image_id, given in found.items():
        describing = {number for number, (_, made_from) in given.items() if made_from is None}
        strange = {made_from for _, made_from in given.values() if made_from is not None} - describing
        if not describing or strange:
            raise SegGenError(f"captions {path}: the edits of image {image_id} are made from nothing", expected="made_from: the number of a caption "
                              "that describes the image (whose own made_from is null)", found=f"made_from {sorted(strange)}, describing {sorted(describing)}")


def _weights(names: Sequence[str], values: Sequence[float | None], path: str | os.PathLike) -> dict[str, float]:
    weights: dict[str, float] = {}
    for image_id, value in zip(names, values, strict=True):
        value = 1.0 if value is None else float(value)
        if not 0 < value < float("inf") or weights.setdefault(image_id, value) != value:
            raise SegGenError(f"captions {path}: image {image_id} has no weight of its own", expected="one number above 0 in all its rows",
                              found=f"{value}, {weights.get(image_id)}")
    return {image_id: value for image_id, value in weights.items() if value != 1}


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

"""Captions on disk: a Parquet table with the columns ``image_id`` and ``caption``."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside
from seggen_d2.sources import FolderSource, read_sample

from .captioner import Captioner, CaptionRequest

COLUMNS = ("image_id", "caption")


def caption_dataset(source: FolderSource, captioner: Captioner, path: str | os.PathLike, *, batch: int = 8) -> dict[str, str]:
    """Caption every image of ``source`` into the table at ``path``.

    Images that the table holds already are not captioned again, and the table is written after every 64 batches:
    a stopped run goes on with the same command.

    Returns:
        ``{image_id: caption}`` of the whole dataset.

    Raises:
        SegGenError: an image or mask cannot be read, or the captioner gave an empty caption.
    """
    done = read_captions(path) if Path(path).exists() else {}
    records = source.records()
    todo = [record for record in records if record["image_id"] not in done]
    for start in tqdm(range(0, len(todo), batch), desc=f"captions ({captioner.name})", unit="batch"):
        part = todo[start : start + batch]
        captions = captioner([_request(record, source) for record in part])
        done.update(zip((record["image_id"] for record in part), captions, strict=True))
        if (start // batch) % 64 == 63:
            write_captions(path, done)
    ordered = {record["image_id"]: done[record["image_id"]] for record in records}
    write_captions(path, ordered)
    return ordered


def _request(record: dict, source: FolderSource) -> CaptionRequest:
    image, labels = read_sample(record, source.categories)
    return CaptionRequest(image, labels, record.get("attributes", {}))


def write_captions(path: str | os.PathLike, captions: dict[str, str]) -> None:
    """Write the table, whole or not at all.

    Raises:
        SegGenError: a caption is empty.
    """
    _check(captions, path)
    with write_aside(path) as aside:
        pq.write_table(pa.table({"image_id": list(captions), "caption": list(captions.values())}), aside)


def read_captions(path: str | os.PathLike) -> dict[str, str]:
    """``{image_id: caption}`` from a table.

    Raises:
        SegGenError: the table is missing, damaged, lacks a column, or holds an empty caption.
    """
    if not Path(path).is_file():
        raise SegGenError(f"captions {path} do not exist", remedy="make them with tools/make_captions.py")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise SegGenError(f"captions {path} cannot be read", expected="a Parquet table", found=str(error)[:120],
                          remedy="make them again with tools/make_captions.py") from error
    if not set(COLUMNS) <= set(table.column_names):
        raise SegGenError(f"captions {path} lack a column", expected=", ".join(COLUMNS), found=", ".join(table.column_names))
    captions = dict(zip(table["image_id"].to_pylist(), table["caption"].to_pylist(), strict=True))
    _check(captions, path)
    return captions


def read_captions_of(source: FolderSource, path: str | os.PathLike, where: str) -> dict[str, str]:
    """:func:`read_captions`, for a dataset all of whose images must have one; ``where`` names the dataset in errors.

    Raises:
        SegGenError: the table cannot be read, or lacks images of the dataset.
    """
    captions = read_captions(path)
    lacking = [record["image_id"] for record in source.records() if record["image_id"] not in captions]
    if lacking:
        raise SegGenError(f"captions {path} lack {len(lacking)} images of {where}", found=", ".join(lacking[:5]),
                          remedy="make them with tools/make_captions.py")
    return captions


def _check(captions: dict[str, str], path: str | os.PathLike) -> None:
    empty = [image_id for image_id, caption in captions.items() if not (caption or "").strip()]
    if empty:
        raise SegGenError(f"captions {path}: {len(empty)} are empty", expected="a few words each",
                          found=", ".join(empty[:5]), remedy="describe these images, or take them out")

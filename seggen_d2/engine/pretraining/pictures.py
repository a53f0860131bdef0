"""Captioned pictures, from a folder or a dataset; no label is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import unit_float
from seggen_d2.sources import load_dataset
from seggen_d2.sources.caption_table import read_captions_of
from seggen_d2.sources.folder import IMAGE_ENDINGS, by_id, images_below

CAPTIONS, IMAGES = "captions.parquet", "images"
Record = dict[str, Any]


@dataclass(frozen=True)
class PictureFolder:
    """Pictures in a folder, or in its folder ``images`` where it has one; they are called by their paths without ending."""

    folder: Path

    def records(self) -> list[Record]:
        """``{"file_name", "image_id"}`` of each picture, by name.

        Raises:
            SegGenError: there is no such folder, or it holds no pictures.
        """
        root = self.folder / IMAGES if (self.folder / IMAGES).is_dir() else self.folder
        found = by_id(root, images_below(root))
        if not found:
            raise SegGenError(f"pictures: {self.folder} holds no pictures", expected=f"a folder of {', '.join(IMAGE_ENDINGS)}, or a dataset YAML",
                              found="a folder without any" if self.folder.is_dir() else "no such folder", remedy="check the key pictures")
        return [{"file_name": str(file), "image_id": name} for name, file in sorted(found.items())]


def captioned_pictures(pictures: str | os.PathLike, captions: str | os.PathLike = "", limit: int = 0) -> list[Record]:
    """``{"file_name", "image_id", "captions"}`` of each picture; all of its captions.

    Args:
        pictures, captions, limit: see :class:`~.options.BackboneOptions`.

    Raises:
        SegGenError: there are no pictures or captions, or some picture has none.
    """
    place = Path(pictures)
    is_dataset = place.suffix in (".yaml", ".yml")
    source = load_dataset(place) if is_dataset else PictureFolder(place)
    table = Path(captions) if captions else (place.parent if is_dataset else place) / CAPTIONS
    records, texts = source.records(), read_captions_of(source, table, str(pictures))
    found = [{"file_name": record["file_name"], "image_id": str(record["image_id"])} for record in records[: limit or None]]
    return [{**record, "captions": texts[record["image_id"]]} for record in found]


def split(records: Sequence[Record], share: float) -> tuple[list[Record], list[Record]]:
    """Those to learn from, and about ``share`` of them to measure on; which is which follows from their names.

    Raises:
        SegGenError: either has less than two.
    """
    held = [unit_float("held out", record["image_id"]) < share for record in records]
    parts = tuple([record for record, out in zip(records, held, strict=True) if out is wanted] for wanted in (False, True))
    if min(map(len, parts)) < 2:
        raise SegGenError(f"{len(records)} pictures are too few to hold a share of {share} out", expected="2 or more to learn from, and to measure on",
                          found=" and ".join(str(len(part)) for part in parts), remedy="give more pictures, or another share as held_out")
    return parts

"""Saved predictions in the usual formats: label-map PNGs, COCO's panoptic PNGs with their JSON, COCO's results JSON."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.segmentation import read_label_map
from seggen_d2.segmentation.masks import Segment, SegmentMask
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.sources import Source
from seggen_d2.sources.coco import CocoCategories, need
from seggen_d2.sources.coco_panoptic import check_segments

from .instances import Detection, read_object

PANOPTIC_NAMES = ("predictions.json", "panoptic.json")  # looked for in a folder, in this order; then its only JSON
INSTANCE_NAMES = ("coco_instances_results.json", "results.json")


class Saved(Protocol):
    """Predictions of a dataset's images on disk."""

    def has(self, record: dict[str, Any]) -> bool:
        """Whether there is a prediction for a record's image."""

    def name(self, record: dict[str, Any]) -> str:
        """What errors call a record's prediction."""

    def read(self, record: dict[str, Any]) -> Any:
        """The prediction of a record's image.

        Raises:
            SegGenError: it cannot be read, or holds what the dataset does not know.
        """


class SavedLabels:
    """``FOLDER/IMAGE_ID.png``: single-channel PNGs of category ids, 8 or 16 bits. Other files are passed over.

    Raises:
        SegGenError: there is no such folder.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise SegGenError(f"there is no folder of predictions {folder}", expected="a folder with IMAGE_ID.png for each image",
                              found="a file" if self.folder.exists() else "nothing", remedy="check the path")

    def name(self, record: dict[str, Any]) -> str:
        return str(self.folder / f"{record['image_id']}.png")

    def has(self, record: dict[str, Any]) -> bool:
        return Path(self.name(record)).is_file()

    def read(self, record: dict[str, Any]) -> np.ndarray:
        return read_label_map(self.name(record))


class SavedSegments:
    """COCO's panoptic format: a JSON file of ``annotations`` and the RGB PNGs of segment ids that it names.

    Args:
        path: the JSON file, or its folder. The PNGs lie in the folder of the JSON's name beside it, or beside it.
        source: the dataset; category ids are those of its JSON.

    Raises:
        SegGenError: it is another file, or of another dataset, or an image is predicted twice.
    """

    def __init__(self, path: str | os.PathLike, source: Source):
        self.file = find_json(path, PANOPTIC_NAMES)
        value = read_json(self.file, "panoptic predictions")
        entries = value.get("annotations") if isinstance(value, dict) else None
        if not isinstance(entries, list):
            raise SegGenError(f"panoptic predictions {self.file} lack annotations", expected='{"annotations": [{image_id, file_name, segments_info}, ...]}',
                              found=", ".join(value) if isinstance(value, dict) else "a list: results of instances are scored with --task instance")
        self.categories = CocoCategories(source.categories, source.numbers)
        check_categories(value.get("categories") or [], self.categories, self.file)
        for entry in entries:
            need(entry, ("image_id", "file_name", "segments_info"), f"an annotation of {self.file}")
        check_images([entry["image_id"] for entry in entries], source, self.file, once=True)
        self.entries = {entry["image_id"]: entry for entry in entries}
        self.folder = self._png_folder(entries)

    def _png_folder(self, entries: Sequence[dict[str, Any]]) -> Path:
        places = (self.file.with_suffix(""), self.file.parent)
        return next((place for place in places if any((place / entry["file_name"]).is_file() for entry in entries[:20])), places[0])

    def name(self, record: dict[str, Any]) -> str:
        return f"image {record['image_id']} in {self.file}"

    def has(self, record: dict[str, Any]) -> bool:
        return record["image_id"] in self.entries

    def read(self, record: dict[str, Any]) -> SegmentMask:
        entry = self.entries[record["image_id"]]
        path, infos = self.folder / entry["file_name"], entry["segments_info"]
        for info in infos:
            need(info, ("id", "category_id"), f"a segment of {self.name(record)}")
        ids = read_panoptic_png(path)
        check_segments(ids, infos, str(path))
        listed = [info["id"] for info in infos]
        twice = sorted({i for i in listed if listed.count(i) > 1})
        if twice:
            raise self._unfit(record, path, f"twice: {twice[:10]}")
        numbers = [self.categories.number(info["category_id"], f"segment {info['id']} of {self.name(record)}") for info in infos]
        made = SegmentMask(ids, tuple(map(Segment, listed, numbers)), self.categories.categories.ignore_id)
        if len(made.segments) < len(listed):
            raise self._unfit(record, path, f"without a pixel: {sorted({*listed} - {s.id for s in made.segments})[:10]}")
        return made

    def _unfit(self, record: dict[str, Any], path: Path, found: str) -> SegGenError:
        return SegGenError(f"{self.name(record)}: its segments are not those of {path}", expected="each id once, on one pixel at least",
                           found=found, remedy="write JSON and PNGs by one run")


class SavedObjects:
    """COCO's results format: a JSON list of ``{image_id, category_id, segmentation, score}``; boxes are not used.

    Args:
        path: the JSON file, or its folder.
        source: the dataset; category ids are those of its JSON.
        numbers: COCO's ids of the categories that may be predicted, and their places.

    Raises:
        SegGenError: it is another file, or of another dataset, or a score is no number.
    """

    def __init__(self, path: str | os.PathLike, source: Source, numbers: dict[int, int]):
        self.file = find_json(path, INSTANCE_NAMES)
        entries = read_json(self.file, "results")
        if not isinstance(entries, list):
            raise SegGenError(f"{self.file} is no list of results", expected="[{image_id, category_id, segmentation, score}, ...]",
                              found=", ".join(entries) if isinstance(entries, dict) else type(entries).__name__, remedy="give COCO's results format")
        self.categories, self.entries = CocoCategories(source.categories, numbers), defaultdict(list)
        for place, entry in enumerate(entries):
            need(entry, ("image_id", "category_id", "segmentation", "score"), f"result {place} of {self.file}")
            score = entry["score"]
            if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
                raise SegGenError(f"the score of result {place} of {self.file} is none", expected="a finite number", found=repr(score))
            self.entries[entry["image_id"]].append(entry)
        check_images(self.entries, source, self.file)

    def name(self, record: dict[str, Any]) -> str:
        return f"image {record['image_id']} in {self.file}"

    def has(self, record: dict[str, Any]) -> bool:
        return record["image_id"] in self.entries

    def read(self, record: dict[str, Any]) -> list[Detection]:
        where = f"a result of {self.name(record)}"
        return [Detection(self.categories.number(entry["category_id"], where), float(entry["score"]),
                          read_object(entry["segmentation"], record["height"], record["width"], where)) for entry in self.entries[record["image_id"]]]


def find_json(path: str | os.PathLike, names: Sequence[str]) -> Path:
    """``path`` itself, or the JSON file in this folder: one of ``names``, else the only one.

    Raises:
        SegGenError: there is none, or several.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = [path / name for name in names if (path / name).is_file()][:1] or sorted(path.glob("*.json"))
    if len(found) != 1:
        raise SegGenError(f"folder {path} does not tell which JSON holds the predictions", expected=f"{names[0]}, or one JSON file alone",
                          found=", ".join(file.name for file in found[:10]) or "no JSON file", remedy="name the file itself")
    return found[0]


def check_categories(listed: Iterable[Any], known: CocoCategories, file: Path) -> None:
    """Categories that a predictions file tells are the dataset's.

    Raises:
        SegGenError: one is not.
    """
    for item in listed:
        need(item, ("id", "name"), f"a category of {file}")
        name = known.categories.names[known.numbers[item["id"]]] if item["id"] in known.numbers else "no category"
        if item["name"] != name:
            raise SegGenError(f"the categories of {file} are not the dataset's", expected=f"id {item['id']}: {name}", found=repr(item["name"]),
                              remedy="score predictions against the dataset that they were made for")


def check_images(ids: Iterable[Any], source: Source, file: Path, *, once: bool = False) -> None:
    """Predicted images are the dataset's, with ``once`` each a single time.

    Raises:
        SegGenError: some are not.
    """
    ids, known = list(ids), [record["image_id"] for record in source.records()]
    strange = sorted({repr(i) for i in ids} - {repr(i) for i in known})
    if strange:
        raise SegGenError(f"{file} predicts {len(strange)} images that dataset {source.name} does not hold",
                          expected=f"image ids such as {', '.join(map(repr, known[:3]))}", found=", ".join(strange[:10]),
                          remedy="it may be of another dataset or split: score it against its own")
    twice = sorted({repr(i) for i in ids if ids.count(i) > 1}) if once and len({*ids}) < len(ids) else []
    if twice:
        raise SegGenError(f"{file} predicts {len(twice)} images twice", expected="one annotation an image", found=", ".join(twice[:10]),
                          remedy="write the predictions of one run, each image once")

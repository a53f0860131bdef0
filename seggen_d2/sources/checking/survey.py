"""What a check looks at: a dataset's YAML, a folder of photos and masks without one, or a COCO JSON, as items.

Nothing is opened but folders and JSON: what is missing becomes a problem, not an exception.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.segmentation import Categories

from ..coco import CocoFile, is_crowd_mark, read_coco_file
from ..dataset_file import Source, load_dataset
from ..folder import FolderSource, images_below
from .examine import Item
from .problems import Problem

IMAGE_FOLDERS = ("images", "imgs", "photos", "JPEGImages", "leftImg8bit", "input_images", "train2017", "val2017")
MASK_FOLDERS = ("masks", "annotations", "labels", "SegmentationClass", "gtFine", "gt")
_MOST = 100_000  # names of unused files that are kept


@dataclass
class Survey:
    """What there is to look at.

    Attributes:
        name: of the dataset.
        task: semantic, panoptic or instance.
        categories: the label space; None where nothing tells it.
        items: a photo each, with what belongs to it.
        problems: those of the whole.
        ignore_id: the id of unlabelled pixels.
    """

    name: str
    task: str
    categories: Categories | None
    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ignore_id: int = 255


def survey(path: str | os.PathLike, images: str | os.PathLike = "", masks: str | os.PathLike = "") -> Survey:
    """Find out what ``path`` is and list it.

    Args:
        path: a dataset's YAML file, a COCO JSON file, or a folder of photos and masks.
        images: for a JSON or a folder, the folder of photos; by default one beside or in it of a usual name.
        masks: likewise, of masks.

    Raises:
        SegGenError: there is nothing at ``path``, it is of no known kind, or its YAML or JSON cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return _of_folder(_named(path.resolve().name, path, images, masks))
    if path.suffix.lower() == ".json":
        return _of_json(path, images, masks)
    if path.suffix.lower() in (".yaml", ".yml") or not path.exists():
        source = load_dataset(path)
        return _of_folder(source) if isinstance(source, FolderSource) else _of_coco(source)
    raise SegGenError(f"{path} is no dataset", expected="a dataset's YAML file, a folder of photos and masks, or a COCO JSON file",
                      found=f"a file {path.name}", remedy="unpack an archive first; datasets/README.md shows the forms")


def _named(name: str, root: Path, images: str | os.PathLike, masks: str | os.PathLike) -> FolderSource:
    found = [Path(given) if given else _usual(root, names, what)
             for given, names, what in ((images, IMAGE_FOLDERS, "--images"), (masks, MASK_FOLDERS, "--masks"))]
    return FolderSource(name, found[0], found[1], Categories.from_names(["unknown"]))


def _usual(root: Path, names: tuple[str, ...], word: str) -> Path:
    found = [root / name for name in names if (root / name).is_dir()]
    if not found:
        there = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
        raise SegGenError(f"{root} holds no folder of a usual name", expected=", ".join(names), found=", ".join(there[:10]) or "an empty folder",
                          remedy=f"name it: {word} DIR")
    return found[0]


def _of_folder(source: FolderSource) -> Survey:
    """Photos and masks by their stems; either may lack the other."""
    known = None if source.categories.names == ("unknown",) else source.categories
    made = Survey(source.name, "semantic", known, ignore_id=source.categories.ignore_id)
    for folder in (source.images, source.masks):
        if not folder.is_dir():
            raise SegGenError(f"folder {folder} does not exist", remedy="check the paths")
    photos = source.image_files() if source.listed is not None or source.limit else images_below(source.images)
    masks = {file: _identity(file, source.masks) for file in images_below(source.masks)}
    by_name = {name: file for file, name in sorted(masks.items(), key=lambda pair: pair[0].suffix != ".png", reverse=True)}
    if not photos:
        made.problems.append(Problem("structure", str(source.images), "no photo in this folder"))
    made.problems += _alike(source, photos)
    for photo in photos:
        mask = by_name.get(source.image_id(photo))
        if mask is None:
            made.problems.append(Problem("missing-mask", str(photo), f"expected {source.mask_of(photo)}"))
        else:
            made.items.append(Item(str(photo), str(mask)))
    if source.listed is None and not source.limit:
        used = {source.image_id(photo) for photo in photos}
        alone = [file for file, name in masks.items() if name not in used]
        made.problems += [Problem("missing-photo", str(file), "no photo of this stem") for file in sorted(alone)[:_MOST]]
    return made


def _alike(source: FolderSource, photos: list[Path]) -> Iterator[Problem]:
    """Photos that have another one's mask."""
    first: dict[str, Path] = {}
    for photo in photos:
        same = first.setdefault(source.image_id(photo), photo)
        if same is not photo:
            yield Problem("structure", str(photo), f"differs from {same.name} by its ending alone, so that both have one mask")


def _identity(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _of_json(path: Path, images: str | os.PathLike, masks: str | os.PathLike) -> Survey:
    value = read_json(path, "COCO annotations")
    annotations = value.get("annotations") if isinstance(value, dict) else None
    first = annotations[0] if isinstance(annotations, list) and annotations else {}
    task = "panoptic" if isinstance(first, dict) and "segments_info" in first else "instance"
    places = (path.parent, path.parent.parent)
    folder = Path(images) if images else _beside(places, [path.stem.rpartition("_")[2], *IMAGE_FOLDERS], "--images")
    masked = Path(masks) if masks or task == "instance" else _beside(places, [path.stem, *MASK_FOLDERS], "--masks")
    return _of_file(read_coco_file(path, things_only=task == "instance"), path.stem, task, folder, masked)


def _beside(places: tuple[Path, ...], names: list[str], word: str) -> Path:
    found = [place / name for name in names for place in places if (place / name).is_dir()]
    if not found:
        raise SegGenError(f"no folder of a usual name lies beside the JSON in {places[0]}", expected=", ".join(names), remedy=f"name it: {word} DIR")
    return found[0]


def _of_coco(source: Source) -> Survey:
    file = read_coco_file(source.json, source.ignore_id, categories=source.category_file, things_only=source.task == "instance")
    return _of_file(file, source.name, source.task, source.images, getattr(source, "masks", Path()), source.limit)


def _of_file(file: CocoFile, name: str, task: str, images: Path, masks: Path, limit: int = 0) -> Survey:
    """The images of a COCO file, each with its segments or objects."""
    made = Survey(name, task, file.categories.categories, ignore_id=file.categories.categories.ignore_id)
    numbers = sorted(file.categories.numbers)
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        made.problems.append(Problem("id-gaps", str(file.path), f"{len(numbers)} ids between {numbers[0]} and {numbers[-1]}"))
    made.problems += _named_twice(file)
    parts, mask_names = _parts_by_image(file, task, made.problems)
    for image_id, image in list(file.images.items())[: limit or None]:
        photo, mask = images / image["file_name"], masks / mask_names.get(image_id, "")
        if image_id not in parts:
            made.problems.append(Problem("unannotated" if task == "instance" else "missing-mask", str(photo), "no annotation of this image"))
        if not photo.is_file():
            made.problems.append(Problem("missing-photo", str(photo), f"image {image_id} of {file.path}"))
        elif task == "panoptic" and image_id in parts and not mask.is_file():
            made.problems.append(Problem("missing-mask", str(photo), f"expected {mask}"))
        elif task == "instance" or image_id in parts:
            size = (image["height"], image["width"])
            made.items.append(Item(str(photo), str(mask) if task == "panoptic" else "", size, tuple(parts.get(image_id, ()))))
    return made


def _named_twice(file: CocoFile) -> Iterator[Problem]:
    """Photos that several images of a COCO file name: each of those has a part of the annotations."""
    by_name = defaultdict(list)
    for image_id, image in file.images.items():
        by_name[image["file_name"]].append(image_id)
    for name, ids in by_name.items():
        if len(ids) > 1:
            yield Problem("duplicate", name, f"images {', '.join(map(str, ids[:5]))} of {file.path}")


def _parts_by_image(file: CocoFile, task: str, problems: list[Problem]) -> tuple[dict[Any, list], dict[Any, str]]:
    """Segments or objects of each image, category ids made contiguous, and the mask file that each image names."""
    parts, masks = defaultdict(list), {}
    for entry in file.annotations:
        image = file.images.get(entry.get("image_id"))
        if image is None:
            problems.append(Problem("missing-photo", str(file.path), f"an annotation is of image {entry.get('image_id')!r}, which the file lacks"))
            continue
        if task == "panoptic" and image["id"] in masks:
            problems.append(Problem("duplicate-id", str(file.path), f"several annotations of image {image['id']}"))
        masks[image["id"]] = str(entry.get("file_name", ""))
        parts[image["id"]] += filter(None, (_numbered(part, file, problems) for part in _parts(entry, task, problems, str(file.path))))
    groups = [[part.get("id") for part in found] for found in parts.values()] if task == "panoptic" else [[entry.get("id") for entry in file.annotations]]
    for found in groups:
        twice = [str(number) for number, count in Counter(found).items() if count > 1]
        problems += [Problem("duplicate-id", str(file.path), f"ids {', '.join(twice[:5])}")] if twice else []
    return parts, masks


def _parts(entry: dict[str, Any], task: str, problems: list[Problem], path: str) -> list[Any]:
    """An instance annotation itself; a panoptic one's segments, those alone that have a number."""
    if task != "panoptic":
        return [entry]
    segments = entry.get("segments_info")
    if not isinstance(segments, list):
        problems.append(Problem("structure", path, f"the annotation of image {entry['image_id']} has no segments_info"))
        return []
    numbered = [part for part in segments if isinstance(part, dict) and isinstance(part.get("id"), int)]
    if len(numbered) < len(segments):
        problems.append(Problem("structure", path, f"{len(segments) - len(numbered)} segments of image {entry['image_id']} have no number (id)"))
    return numbered


def _numbered(part: dict[str, Any], file: CocoFile, problems: list[Problem]) -> dict[str, Any] | None:
    """A segment or object with its contiguous category id; None for stuff among instances and what has no category."""
    where = f"annotation {part.get('id')}"
    if not is_crowd_mark(part.get("iscrowd")):
        problems.append(Problem("structure", str(file.path), f"{where}: iscrowd {part['iscrowd']!r:.40}"))
    try:
        number = file.categories.number(part["category_id"], where)
    except (SegGenError, KeyError) as error:
        problems.append(Problem("unknown-category", str(file.path), f"{where}: {getattr(error, 'found', '') or 'no category_id'}"))
        return None
    return {**part, "category_id": number} if number >= 0 else None

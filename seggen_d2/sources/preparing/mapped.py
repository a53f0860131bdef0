"""A labelled dataset in the label space of another: what was trained on that one can then be tested on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import json_bytes, write_bytes

from ..coco import CocoFile, read_coco_file
from ..dataset_file import DatasetFile, Source, load_dataset, read_dataset_file
from ..splits import write_list
from .class_map import NONE, ClassMap, read_class_map
from .derived import NAME, below, derived_spec, need_own_folder
from .joined import JoinSegments, join, undivided
from .prepared import Prepared, Split, category_items, check_begun, prepare
from .relabel import Convert, MaskFile, Relabel

JSON = "annotations.json"


def map_classes(
    dataset: str | os.PathLike, like: str | os.PathLike, classes: str | os.PathLike, output: str | os.PathLike, *, name: str = "", workers: int = 1
) -> Prepared:
    """Write ``output/dataset.yaml`` with its masks and JSON: ``dataset`` in the categories of ``like``; photos stay where they are.

    - Semantic: what is none of ours is unlabelled.
    - Panoptic: segments keep their ids; those of none of ours are void. Stuff of one category is one segment an image, and
      stuff that is a thing of ours is a crowd, since nobody told its objects apart.
    - Instance: objects of none of ours are left out: there is nothing to find, and what is found there is wrong.
    - Panoptic for a semantic training set: the category of each pixel.

    Args:
        dataset: the YAML of the dataset to be mapped. like: that of the training set.
        classes: a YAML file ``{theirs: ours or null}``, see :func:`read_class_map`.
        output: a folder of its own.
        name: of the result; by default the dataset's with ``_mapped``.
        workers: processes.

    Raises:
        SegGenError: a file cannot be read, the tasks do not go together, the mapping is not whole, or ``output`` was made with
            other options or holds what is given.
    """
    path, output = Path(dataset), Path(output)
    theirs, ours, spec = load_dataset(path), load_dataset(like), read_dataset_file(path)
    need_own_folder(spec, path, output)
    need_own_folder(read_dataset_file(like), Path(like), output)
    way = _WAYS.get((theirs.task, ours.task))
    if way is None:
        raise SegGenError(f"{like} and {dataset} are of tasks that do not go together", expected=" | ".join(f"{b} from {a}" for a, b in _WAYS),
                          found=f"{ours.task} from {theirs.task}", remedy="name a dataset of the training set's task")
    found = read_class_map(classes, theirs.categories, ours.categories)
    options = {"dataset": str(path.resolve()), "categories": ours.categories.to_json(), "classes": found.names}
    check_begun(output, options)
    job = _Job(path, spec, theirs, ours, found, output)
    keys, files, convert = way(job)
    split = Split(NAME, {**keys, "name": name or f"{spec.name}_mapped"}, files, [str(path), *([str(path.parent / spec.json)] if spec.json else [])])
    remarks = [*found.remarks(), *(undivided(found) if theirs.task == ours.task == "panoptic" else [])]
    return prepare(output, [split], convert, options, workers=workers, remarks=remarks)


@dataclass(frozen=True)
class _Job:
    """What every way of mapping works on; ``path`` is the file of ``spec`` and ``theirs``."""

    path: Path
    spec: DatasetFile
    theirs: Source
    ours: Source
    found: ClassMap
    output: Path

    @property
    def images(self) -> Path:
        return self.path.parent / self.spec.images

    @cached_property
    def file(self) -> CocoFile:
        """COCO's JSON."""
        return read_coco_file(self.path.parent / self.spec.json, categories=self.path.parent / self.spec.categories if self.spec.categories else "")

    @property
    def keys(self) -> dict[str, Any]:
        return derived_spec(self.spec, self.path, self.output)

    @property
    def label_space(self) -> dict[str, Any]:
        """The keys of a dataset of label maps."""
        return {"masks": "masks", "categories": category_items(self.found.ours), "ignore_id": self.found.ours.ignore_id}

    def mask(self, name: Path) -> str:
        """Where a mask goes."""
        return str(self.output / "masks" / name.with_suffix(".png"))


_Made = tuple[dict[str, Any], list[MaskFile], Convert | None]  # keys of the YAML, masks to convert, and how


def _semantic(job: _Job) -> _Made:
    files = [MaskFile(record["file_name"], record["sem_seg_file_name"], job.mask(below(record["file_name"], job.images)))
             for record in job.theirs.records()]
    return {**job.keys, **job.label_space}, files, Relabel(job.found.ours, changed=job.found.changes, given=job.found.theirs)


def _flat(job: _Job) -> _Made:
    """Semantic from panoptic: crowds are of their category."""
    files, names = [], []
    for record in job.theirs.records():
        name = below(record["file_name"], job.images)
        segments = tuple((info["id"], info["category_id"]) for info in record["segments_info"])
        files.append(MaskFile(record["file_name"], record["pan_seg_file_name"], job.mask(name), segments))
        names.append(name.with_suffix("").as_posix())
    write_list(job.output / "files.txt", names)
    keys = {"images": job.keys["images"], "files": "files.txt", **job.label_space}
    return keys, files, Relabel(job.found.ours, changed=job.found.changes, segments=True, given=job.found.theirs)


def _panoptic(job: _Job) -> _Made:
    numbers = {place: number for number, place in job.ours.numbers.items()}
    annotations, files = [], []
    for record in job.theirs.records():
        name = below(record["pan_seg_file_name"], job.path.parent / job.spec.masks)
        infos, ids = join(record["segments_info"], job.found)
        infos = [{**info, "category_id": numbers[info["category_id"]]} for info in infos]
        annotations.append({"image_id": record["image_id"], "file_name": name.as_posix(), "segments_info": infos})
        files.append(MaskFile(record["file_name"], record["pan_seg_file_name"], str(job.output / "masks" / name), tuple(ids.items())))
    _write_json(job, annotations)
    return {**_own_json(job), "masks": "masks"}, files, JoinSegments()


def _instance(job: _Job) -> _Made:
    numbers = {place: number for number, place in job.ours.numbers.items()}
    annotations = []
    job.theirs.records()  # everything is looked at before anything is written
    for item in job.file.annotations:
        place = job.theirs.numbers.get(item["category_id"])
        target = NONE if place is None else job.found.targets[place]  # None: stuff, which is no object
        if target != NONE:
            annotations.append({**item, "category_id": numbers[target]})
    _write_json(job, annotations)
    return _own_json(job), [], None


_WAYS: dict[tuple[str, str], Callable[[_Job], _Made]] = {  # (theirs, ours)
    ("semantic", "semantic"): _semantic,
    ("panoptic", "panoptic"): _panoptic,
    ("instance", "instance"): _instance,
    ("panoptic", "semantic"): _flat,
}


def _own_json(job: _Job) -> dict[str, Any]:
    """The keys of a dataset with the JSON that is written, which has its categories and no more images than were asked for."""
    return {key: value for key, value in job.keys.items() if key not in ("categories", "limit")} | {"json": JSON}


def _write_json(job: _Job, annotations: list[dict[str, Any]]) -> None:
    """Images that are used, ``annotations`` of these, and the training set's categories under their own numbers."""
    used = {record["image_id"] for record in job.theirs.records()}
    names = [{"id": number, "name": job.found.ours.names[place], "isthing": int(job.found.ours.items[place].isthing)}
             for number, place in job.ours.numbers.items()]
    data = json_bytes({"images": [image for image in job.file.images.values() if image["id"] in used],
                       "annotations": [item for item in annotations if item["image_id"] in used], "categories": names})
    path = job.output / JSON
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)

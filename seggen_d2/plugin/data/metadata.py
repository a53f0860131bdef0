"""What ``MetadataCatalog`` holds of a dataset: for this package's sources, and for a bank, of the dataset it is like."""

from __future__ import annotations

from typing import Any

from detectron2.data import MetadataCatalog

_FILES = ("_root", "_json", "_file", "_dir")  # ends of keys that lead to a dataset's own files


def metadata_like(like: str) -> dict[str, Any]:
    """The metadata of dataset ``like`` without its name and the locations of its files."""
    facts = MetadataCatalog.get(like).as_dict()
    return {key: value for key, value in facts.items() if key != "name" and not key.endswith(_FILES)}


def source_metadata(source: Any) -> dict[str, Any]:
    """What Detectron2's mappers, models and evaluators ask of a dataset's metadata."""
    names = list(source.categories.names)
    if source.task == "semantic":
        files = {"image_root": str(source.images), "sem_seg_root": str(source.masks)}
        ignore = source.categories.ignore_id
        return {**files, "stuff_classes": names, "ignore_label": ignore, "evaluator_type": "sem_seg"}
    things, stuff = (
        {number: place for number, place in source.numbers.items() if source.categories.items[place].isthing is kind}
        for kind in (True, False)
    )
    facts = {
        "image_root": str(source.images),
        "thing_classes": [names[place] for place in sorted(things.values())],  # as the instance metrics want them
        "thing_dataset_id_to_contiguous_id": things,
    }
    if source.task == "instance":
        return {**facts, "json_file": str(source.json), "evaluator_type": "coco"}
    return {
        **facts,
        "panoptic_root": str(source.masks),
        "panoptic_json": str(source.json),
        "stuff_classes": names,
        "stuff_dataset_id_to_contiguous_id": stuff,
        "ignore_label": source.categories.ignore_id,
        "label_divisor": 1000,
        "evaluator_type": "coco_panoptic_seg",
    }

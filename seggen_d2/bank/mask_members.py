"""The part of a bank's sample that comes from its mask: the PNG, the histogram, and segments or objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seggen_d2.segmentation import Categories, histogram, label_map_png
from seggen_d2.segmentation.masks import InstanceMask, Mask, stacking
from seggen_d2.segmentation.outlines import box_of, polygons_from_mask
from seggen_d2.segmentation.panoptic import panoptic_png
from seggen_d2.segmentation.rle import encode_mask
from seggen_d2.sources.coco_instance import XYWH_ABS

NO_OBJECT = "it holds no object but crowds, and hosts' mappers need one"
NO_LABEL = "none of its pixels is labelled"


def useless(mask: Mask) -> str:
    """Why a training can learn nothing from a mask; ``""`` where it can."""
    if isinstance(mask, InstanceMask):
        return NO_OBJECT if all(thing.iscrowd for thing in mask.objects) else ""
    return "" if (mask.labels() != mask.ignore_id).any() else NO_LABEL


def mask_members(mask: Mask, categories: Categories) -> dict[str, Any]:
    """Keyword arguments of :class:`Sample`: ``mask``, ``histogram``, and ``segments`` or ``annotations``.

    Objects keep all of their pixels, whatever lies over them.
    """
    if mask.task == "semantic":
        return {"mask": label_map_png(mask.labels()), "histogram": histogram(mask.labels(), categories)}
    if mask.task == "panoptic":
        return panoptic_members(mask.ids, [vars(segment) for segment in mask.segments], categories)
    things = [({"category_id": thing.category_id, "iscrowd": int(thing.iscrowd)}, thing.mask) for thing in mask.objects]
    return instance_members(things, mask.shape, categories)


def panoptic_members(
    ids: np.ndarray, segments: Sequence[dict[str, Any]], categories: Categories, png: bytes = b""
) -> dict[str, Any]:
    """A panoptic sample's.

    Args:
        ids: ``(H, W)`` segment ids; 0 is none.
        segments: ``id``, ``category_id``, ``iscrowd`` of each, and ``bbox`` and ``area`` where a dataset tells them;
            those without a pixel are left out.
        png: the bytes of ``ids`` as PNG, where they are at hand.
    """
    areas = dict(zip(*(values.tolist() for values in np.unique(ids, return_counts=True)), strict=True))
    shown = [segment for segment in segments if segment["id"] in areas]
    pixels = np.zeros(len(categories), np.int64)
    for segment in shown:
        pixels[segment["category_id"]] += areas[segment["id"]]
    facts = [
        {"id": s["id"], "category_id": s["category_id"], "iscrowd": int(s["iscrowd"]),
         "bbox": s["bbox"] if "bbox" in s else box_of(ids == s["id"]), "area": s.get("area", areas[s["id"]])}
        for s in shown
    ]
    return {"mask": png or panoptic_png(ids), "histogram": pixels, "segments": tuple(facts)}


def instance_members(objects: Sequence[tuple[dict[str, Any], np.ndarray]], shape: tuple[int, int], categories: Categories) -> dict[str, Any]:
    """An instance sample's.

    Args:
        objects: ``category_id``, ``iscrowd``, and what a dataset tells of ``bbox``, ``bbox_mode``, ``area`` and
            ``segmentation`` (polygons), with the object's ``(H, W)`` bool mask; those without a pixel are left out.
        shape: height and width.
    """
    found = [(part, mask) for part, mask in objects if mask.any()]
    found = [found[place] for place in stacking([mask for _, mask in found])]
    ids, pixels = np.zeros(shape, np.int32), np.zeros(len(categories), np.int64)
    for number, (_, mask) in enumerate(found, start=1):
        ids[mask] = number
    for (part, _), count in zip(found, np.bincount(ids.ravel(), minlength=len(found) + 1)[1:], strict=True):
        pixels[part["category_id"]] += count
    annotations = tuple(_object(part, mask, number) for number, (part, mask) in enumerate(found, start=1))
    return {"mask": panoptic_png(ids), "histogram": pixels, "annotations": annotations}


def _object(part: dict[str, Any], mask: np.ndarray, number: int) -> dict[str, Any]:
    drawn = part.get("segmentation")
    box = {"bbox": part["bbox"], "bbox_mode": part["bbox_mode"]} if "bbox" in part else {"bbox": box_of(mask), "bbox_mode": XYWH_ABS}
    return {
        "id": number,
        "category_id": part["category_id"],
        "iscrowd": part["iscrowd"],
        **box,
        "area": part.get("area", int(np.count_nonzero(mask))),
        "segmentation": [[float(v) for v in p] for p in drawn] if isinstance(drawn, list) else polygons_from_mask(mask),
        "rle": encode_mask(mask),
    }

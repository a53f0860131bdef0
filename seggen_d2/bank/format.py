"""Version 1 of the bank format: names, samples, and the bytes of a shard.

A shard is a POSIX ustar archive in the WebDataset convention: for each sample, in order, ``KEY.jpg`` (the image),
``KEY.png`` (the mask) and ``KEY.json`` (where it comes from). Headers carry no time, owner or host, and are laid out
here rather than by ``tarfile``, so the bytes depend on the samples alone, whatever the Python version.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories

FORMAT_VERSION = 1
TASKS = ("semantic", "panoptic", "instance")
PARTS = {"panoptic": "segments_info", "instance": "annotations"}  # a record's and KEY.json's key of each task
UNLABELLED = "unlabelled"  # the strategy of images that were painted without a mask; theirs are wholly ignored
KINDS = ("jpg", "png", "json")  # the members of a sample, in the order of the archive
BLOCK = 512  # ustar pads headers and members to it
RECORD = 10240  # ustar pads the archive to it
NAME = re.compile(r"[A-Za-z0-9_-]{1,90}")  # WebDataset splits a member's name at its first dot
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")


@dataclass(frozen=True, eq=False)
class Sample:
    """One synthetic image with its mask.

    Args:
        key: unique in the bank; letters, digits, ``-`` and ``_``.
        image: JPEG bytes, RGB.
        mask: PNG bytes, of the image's size: category ids (semantic), or RGB ids of segments (panoptic) or of
            objects (instance; where they overlap the smallest shows, and ``annotations`` tell the whole).
        source_id: ``image_id`` of the real record that it comes from.
        strategy: ``"masksyn"``, ``"imgsyn"``, ``"unlabelled"``, ``"annotator"``, or another word for how imported samples were made.
        seed: the sample's own seed, in [0, 2**63).
        caption: the text that it was made from.
        height: pixels.
        width: pixels.
        histogram: ``(N,)`` integers, pixels of each category; ignored pixels count nowhere.
        segments: of a panoptic sample: ``id, category_id`` (the bank's), ``iscrowd, bbox`` (x, y, width, height), ``area`` of each.
        annotations: of an instance sample: ``category_id, iscrowd, bbox, bbox_mode, area, segmentation`` (polygons,
            for programs that take nothing else) and ``rle`` (the exact mask) of each object.
    """

    key: str
    image: bytes
    mask: bytes
    source_id: str
    strategy: str
    seed: int
    caption: str
    height: int
    width: int
    histogram: np.ndarray
    segments: tuple[dict[str, Any], ...] = ()
    annotations: tuple[dict[str, Any], ...] = ()

    def members(self) -> dict[str, bytes]:
        """The bytes of each member by its kind (``jpg``, ``png``, ``json``)."""
        facts = {
            name: getattr(self, name) for name in ("key", "source_id", "strategy", "seed", "caption", "height", "width")
        }
        parts = {PARTS["panoptic"]: self.segments, PARTS["instance"]: self.annotations}
        facts |= {name: values for name, values in parts.items() if values}
        text = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return {"jpg": self.image, "png": self.mask, "json": text.encode()}


def record_parts(task: str, facts: dict[str, Any], categories: Categories, mask: str) -> dict[str, Any]:
    """What a record of ``task`` holds beside an image's facts.

    Args:
        task: ``"panoptic"`` or ``"instance"``.
        facts: KEY.json.
        categories: the bank's.
        mask: path of the mask.
    """
    parts = facts.get(PARTS[task], [])
    if task == "instance":
        return {"annotations": parts}
    segments = [{**part, "isthing": categories.items[part["category_id"]].isthing} for part in parts]
    return {"pan_seg_file_name": mask, "segments_info": segments}


@dataclass(frozen=True)
class Rejection:
    """A planned sample that was made and refused, and why; it holds a place in the plan and none in the shard."""

    key: str
    source_id: str
    reason: str


def index_name(shard: str) -> str:
    """A shard's index, as a name in its bank's store."""
    return f"index/{shard}.parquet"


def tar_name(shard: str) -> str:
    """A shard's archive, as a name in its bank's store."""
    return f"shards/{shard}.tar"


def index_path(root: Path, shard: str) -> Path:
    """A shard's index in a local bank."""
    return root / index_name(shard)


def tar_path(root: Path, shard: str) -> Path:
    """A shard's archive in a local bank."""
    return root / tar_name(shard)


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it can stand in a member's name and in a ``bank://`` path.

    Raises:
        SegGenError: it holds other characters, or is empty or too long.
    """
    if not NAME.fullmatch(name):
        raise SegGenError(
            f"{what} cannot be used as a name", expected="1 to 90 letters, digits, '-' or '_'", found=repr(name)
        )
    return name


def member_offsets(lengths: Sequence[int]) -> tuple[list[int], int]:
    """Where each member's data starts, and the length of the whole archive, in bytes."""
    offsets, end = [], 0
    for length in lengths:
        offsets.append(end + BLOCK)
        end += BLOCK + _padded(length, BLOCK)
    return offsets, _padded(end + 2 * BLOCK, RECORD)


def tar_blocks(members: Sequence[tuple[str, bytes]]) -> Iterator[bytes]:
    """The archive of ``(name, data)`` members, piece by piece."""
    written = 0
    for name, data in members:
        yield from (tar_header(name, len(data)), data, bytes(-len(data) % BLOCK))
        written += BLOCK + _padded(len(data), BLOCK)
    yield bytes(_padded(written + 2 * BLOCK, RECORD) - written)


def tar_header(name: str, length: int) -> bytes:
    """A ustar header (POSIX.1-1988) of a plain file, mode 644, owner 0, time 0."""
    fields = [
        name.encode(),
        b"0000644\0",
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % length,
        b"%011o\0" % 0,
        b" " * 8,
        b"0",
        b"",
        b"ustar\0",
        b"00",
        b"",
        b"",
        b"0000000\0",
        b"0000000\0",
        b"",
    ]
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)


def _padded(length: int, unit: int) -> int:
    return -(-length // unit) * unit

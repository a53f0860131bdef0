"""Which images train and which validate: by lists, by a share that follows from their names alone, or a few spread evenly."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import read_bytes, write_bytes
from seggen_d2.foundation.seeds import unit_float

FEW = 50  # groups: under it a share by draws alone may be far off


def read_list(path: str | os.PathLike) -> tuple[str, ...]:
    """The image ids of a text file, one a line; empty lines and those after ``#`` are none.

    Raises:
        SegGenError: the file is missing or empty.
    """
    lines = read_bytes(path, "list of images").decode("utf-8", "replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def write_list(path: str | os.PathLike, ids: Sequence[str]) -> None:
    """The inverse of :func:`read_list`."""
    write_bytes(path, "".join(f"{image_id}\n" for image_id in ids).encode())


def split_ids(ids: Sequence[str], val_share: float, group_pattern: str = "") -> tuple[list[str], list[str]]:
    """Two lists, to train on and to validate on, in the order given.

    An image's place follows from its group's name (BLAKE2, ``foundation.seeds``), so new images move no old one. Under
    50 groups, where such draws miss the share by far, the groups of the lowest draws validate, one at least.

    Args:
        ids: image ids.
        val_share: share of the groups to validate on, in (0, 1).
        group_pattern: a regular expression that finds the group in an id, the first of its own groups or all that it
            matches: frames of one video must stand on one side. Without it each image is a group.

    Raises:
        SegGenError: the share is out of range, the pattern is none or finds nothing in an id, or there is one group.
    """
    check_range("val_share", val_share, 1e-6, 1 - 1e-6)
    groups = [group_of(image_id, group_pattern) for image_id in ids]
    draws = {group: unit_float("split", group) for group in groups}
    if len(draws) < 2:
        raise SegGenError("there is nothing to split", expected="two images or groups of images at least",
                          found=f"{len(ids)} images in {len(draws)} groups", remedy="mend the group pattern, or give the validation images by a list")
    ranked = sorted(draws, key=draws.__getitem__)
    count = sum(draw < val_share for draw in draws.values()) if len(draws) >= FEW else round(val_share * len(draws))
    validated = set(ranked[: min(max(count, 1), len(ranked) - 1)])
    sides = {image_id: group in validated for image_id, group in zip(ids, groups, strict=True)}
    return [i for i in ids if not sides[i]], [i for i in ids if sides[i]]


def spread_ids(ids: Sequence[str], count: int) -> list[str]:
    """``count`` of ``ids``, spread evenly over their order: the middles of as many equal parts.

    Raises:
        SegGenError: the count is not of 1 to as many as there are.
    """
    check_range("count", count, 1, len(ids))
    return [ids[(2 * part + 1) * len(ids) // (2 * count)] for part in range(count)]


def group_of(image_id: str, pattern: str) -> str:
    """The group of an image; see :func:`split_ids`."""
    if not pattern:
        return image_id
    try:
        found = re.search(pattern, image_id)
    except re.error as error:
        raise SegGenError(f"the group pattern {pattern!r} is no regular expression", found=str(error)) from error
    if not found:
        raise SegGenError(f"the group pattern {pattern!r} finds nothing in {image_id!r}", expected="a group in each image's id",
                          remedy="mend the pattern: '^[^_]+' takes what stands before the first underscore")
    return found.group(1) if found.re.groups else found.group()

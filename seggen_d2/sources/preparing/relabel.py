"""Masks as people have them to masks as training reads them: ids from 0, one id for unlabelled, PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_bytes
from seggen_d2.segmentation import Categories, check_labels, label_map_png, read_label_map
from seggen_d2.segmentation.masks import Segment, SegmentMask
from seggen_d2.segmentation.panoptic import read_panoptic_png

from ..parallel import mapped
from ..records import image_size
from .color_table import ColorTable


@dataclass(frozen=True)
class MaskFile:
    """A mask to look at, and to write where it changes.

    Attributes:
        photo: its photo.
        mask: as it is.
        output: where it goes; "" keeps it where it is.
        segments: for panoptic masks, ``(id, contiguous category)`` of each; or the id that each gets.
    """

    photo: str
    mask: str
    output: str = ""
    segments: tuple[tuple[int, int], ...] = ()


Convert = Callable[[MaskFile], str]  # tells what was wrong with a mask, or ""; its repr tells one way of converting from another


@dataclass(frozen=True)
class Relabel:
    """``relabel(file)`` reads a mask, checks it, and writes it where it has an output. One process or many may do it.

    Args:
        categories: of the result.
        colors: the table of RGB masks; None where masks hold ids.
        changed: ``(from, to)`` of ids that change, after colours; all others stay.
        segments: masks are panoptic: each segment becomes its category.
        given: the label space before ids change, where ids outside it are an error; None takes any.
    """

    categories: Categories
    colors: ColorTable | None = None
    changed: tuple[tuple[int, int], ...] = ()
    segments: bool = False
    given: Categories | None = None

    @property
    def keeps(self) -> bool:
        """Whether masks may stay as they are."""
        return not (self.colors or self.changed or self.segments)

    def __call__(self, file: MaskFile) -> str:
        return converted(file, self.labels, label_map_png)

    def labels(self, file: MaskFile) -> np.ndarray:
        """``(H, W)`` ids of the result.

        Raises:
            SegGenError: the mask cannot be read, or holds what is no category.
        """
        if self.segments:
            segments = tuple(Segment(number, category) for number, category in file.segments)
            labels = SegmentMask(read_panoptic_png(file.mask), segments, (self.given or self.categories).ignore_id).labels()
        else:
            labels = self.colors.labels(file.mask) if self.colors else _ids(file.mask)
        if self.given:
            check_labels(labels, self.given, file.mask)
        if self.changed:
            table = np.arange(max(int(labels.max(initial=0)), *(old for old, _ in self.changed)) + 1)
            table[[old for old, _ in self.changed]] = [new for _, new in self.changed]
            labels = table[labels]
        check_labels(labels, self.categories, file.mask)
        return labels


def converted(file: MaskFile, read: Callable[[MaskFile], np.ndarray], encode: Callable[[np.ndarray], bytes]) -> str:
    """Read and check a mask, write it where it has an output; what was wrong with it, or "".

    An output that bears its mask's time and has its photo's size is left.

    Args:
        file: what to look at.
        read: gives ``(H, W)`` ids of the result.
        encode: makes a PNG of them.
    """
    try:
        size = image_size(file.photo)
        if not file.output or not _is_made(file, size):
            _make(file, size, read, encode)
    except SegGenError as error:
        return str(error)
    return ""


def _make(file: MaskFile, size: tuple[int, int], read: Callable[[MaskFile], np.ndarray], encode: Callable[[np.ndarray], bytes]) -> None:
    times, labels = os.stat(file.mask), read(file)
    if labels.shape != size:
        turned = "turn the photo's pixels as its EXIF data tell (exiftran -ai, jhead -autorot), or the mask"
        raise SegGenError(f"image {file.photo} and its mask {file.mask} differ in size", expected=f"a mask of {size[0]} x {size[1]} (H x W)",
                          found=f"{labels.shape[0]} x {labels.shape[1]}",
                          remedy=turned if labels.shape == size[::-1] else "pair each image with its own mask")
    if file.output:
        write_bytes(file.output, encode(labels))
        os.utime(file.output, ns=(times.st_atime_ns, times.st_mtime_ns))  # another mask, be it an older one, is told by it


def _ids(path: str) -> np.ndarray:
    try:
        return read_label_map(path)
    except SegGenError as error:
        if "holds colours" not in error.problem:
            raise
        raise SegGenError(error.problem, expected=error.expected, found=error.found,
                          remedy="give the table of its colours: --colors TABLE (datasets/README.md)") from error


def _is_made(file: MaskFile, size: tuple[int, int]) -> bool:
    output = Path(file.output)
    if not output.is_file() or output.stat().st_mtime_ns != os.stat(file.mask).st_mtime_ns:
        return False
    return image_size(file.output) == size


def convert_all(convert: Callable[[Any], str], files: Sequence[Any], workers: int, what: str, kind: str = "masks") -> None:
    """``convert`` all ``files``, which tells what was wrong with one, or "".

    Raises:
        SegGenError: some cannot be used: how many, and the first in full. All others are done.
    """
    faults = [fault for fault in mapped(convert, files, workers, what) if fault]
    if faults:
        raise SegGenError(f"{len(faults)} of {len(files)} {kind} cannot be used; the first:\n{_indented(faults[0])}",
                          remedy="mend or take out these, then give the same command again: the others are kept. All of them: "
                          "python -m seggen_d2.sources check FOLDER --all")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())

"""Writes a bank out for programs that know nothing of banks: folders, COCO JSON, WebDataset shards, Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import full_disk_told

from ..format import check_name
from .begin import alone_in, begin_export
from .coco import MASKS, export_coco
from .folders import export_ade20k
from .rows import export_parquet
from .tars import export_webdataset

if TYPE_CHECKING:
    from ..reader import Bank

FORMATS: dict[str, Callable[..., Path]] = {
    "ade20k": export_ade20k,
    "coco": export_coco,
    "webdataset": export_webdataset,
    "parquet": export_parquet,
}
_OWN = {"ade20k": ("split", "shift"), "coco": ("split", "masks"), "webdataset": (), "parquet": ("split", "file_bytes")}


@dataclass(frozen=True)
class ExportOptions:
    """How a bank is written out.

    Attributes:
        format: ``ade20k`` (semantic banks: folders of images and masks), ``coco`` (folders and JSON), ``webdataset``
            (tar shards) or ``parquet`` (tables for Hugging Face ``datasets``).
        split: names folders and files; "" for none. Not for ``webdataset``, whose shards keep their names.
        shift: added to the ids of ``ade20k`` masks. 1 makes ignored pixels 0 and the first category 1, as in ADE20K's
            own release.
        masks: of objects in ``coco``: ``polygons``, which every reader takes, or ``rle``, the exact masks.
        file_bytes: about how large each ``parquet`` file is.
    """

    format: str
    split: str = "train"
    shift: int = 0
    masks: str = "polygons"
    file_bytes: int = 2**28

    def __post_init__(self) -> None:
        check_choice("format", self.format, FORMATS)
        self._check_heeded()
        check_range("shift", self.shift, 0, 1)
        check_choice("masks", self.masks, MASKS)
        check_range("file_bytes", self.file_bytes, 1, 2**40)
        if self.split:
            check_name(self.split, "the split")

    def _check_heeded(self) -> None:
        given = [each.name for each in fields(self)[1:] if getattr(self, each.name) != each.default]
        idle = [name for name in given if name not in _OWN[self.format]]
        if idle:
            raise SegGenError(f"format {self.format} has no use for {', '.join(idle)}", expected=", ".join(_OWN[self.format]) or "no option",
                              found=", ".join(f"{name} {getattr(self, name)!r}" for name in idle), remedy="leave it out, or choose another format")

    def own(self) -> dict[str, str | int]:
        """Those that the format heeds, by name."""
        return {name: getattr(self, name) for name in _OWN[self.format]}


def export_bank(bank: Bank, folder: str | os.PathLike, options: ExportOptions) -> Path:
    """Write ``bank`` into ``folder``; the same call goes on after any stop, and does nothing twice.

    ``LICENCES.json`` beside the data tells the models that made it and their licences. Members are compared with their
    checksums where the bank was opened with ``check=True``.

    Returns:
        The file or folder that readers are given.

    Raises:
        SegGenError: ``folder`` was begun with another bank or other options, the format does not fit the bank's task
            (nothing is written then), another process exports into it, a member is damaged, or the disk is too small.
    """
    folder = Path(folder)
    if options.format == "ade20k" and bank.info.task != "semantic":
        raise SegGenError(f"bank {bank.name} cannot be written in ADE20K's style", expected="a semantic bank",
                          found=f"a bank for task {bank.info.task}", remedy="use --format coco")
    with full_disk_told(folder), alone_in(folder):
        begin_export(bank, folder, {"format": options.format, **options.own()})
        return FORMATS[options.format](bank, folder, **options.own())


def export_folders(bank: Bank, folder: str | os.PathLike) -> Path:
    """:func:`export_bank` as plain folders that ``seggen_d2.sources.load_dataset`` reads, masks exactly as they are.

    Semantic masks go to ``annotations/KEY.png``, beside ``images/KEY.jpg``; the other tasks become COCO's format, with
    images and categories numbered from 1, in the bank's order.

    Returns:
        The path of ``dataset.yaml``.
    """
    semantic = bank.info.task == "semantic"
    return export_bank(bank, folder, ExportOptions("ade20k", split="") if semantic else ExportOptions("coco", split="", masks="rle"))


__all__ = ["FORMATS", "ExportOptions", "export_bank", "export_folders"]

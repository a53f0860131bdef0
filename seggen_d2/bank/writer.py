"""Writes a bank, shard by shard. A shard exists whole or not at all; finished shards are the resume state."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside, write_bytes, write_json

from .format import KINDS, Rejection, Sample, check_name, index_path, tar_blocks, tar_path
from .index import index_bytes, index_rows, shard_problem
from .info import INFO_FILE, BankInfo, check_same_info, read_info
from .parts import check_parts

_logger = logging.getLogger(__name__)


class BankWriter:
    """Writes the shards of one job.

    Any number of writers, on any number of machines, can work on one bank at once, each on shards of its own: there
    is no lock and no shared file besides ``bank.json``, which the first one writes.

    Args:
        root: the bank's folder; made if it is missing.
        info: what the bank is. If the folder holds a bank already, it must be the same.

    Raises:
        SegGenError: the folder holds a bank of another job, task, categories, palette or generators, or shards
            without a ``bank.json``; nothing is changed then.
    """

    def __init__(self, root: str | os.PathLike, info: BankInfo):
        self.root = Path(root)
        self.info = info
        path = self.root / INFO_FILE
        if not path.exists():
            _refuse_orphans(self.root)
            write_json(path, info.to_json())
        check_same_info(info, read_info(self.root), self.root)  # read back: another process may have been first
        _sweep(path)

    def is_finished(self, shard: str) -> bool:
        """Whether ``shard`` is there and whole; one that is cut short is named in a logged warning."""
        problem = shard_problem(self.root, shard)
        begun = index_path(self.root, shard).exists() or tar_path(self.root, shard).exists()
        if problem and begun:
            _logger.warning("shard %s of bank %s is not whole (%s): it has to be made again", shard, self.root, problem)
        return not problem

    def write_shard(self, shard: str, samples: Sequence[Sample], rejections: Sequence[Rejection] = ()) -> None:
        """Write a shard; one that is finished already is left as it is.

        Equal samples give an equal archive, byte for byte, and under one pyarrow version an equal index.

        Args:
            shard: its name, for example ``"imgsyn-00000"``.
            samples: in the order of the plan; may be empty where all were rejected.
            rejections: planned samples that were refused.

        Raises:
            SegGenError: a sample does not fit the bank, or the disk is full; the shard does not exist then.
        """
        check_name(shard, "shard")
        self._check(shard, samples)
        if not shard_problem(self.root, shard):
            return
        members = [sample.members() for sample in samples]
        rows, tar_bytes = index_rows(samples, members)
        index, tar = index_path(self.root, shard), tar_path(self.root, shard)
        try:
            tar.unlink(missing_ok=True)  # one that is cut short must never meet the new index
            write_bytes(index, index_bytes(rows, tar_bytes, rejections))
            _write_tar(
                tar,
                [
                    (f"{sample.key}.{kind}", parts[kind])
                    for sample, parts in zip(samples, members, strict=True)
                    for kind in KINDS
                ],
            )
        except FileNotFoundError:
            if shard_problem(self.root, shard):
                raise
            # a second writer of the same shard finished it and swept this one's temporary file away
        _sweep(index)
        _sweep(tar)

    def _check(self, shard: str, samples: Sequence[Sample]) -> None:
        seen: set[str] = set()
        for sample in samples:
            where = f"sample {sample.key} of shard {shard}"
            check_name(sample.key, f"the key of a sample of shard {shard}")
            if sample.key in seen:
                raise SegGenError(
                    f"{where} appears twice", expected="keys that differ", remedy="number the samples by the plan"
                )
            seen.add(sample.key)
            _check_sizes(sample, where)
            _check_facts(sample, len(self.info.categories), where)
            check_parts(sample, self.info.task, len(self.info.categories), where)


def _write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with write_aside(path) as aside, open(aside, "wb") as file:
        file.writelines(tar_blocks(members))


def _check_sizes(sample: Sample, where: str) -> None:
    for name, data, kind in (("image", sample.image, "JPEG"), ("mask", sample.mask, "PNG")):
        try:
            with Image.open(io.BytesIO(data)) as image:
                found, size = image.format, (image.height, image.width)
        except (UnidentifiedImageError, OSError) as error:
            raise SegGenError(
                f"the {name} of {where} cannot be read", expected=f"a {kind}", found=str(error)
            ) from error
        if (found, size) != (kind, (sample.height, sample.width)):
            raise SegGenError(
                f"the {name} of {where} does not fit its record",
                expected=f"{kind}, {sample.height} x {sample.width} (H x W)",
                found=f"{found}, {size[0]} x {size[1]}",
                remedy="an image and its mask have one size",
            )


def _check_facts(sample: Sample, categories: int, where: str) -> None:
    histogram = np.asarray(sample.histogram)
    fits = histogram.shape == (categories,) and histogram.dtype.kind in "iu"
    if not fits or histogram.min() < 0 or histogram.sum() > sample.height * sample.width:
        raise SegGenError(
            f"the histogram of {where} does not fit",
            found=f"shape {histogram.shape} {histogram.dtype}, sum {histogram.sum()}",
            expected=f"{categories} pixel counts, at most {sample.height * sample.width} together",
        )
    if not 0 <= sample.seed < 2**63:
        raise SegGenError(f"the seed of {where} is out of range", expected="0 <= seed < 2**63", found=str(sample.seed))
    for name in ("source_id", "strategy", "caption"):
        if "\0" in getattr(sample, name):
            raise SegGenError(f"the {name} of {where} holds a NUL character", found=repr(getattr(sample, name))[:80])


def _refuse_orphans(root: Path) -> None:
    """Shards whose ``bank.json`` is lost can't be told from those of another job."""
    orphans = sorted(path.name for folder in ("index", "shards") for path in (root / folder).glob("[!.]*"))
    if orphans:
        raise SegGenError(
            f"{root} holds shards but no {INFO_FILE}",
            expected="a bank, or a folder without shards",
            found=", ".join(orphans[:5]) + (", ..." if len(orphans) > 5 else ""),
            remedy=f"bring {INFO_FILE} back, or write to another folder",
        )


def _sweep(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it: temporary files last written before it was finished."""
    finished = path.stat().st_mtime_ns
    for aside in path.parent.glob(f".{path.name}.*.part"):
        try:
            if aside.stat().st_mtime_ns < finished:
                aside.unlink()
        except FileNotFoundError:  # its writer was quicker
            continue

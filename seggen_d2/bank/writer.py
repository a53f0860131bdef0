"""Writes a bank, shard by shard. A shard exists whole or not at all; finished shards are the resume state."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import json_bytes
from seggen_d2.foundation.pictures import open_picture

from .format import KINDS, Rejection, Sample, check_name, index_name, tar_blocks, tar_name
from .index import index_bytes, index_rows
from .info import INFO_FILE, BankInfo, check_same_info, read_info
from .parts import check_parts
from .shards import Shards, shard_problem
from .store import open_store
from .store_protocol import Store
from .verify import shard_damage

_logger = logging.getLogger(__name__)


class BankWriter:
    """Writes the shards of one job.

    Any number of writers, on any number of machines, can work on one bank at once, each on shards of its own: there
    is no lock and no shared file besides ``bank.json``, which the first one writes.

    Args:
        root: the bank's folder, made if it is missing; or an fsspec URL such as ``s3://bucket/bank``.
        info: what the bank is. If the folder holds a bank already, it must be the same.

    Raises:
        SegGenError: the folder holds a bank of another job, task, categories, palette or generators, or shards
            without a ``bank.json``; nothing is changed then.
    """

    def __init__(self, root: str | os.PathLike, info: BankInfo):
        self.store = open_store(root)
        self.root, self.info = self.store.root, info
        if not self.store.facts(INFO_FILE):
            _refuse_orphans(self.store)
            self.store.create(INFO_FILE, json_bytes(info.to_json()))
        check_same_info(info, read_info(self.root), self.root)  # read back: another process may have been first
        self.store.sweep(INFO_FILE)

    def is_finished(self, shard: str, check: bool = False) -> bool:
        """Whether ``shard`` is there and whole; one that is not is named in a logged warning.

        Args:
            shard: its name.
            check: read it, and compare every byte with what its index tells (:func:`shard_damage`).
        """
        problem = shard_problem(self.store, shard)
        return self._tell(shard, problem or (self._damage(shard) if check else ""))

    def finished(self, shards: Iterable[str], check: bool = False) -> set[str]:
        """Those of ``shards`` that :meth:`is_finished`, by two listings: on an object store far fewer requests than one by one."""
        found = Shards(self.store)
        begun = {*found.begun}
        problems = found.problems([shard for shard in shards if shard in begun])
        whole = {shard for shard, problem in problems.items() if self._tell(shard, problem)}
        if not check:
            return whole
        bar = tqdm(sorted(whole), desc="check", unit="shard", mininterval=1, disable=None)
        return {shard for shard in bar if self._tell(shard, self._damage(shard))}

    def _tell(self, shard: str, problem: str) -> bool:
        if problem and any(self.store.facts(name) for name in (index_name(shard), tar_name(shard))):
            _logger.warning("shard %s of bank %s is not whole (%s): it has to be made again", shard, self.root, problem)
        return not problem

    def _damage(self, shard: str) -> str:
        return "; ".join(damage.problem for damage in shard_damage(self.store, shard)[:3])

    def write_shard(self, shard: str, samples: Sequence[Sample], rejections: Sequence[Rejection] = ()) -> None:
        """Write a shard; one that is finished already, and sound to the last byte, is left as it is.

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
        if not shard_problem(self.store, shard) and not self._damage(shard):
            return
        members = [sample.members() for sample in samples]
        rows, tar_bytes = index_rows(samples, members)
        named = [(f"{sample.key}.{kind}", parts[kind]) for sample, parts in zip(samples, members, strict=True) for kind in KINDS]
        try:
            self.store.remove(tar_name(shard))  # one that is cut short must never meet the new index
            self.store.write(index_name(shard), [index_bytes(rows, tar_bytes, rejections)])
            self.store.write(tar_name(shard), tar_blocks(named))
        except FileNotFoundError:
            if shard_problem(self.store, shard):
                raise
            # a second writer of the same shard finished it and swept this one's temporary file away
        for name in (index_name(shard), tar_name(shard)):
            self.store.sweep(name)

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


def _check_sizes(sample: Sample, where: str) -> None:
    for name, data, kind in (("image", sample.image, "JPEG"), ("mask", sample.mask, "PNG")):
        with open_picture(data, f"the {name} of {where}", f"a {kind}") as image:
            found, size = image.format, (image.height, image.width)
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


def _refuse_orphans(store: Store) -> None:
    """Shards whose ``bank.json`` is lost can't be told from those of another job."""
    orphans = sorted(name.rpartition("/")[2] for folder in ("index", "shards") for name in store.listing(folder))
    if orphans and not store.facts(INFO_FILE):  # asked again: another process of the job may have begun the bank meanwhile
        raise SegGenError(
            f"{store.root} holds shards but no {INFO_FILE}",
            expected="a bank, or a folder without shards",
            found=", ".join(orphans[:5]) + (", ..." if len(orphans) > 5 else ""),
            remedy=f"bring {INFO_FILE} back, or write to another folder",
        )

"""The annotator-based baseline: an unlabelled bank, labelled by a segmenter, as a bank that trains like any other.

The images are copied byte for byte. Shard for shard, and finished shards are the resume state: the bank's bytes are those
of an uninterrupted run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from seggen_d2.bank import Bank, BankInfo, BankWriter, Rejection, Sample
from seggen_d2.bank.format import UNLABELLED, index_name
from seggen_d2.bank.mask_members import mask_members, useless
from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import json_bytes
from seggen_d2.foundation.processes import memory_told
from seggen_d2.foundation.seeds import fingerprint, fingerprint_of_files
from seggen_d2.modeling import load_mask2former
from seggen_d2.modeling.checkpoint import check_weights
from seggen_d2.segmentation.masks import Mask

from .annotator import LEAST, Annotator
from .samples import batches

STRATEGY = "annotator"
FACTS_FILE = "labels.json"  # beside the bank, as it tells paths
_COLUMNS = ("key", "source_id", "seed", "caption", "height", "width")


@dataclass(frozen=True)
class AnnotationOptions:
    """How a bank is labelled.

    Attributes:
        confidence: what is less sure is left unlabelled (:class:`.annotator.Annotator`); None is 0.5 for instance banks, else 0.
        batch: images that the segmenter sees at once, all of one size.
        threads: CPU threads; part of what the bank is, like ``batch``, since sums round by them.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda:0``, ...
    """

    confidence: float | None = None
    batch: int = 16
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        check_range("confidence", self.confidence or 0.0, 0, 1)
        check_range("batch", self.batch, 1, 10**4)
        check_range("threads", self.threads, 1, 1024)


class Annotation:
    """A bank in the making: an unlabelled one, a segmenter, and where the labelled one is written.

    Args:
        bank: folder or URL of a bank of the strategy ``unlabelled``.
        segmenter: a finished run's folder, or a transformers folder; of the bank's categories.
        output: folder or URL of the labelled bank.
        options: how.

    Raises:
        SegGenError: the bank is not there, holds no sample, or is labelled already; there is no segmenter, or it is of other
            categories; or the output was begun with another bank, segmenter or options.
    """

    def __init__(self, bank: str | os.PathLike, segmenter: str | os.PathLike, output: str | os.PathLike, options: AnnotationOptions):
        self.bank, self.segmenter, self.options = Bank(bank, check=True), segmenter, options
        self.task, self.categories = self.bank.info.task, self.bank.info.categories
        self._check_bank()
        self.confidence = LEAST[self.task] if options.confidence is None else options.confidence
        self.model = load_mask2former(segmenter, self.categories)
        self.weights = fingerprint_of_files(check_weights(segmenter))
        self.writer = BankWriter(output, self.info())

    def _check_bank(self) -> None:
        strategy = self.bank.info.job.get("strategy", "none told")
        if strategy != UNLABELLED:
            raise SegGenError(f"bank {self.bank.root} is labelled already", expected=f"a bank of the strategy {UNLABELLED}", found=f"strategy {strategy}",
                              remedy="make one: python tools/synthesize.py --strategy unlabelled")
        if not len(self.bank):
            raise SegGenError(f"bank {self.bank.root} holds no sample", expected="1 or more", found="0", remedy="let its synthesis go on")

    def info(self) -> BankInfo:
        """The labelled bank's description: the unlabelled one's, and who labelled it, without paths."""
        source = self.bank.info
        facts = {"confidence": self.confidence, "batch": self.options.batch, "threads": self.options.threads,
                 "images": fingerprint(json_bytes(source.to_json()))}
        return BankInfo(source.task, source.categories, source.palette, (*source.generators, {"kind": "segmenter", "fingerprint": self.weights}),
                        {**source.job, "strategy": STRATEGY, "annotation": facts})

    @cached_property
    def annotator(self) -> Annotator:
        torch.set_num_threads(self.options.threads)
        wanted = self.options.device
        device = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
        return Annotator(self.model.to(device), self.task, self.categories, self.confidence)

    def missing(self, shards: Sequence[str], check: bool = True) -> list[str]:
        """Those of the unlabelled bank's shards whose labelled one is not whole; ``check`` compares every byte with its checksum."""
        finished = self.writer.finished(map(_renamed, shards), check)
        return [name for name in shards if _renamed(name) not in finished]

    def run(self, shards: Sequence[str]) -> None:
        """Label these shards of the unlabelled bank.

        Raises:
            SegGenError: an image is damaged, the disk is full, or the GPU has too little memory; finished shards are kept.
        """
        todo = self.missing(shards)
        told = memory_told("this segmenter", expected=f"room for batches of {self.options.batch}", remedy="give a smaller --batch, and another output, "
                           "as it is part of what a bank is. Finished shards are kept")
        with told:
            for shard in tqdm(todo, desc="label", unit="shard", mininterval=1, disable=not todo):
                made = [part for batch in batches(self._rows(shard), self.options.batch) for part in self._labelled(batch)]
                made.sort(key=lambda part: part.key)
                self.writer.write_shard(_renamed(shard), [part for part in made if isinstance(part, Sample)],
                                        [part for part in made if isinstance(part, Rejection)])

    def _rows(self, shard: str) -> list[dict[str, Any]]:
        from seggen_d2.bank.index import read_columns

        rows = read_columns(self.bank.store.fetch([index_name(shard)])[0], _COLUMNS).to_pylist()
        return [{**row, "file_name": f"bank://{self.bank.name}/{row['key']}.jpg"} for row in rows]

    def _labelled(self, records: Sequence[dict[str, Any]]) -> list[Sample | Rejection]:
        return [self._sample(record, mask) for record, mask in zip(records, self.annotator(records), strict=True)]

    def _sample(self, record: dict[str, Any], mask: Mask) -> Sample | Rejection:
        key, fault = _renamed(record["key"]), useless(mask)
        if fault:
            return Rejection(key, record["source_id"], fault)
        facts = {name: record[name] for name in _COLUMNS[1:]}
        return Sample(key=key, image=self.bank.read(record["key"], "jpg"), strategy=STRATEGY, **facts, **mask_members(mask, self.categories))

    def finish(self) -> dict[str, Any] | None:
        """Write ``labels.json`` and give what it tells, once every shard is there; None before that."""
        if self.missing(self.bank.shards, check=False):
            return None
        labelled = Bank(self.writer.root)
        pixels = int((labelled.column("height") * labelled.column("width")).sum())
        facts = {"bank": str(self.bank.root), "segmenter": str(Path(self.segmenter).absolute()), "fingerprint": self.weights,
                 **asdict(self.options), "confidence": self.confidence, "samples": len(labelled), "rejected": len(labelled.rejections()),
                 "ignored": round(1 - int(np.sum(labelled.column("histogram"))) / max(1, pixels), 6)}
        labelled.close()
        self.writer.store.write(FACTS_FILE, [json_bytes(facts)])
        return facts


def label_bank(bank: str | os.PathLike, segmenter: str | os.PathLike, output: str | os.PathLike, options: AnnotationOptions | None = None,
               array: tuple[int, int] = (0, 1)) -> str:
    """Label a bank, or a job array's part of it; the same call goes on after any stop.

    Args:
        bank, segmenter, output, options: of :class:`Annotation`.
        array: the number of this process in a job array, and its size.

    Returns:
        What to tell the user.

    Raises:
        SegGenError: as :class:`Annotation` tells; or the disk is full, or the GPU's memory too small.
    """
    index, count = array
    check_range("--worker-index", index, 0, count - 1)
    work = Annotation(bank, segmenter, output, options or AnnotationOptions())
    work.run(work.bank.shards[index::count])
    facts = work.finish()
    if facts is None:
        return f"{output}: the shards of task {index} of {count} are labelled ({len(work.bank.shards)} shards in all)"
    return f"{output}: {facts['samples']} samples, {facts['rejected']} rejected, {facts['ignored']:.1%} of the pixels without a label"


def _renamed(name: str) -> str:
    """A key or shard of the unlabelled bank, in the labelled one."""
    return STRATEGY + name.removeprefix(UNLABELLED)

"""What is scored: a bank's samples shard by shard, and a real dataset in the same terms."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.bank import Bank
from seggen_d2.bank.columns import column_of
from seggen_d2.bank.filter_files import print_of
from seggen_d2.bank.format import UNLABELLED, index_name
from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import json_bytes
from seggen_d2.foundation.seeds import fingerprint
from seggen_d2.mixing.sampling import names_of
from seggen_d2.segmentation import Categories, check_same_categories
from seggen_d2.sources.dataset_file import Source
from seggen_d2.sources.masks import MASK_FILE

from .nearest import evenly


@dataclass(frozen=True, eq=False)
class Part:
    """Samples of one shard.

    Attributes:
        shard: its name. index: a local file of its index.
        first: the row number, in the bank, of the shard's first sample.
        places: ``(S,)`` rows within the shard, ascending.
    """

    bank: Bank
    shard: str
    index: Path
    first: int
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> np.ndarray:
        """A column of the index, of these samples; see :meth:`Bank.column`."""
        return column_of([self.index], name)[self.places]

    @cached_property
    def print(self) -> str:
        """16 hexadecimal digits over the samples' keys, images and masks."""
        return print_of(self.index, self.places)

    def records(self) -> Iterator[dict[str, Any]]:
        """Dataset dicts; see :meth:`Bank.record`."""
        for place in self.places.tolist():
            yield self.bank.record(self.first + place)


def parts_of(bank: Bank, limit: int = 0) -> list[Part]:
    """The samples to score, a part a shard.

    Args:
        limit: so many of them, spread evenly over the bank; 0 takes all.

    Raises:
        SegGenError: the limit is out of range.
    """
    check_range("--limit", limit, 0, 10**9)
    count = min(limit or len(bank), len(bank))
    rows = evenly(len(bank), count)
    indexes = bank.store.fetch([index_name(shard) for shard in bank.shards])
    firsts = np.cumsum([0, *(len(column_of([index], "seed")) for index in indexes)])
    cuts = np.searchsorted(rows, firsts)
    found = (Part(bank, shard, indexes[i], int(firsts[i]), rows[cuts[i] : cuts[i + 1]] - firsts[i]) for i, shard in enumerate(bank.shards))
    return [part for part in found if len(part)]


def open_bank(root: str) -> Bank:
    """A bank that can be scored.

    Raises:
        SegGenError: there is none, it is empty, or its masks are still to be made.
    """
    bank = Bank(root, check=True)
    if not len(bank):
        raise SegGenError(f"bank {root} holds no sample", remedy="let its synthesis finish first")
    if bank.info.job.get("strategy") == UNLABELLED:
        raise SegGenError(f"bank {root} has no masks to score", expected="a bank with labels", found=f"strategy {UNLABELLED}",
                          remedy="label it first: tools/label_bank.py")
    return bank


def check_dataset(bank: Bank, source: Source) -> Source:
    """Return ``source`` if it has the bank's task and label space.

    Raises:
        SegGenError: it has not.
    """
    if source.task != bank.info.task:
        raise SegGenError(f"bank {bank.root} was made for another task than dataset {source.name}", expected=f"task: {bank.info.task}",
                          found=f"task: {source.task}", remedy="name the dataset that the bank was made from, in the bank's task")
    check_same_categories(source.categories, bank.info.categories, a_is=f"dataset {source.name}", b_is=f"bank {bank.root}", things=source.task != "semantic")
    return source


@dataclass(frozen=True)
class BankSource:
    """A bank in the terms of a dataset, for :mod:`seggen_d2.evaluation.tasks`; its records come from :func:`labelled`."""

    bank: Bank

    @property
    def name(self) -> str:
        return self.bank.name

    @property
    def task(self) -> str:
        return self.bank.info.task

    @property
    def categories(self) -> Categories:
        return self.bank.info.categories

    def records(self) -> list[dict[str, Any]]:
        """Dataset dicts of all samples."""
        return [labelled(self.bank, record) for part in parts_of(self.bank) for record in part.records()]


def labelled(bank: Bank, record: dict[str, Any]) -> dict[str, Any]:
    """A bank's record whose mask readers of plain datasets read: the PNG's bytes in place of its path, objects by their exact masks.

    Raises:
        SegGenError: the mask is damaged.
    """
    key = MASK_FILE.get(bank.info.task)
    if key:
        return {**record, key: bank.read(record["image_id"], "png", check=True)}
    return {**record, "annotations": [{**part, "segmentation": part["rle"]} for part in record["annotations"]]}


@dataclass(frozen=True)
class Real:
    """The real dataset that a bank is compared with."""

    source: Source

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """Its dataset dicts."""
        return self.source.records()

    @cached_property
    def ids(self) -> list[str]:
        """The image id of each record."""
        return [str(record["image_id"]) for record in self.records]

    @cached_property
    def print(self) -> str:
        """16 hexadecimal digits over the dataset's name, image ids, labels in its JSON, and the sizes of its photos and masks in bytes."""
        return fingerprint(json_bytes([self.source.name, *map(_told, self.records)]))

    @cached_property
    def places_by_name(self) -> dict[str, int]:
        """The record of each name that a bank may call a real image by."""
        found: dict[str, int] = {}
        for place, record in enumerate(self.records):
            for name in names_of(record):
                found.setdefault(name, place)
        return found


def _told(record: dict[str, Any]) -> list[Any]:
    """What changes when a record's photo or labels do, short of reading them."""
    files = [record["file_name"], *(record[key] for key in MASK_FILE.values() if key in record)]
    labels = [record.get(key) for key in ("segments_info", "annotations")]
    return [str(record["image_id"]), *map(os.path.getsize, files), fingerprint(json.dumps(labels, sort_keys=True, default=str).encode())]


def batches(records: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Records in batches of one image size each, so that no image is padded by another."""
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["height"], record["width"]), []).append(record)
    for group in groups.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))

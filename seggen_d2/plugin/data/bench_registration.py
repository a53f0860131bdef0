"""What a registered bank costs a Detectron2 loader, against Detectron2's own list: rows for ``tools/benchmark.py index``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.data import DatasetCatalog, DatasetFromList, MetadataCatalog
from torch.utils.data import DataLoader, Dataset

from seggen_d2.bank.bench import index_bank, index_rows, memory
from seggen_d2.foundation.measure import row

from .bank_dataset import BankDataset, MappedDataset
from .registration import register_bank

READS = 2000  # records that a worker reads, all over the bank
LIKE = "bench_like"


def rows(samples: int = 1_200_000) -> list[dict[str, Any]]:
    """The bank's own index rows, then those of its registration.

    Args:
        samples: of the bank; a worker's memory is what its own is more than that of one that reads a bank of 1,000.
    """
    return [*index_rows(samples), *registration_rows(samples)]


def registration_rows(samples: int = 1_200_000, starts: Sequence[str] = ("fork", "spawn")) -> list[dict[str, Any]]:
    """Registering and opening a bank by name, and what workers hold, each measured in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / name for name in ("large", "small")]
        for root, count in zip(roots, (samples, min(samples, 1000)), strict=True):
            index_bank(root, count)
            BankDataset.open(root)  # builds its look-up table, once for good
        figures = {start: _in_a_process(start, *roots) for start in starts}
        listed = _in_a_process("list", *roots)
    size, first = f"{samples} samples", figures[starts[0]]
    theirs = f"DatasetFromList: {listed['seconds']:.1f} s, {listed['megabytes']:.0f} MB"
    found = [row(f"bank registered and opened by name, {size}", first["seconds"], "s", first["seconds"] / listed["seconds"], theirs)]
    for start, values in figures.items():
        megabytes = values["megabytes"]
        found.append(row(f"bank in a worker, {start}, {size}", megabytes, "MB", megabytes / listed["megabytes"], theirs))
    return found


def _in_a_process(what: str, large: Path, small: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", __name__, what, os.fspath(large), os.fspath(small)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


class _Memory(Dataset):
    """Gives the own memory of the process that reads from it, MB, after ``READS`` records: what it shares with nobody."""

    def __init__(self, records: Dataset):
        self.records = MappedDataset(records, dict)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> float:
        for place in range(READS):
            self.records[place * len(self.records) // READS]
        return memory()[1]


def worker_megabytes(records: Dataset, start: str) -> float:
    """Own memory of a data-loader worker that has read from ``records``, MB."""
    loader = DataLoader(
        _Memory(records), num_workers=1, batch_size=None, multiprocessing_context=start, generator=torch.Generator()
    )
    return float(next(iter(loader)))


def open_by_name(root: Path, name: str) -> Dataset:
    """Register a benchmark's bank and get it by its name, as Detectron2 does."""
    from seggen_d2.bank import read_info

    categories = read_info(root).categories
    MetadataCatalog.get(LIKE).set(stuff_classes=list(categories.names), ignore_label=categories.ignore_id)
    if LIKE not in DatasetCatalog:
        DatasetCatalog.register(LIKE, list)
    register_bank(name, root, like=LIKE)
    return DatasetCatalog.get(name)


def _measure_bank(start: str, large: Path, small: Path) -> dict[str, float]:
    before = worker_megabytes(open_by_name(small, "bench_small"), start)
    began = time.perf_counter()
    records = open_by_name(large, "bench_large")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "megabytes": worker_megabytes(records, start) - before}


def _measure_list(large: Path) -> dict[str, float]:
    """Detectron2's serialised list of the same records: making it from records that are there, and what it holds."""
    records = BankDataset.open(large)
    began = time.perf_counter()
    for number in range(len(records)):
        records[number]
    reading = time.perf_counter() - began
    began = time.perf_counter()
    listed = DatasetFromList(records, copy=False)
    seconds = time.perf_counter() - began - reading
    parts = (listed._lst._lst, listed._lst._addr)
    return {"seconds": seconds, "megabytes": sum(part.numel() * part.element_size() for part in parts) / 1e6}


if __name__ == "__main__":
    what, *roots = sys.argv[1:]
    paths = [Path(root) for root in roots]
    print(json.dumps(_measure_list(paths[0]) if what == "list" else _measure_bank(what, *paths)))

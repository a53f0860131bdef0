"""What an export costs beside plain copying of the same bytes: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

from seggen_d2.foundation.measure import interleaved, median_ratio, row

from .bench import image_bank
from .export import ExportOptions, export_bank
from .reader import Bank

SIDE = 768  # pixels, as the generators paint
FORMATS = ("ade20k", "webdataset", "parquet")


def export_rows(samples: int = 2048, turns: int = 5) -> list[dict[str, Any]]:
    """MB a second of each format, against copying what it wrote file by file.

    Both ways end with every file synced to the disk.

    Args:
        samples: of 768 x 768 pixels in the bank.
        turns: export and copy take turns; the median over turns counts.
    """
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        folder = Path(name)
        bank = image_bank(folder / "bank", samples, pictures=min(samples, 64), side=SIDE)
        rows = [_row(bank, folder, kind, turns) for kind in FORMATS]
        bank.close()
    return rows


def _row(bank: Bank, folder: Path, kind: str, turns: int) -> dict[str, Any]:
    whole, target = folder / "whole", folder / "target"
    export_bank(bank, whole, ExportOptions(kind))
    size = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file()) / 1e6
    ways = (lambda turn: synced(export_bank(bank, target, ExportOptions(kind)), target), lambda turn: synced(copy_tree(whole, target), target))
    exports, copies = interleaved(ways, turns, between=lambda: shutil.rmtree(target))
    shutil.rmtree(whole)
    exported, copied = (size / statistics.median(each) for each in (exports, copies))
    return row(f"export, {kind}", exported, "MB/s", median_ratio(copies, exports), f"copying the same files: {copied:.0f} MB/s")


def synced(made: Path, folder: Path) -> None:
    """Wait until every file that was ``made`` in ``folder`` is on the disk."""
    for file in folder.rglob("*"):
        with open(file, "rb") if file.is_file() else nullcontext() as there:
            if there:
                os.fsync(there.fileno())


def copy_tree(source: Path, target: Path) -> Path:
    """Copy each file's bytes, as ``shutil`` does."""
    return shutil.copytree(source, target, copy_function=shutil.copyfile)

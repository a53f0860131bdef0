"""What an export costs beside plain copying of the same bytes: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from seggen_d2.foundation.measure import interleaved, median_ratio, row

from .bench import image_bank
from .export import ExportOptions, export_bank
from .reader import Bank

SIDE = 768  # pixels, as the generators paint
FORMATS = ("ade20k", "webdataset", "parquet")


def export_rows(samples: int = 768, turns: int = 5) -> list[dict[str, Any]]:
    """MB a second of each format, against copying what it wrote file by file.

    On disk: both ways end when the disk has all bytes, and the export compares checksums, as the tool does. In memory:
    neither waits for the disk, so the ratio is the lowest that any disk shows.

    Args:
        samples: of 768 x 768 pixels in the bank.
        turns: export and copy take turns; the median over turns counts.
    """
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        folder = Path(name)
        plain = image_bank(folder / "bank", samples, pictures=min(samples, 64), side=SIDE)
        checked = Bank(plain.root, check=True)
        rows = [_row(bank, folder, kind, turns, end) for kind in FORMATS for bank, end in
                ((checked, synced), (checked, None), (plain, None))]
        for bank in (plain, checked):
            bank.close()
    return rows


def _row(bank: Bank, folder: Path, kind: str, turns: int, end: Callable[[Path], None] | None) -> dict[str, Any]:
    whole, target = folder / "whole", folder / "target"
    export_bank(bank, whole, ExportOptions(kind))
    size = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file()) / 1e6
    finish = end or (lambda target: None)
    ways = (lambda turn: finish(export_bank(bank, target, ExportOptions(kind))), lambda turn: finish(copy_tree(whole, target)))
    exports, copies = interleaved(ways, turns, between=lambda: shutil.rmtree(target))
    shutil.rmtree(whole)
    exported, copied = (size / statistics.median(each) for each in (exports, copies))
    name = f"export, {kind}, {'on disk' if end else 'in memory'}" + (", checked" if bank.check else "")
    return row(name, exported, "MB/s", median_ratio(copies, exports), f"copying the same files: {copied:.0f} MB/s")


def copy_tree(source: Path, target: Path) -> Path:
    """Copy each file's bytes, as ``shutil`` does; returns ``target``."""
    return shutil.copytree(source, target, copy_function=shutil.copyfile)


def synced(folder: Path) -> None:
    """Wait until the disk has all that was written."""
    os.sync()

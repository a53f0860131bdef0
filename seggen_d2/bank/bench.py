"""What a bank costs beside plain files, and at the size of the paper's: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seggen_d2.foundation.files import write_bytes
from seggen_d2.foundation.measure import interleaved, median_ratio
from seggen_d2.segmentation import Categories, default_palette, histogram, label_map_png

from .export import export_folders
from .format import KINDS, Sample, index_path, member_offsets, tar_path
from .info import BankInfo
from .paths import bank_path_manager, open_member
from .reader import Bank
from .verify import verify_bank

SIDE = 512  # pixels; ADE20K's usual crop
PER_SHARD = 1000
_CATEGORIES = Categories.from_names(f"category {i}" for i in range(8))
_LOOK_UPS = 10_000


def bank_read_rows(reads: int = 10_000, samples: int = 256) -> list[dict[str, Any]]:
    """Random reads of the same images from a bank and from plain files, page cache warm; ratio bank / plain.

    Both ways end with a member's bytes in memory. The two ways take turns over small batches, so that whatever else
    the machine does meets both; the figure is the median over batches.

    Args:
        reads: how many reads each way does.
        samples: how many images of 512 x 512 the bank holds.
    """
    with tempfile.TemporaryDirectory() as folder:
        bank = image_bank(Path(folder) / "bank-read", samples)
        plain = export_folders(bank, Path(folder) / "plain").parent
        rows = []
        manager = bank_path_manager()
        for kind, where in (("jpg", "images"), ("png", "annotations")):
            paths = [
                (f"bank://{bank.name}/{key}.{kind}", f"{plain / where / key}.{kind}") for key in bank.column("key")
            ]
            rows.append(_read_row(f"bank read, {kind}", open_member, _read_plain, paths, reads))
        rows.append(
            _read_row(
                "bank read, png, both through iopath", *[lambda path: _read_managed(manager, path)] * 2, paths, reads
            )
        )
        rows.append(_verify_row(bank.root))
        bank.close()
    return rows


def _verify_row(root: Path, turns: int = 9) -> dict[str, Any]:
    """Seconds to read a bank and compare every byte, against reading its files."""
    files = [path for folder in ("index", "shards") for path in sorted((root / folder).iterdir())]
    seconds = interleaved([lambda _: verify_bank(root), lambda _: [path.read_bytes() for path in files]], turns)
    checked, plain = map(statistics.median, seconds)
    size = sum(path.stat().st_size for path in files) / 1e6
    return _row(f"bank verified, {size:.0f} MB", checked * 1e3, "ms", median_ratio(*seconds), f"plain reading {plain * 1e3:.1f} ms")


def index_rows(samples: int = 1_200_000) -> list[dict[str, Any]]:
    """Opening a bank of ``samples`` and finding samples in it, measured in a fresh process.

    Memory is what the process's resident size grows by, from before the bank is opened to after 10,000 look-ups, and
    of that what is its own (the rest is the page cache's, shared by all workers).
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bank-index"
        index_bank(root, samples)
        built, opened = (_in_a_process(root) for _ in range(2))
    size = f"{samples} samples"
    return [
        _row(f"bank open, first time (table built), {size}", built["open_s"], "s"),
        _row(f"bank open, {size}", opened["open_s"], "s"),
        _row(f"bank resident memory of a worker, {size}", opened["resident_mb"], "MB"),
        _row(f"bank own memory of a worker, {size}", opened["own_mb"], "MB"),
        _row(f"bank look-up of a key, {size}", opened["find_us"], "us"),
        _row(f"bank record, {size}", opened["record_us"], "us"),
        _row(f"bank variants of a source, {size}", opened["variants_us"], "us"),
    ]


def _row(name: str, value: float, unit: str, ratio: float | None = None, reference: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "ratio": ratio and round(ratio, 3),
        "reference": reference,
    }


def _read_plain(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _read_managed(manager: Any, path: str) -> bytes:
    with manager.open(path, "rb") as file:
        return file.read()


def _read_row(
    name: str,
    read_bank: Callable[[str], bytes],
    read_plain: Callable[[str], bytes],
    paths: Sequence[tuple[str, str]],
    reads: int,
) -> dict[str, Any]:
    draw = random.Random(0)
    seconds: tuple[list[float], list[float]] = ([], [])
    for bank_path, plain_path in paths:  # warms the page cache
        assert read_bank(bank_path) == read_plain(plain_path), bank_path
    batch = min(100, reads)
    for turn in range(reads // batch):
        pairs = draw.choices(paths, k=batch)
        for side in (0, 1) if turn % 2 else (1, 0):
            seconds[side].append(_seconds((read_bank, read_plain)[side], [pair[side] for pair in pairs]) / batch)
    bank, plain = (statistics.median(side) for side in seconds)
    return _row(name, bank * 1e6, "us", bank / plain, f"plain file {plain * 1e6:.1f} us")


def _seconds(function: Callable[[Any], Any], arguments: Sequence[Any]) -> float:
    start = time.perf_counter()
    for argument in arguments:
        function(argument)
    return time.perf_counter() - start


def _median_us(function: Callable[[Any], Any], arguments: Sequence[Any], batch: int = 100) -> float:
    """Microseconds a call: the median over batches, which leaves out what other processes take."""
    return (
        statistics.median(_seconds(function, arguments[i : i + batch]) / batch for i in range(0, len(arguments), batch))
        * 1e6
    )


def image_bank(root: Path, samples: int, pictures: int = 0, side: int = SIDE) -> Bank:
    """A bank of ``side`` x ``side`` pixels in four shards; ``pictures`` is how many of its images differ, all by default."""
    from .writer import BankWriter

    writer = BankWriter(
        root, BankInfo("semantic", _CATEGORIES, default_palette(len(_CATEGORIES)), (), {"samples": samples})
    )
    made = [_image_sample("picture", number, side) for number in range(pictures or samples)]
    for shard in range(4):
        keys = [f"imgsyn-{number:09d}" for number in range(shard * samples // 4, (shard + 1) * samples // 4)]
        writer.write_shard(f"imgsyn-{shard:05d}", [replace(made[number % len(made)], key=key) for number, key in enumerate(keys)])
    return Bank(root)


def _image_sample(key: str, seed: int, side: int) -> Sample:
    """A scene of blobs with grain: about 50 KB of JPEG at 512 pixels, as a photo of this size has."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    grain = draw.normal(0, 6, (side, side, 1))
    image = Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))
    labels = np.asarray(coarse)[..., 0] // 32
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    return Sample(
        key,
        jpeg.getvalue(),
        label_map_png(labels),
        f"source-{seed}",
        "imgsyn",
        seed,
        "a scene of blobs",
        side,
        side,
        histogram(labels, _CATEGORIES),
    )


def index_bank(root: Path, samples: int) -> None:
    """A bank with index files of ``samples`` rows, 50 variants a source, and archives of holes."""
    from .writer import BankWriter

    BankWriter(root, BankInfo("semantic", _CATEGORIES, default_palette(len(_CATEGORIES)), (), {"samples": samples}))
    for start in range(0, samples, PER_SHARD):
        _index_shard(root, f"imgsyn-{start // PER_SHARD:05d}", np.arange(start, min(start + PER_SHARD, samples)))


def _index_shard(root: Path, shard: str, numbers: np.ndarray) -> None:
    import pyarrow as pa

    from .index import SCHEMA, index_bytes

    size = len(numbers)
    lengths = dict(zip(KINDS, (60_000, 4_000, 300), strict=True))
    offsets, tar_bytes = member_offsets(list(lengths.values()) * size)
    columns: dict[str, Any] = {
        "key": [f"imgsyn-{n:09d}" for n in numbers],
        "source_id": [f"ADE_train_{n // 50:08d}" for n in numbers],
        "strategy": ["imgsyn"] * size,
        "height": np.full(size, SIDE),
        "width": np.full(size, SIDE),
        "seed": numbers,
        "caption": [f"a street with {n // 50} cars, a road, some trees and buildings under a sky" for n in numbers],
        "histogram": [[]] * size,
    }
    for place, kind in enumerate(KINDS):
        columns |= {
            f"{kind}_offset": offsets[place :: len(KINDS)],
            f"{kind}_length": np.full(size, lengths[kind]),
            f"{kind}_crc32": numbers,
        }
    write_bytes(index_path(root, shard), index_bytes(pa.table(columns, schema=SCHEMA), tar_bytes))
    tar_path(root, shard).parent.mkdir(exist_ok=True)
    with open(tar_path(root, shard), "wb") as tar:
        tar.truncate(tar_bytes)


def _in_a_process(root: Path) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, os.fspath(root)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure_index(root: Path) -> dict[str, float]:
    resident, own = memory()
    start = time.perf_counter()
    bank = Bank(root)
    opened = time.perf_counter() - start
    draw = random.Random(0)
    numbers = [draw.randrange(len(bank)) for _ in range(_LOOK_UPS)]
    keys = [bank.key(number) for number in numbers]
    sources = [bank.record(number)["source_id"] for number in numbers]
    found = {"find_us": (bank.find, keys), "record_us": (bank.record, numbers), "variants_us": (bank.variants, sources)}
    figures = {name: _median_us(*way) for name, way in found.items()}
    grown, own_grown = memory()
    return {"open_s": opened, "resident_mb": grown - resident, "own_mb": own_grown - own, **figures}


def memory() -> tuple[float, float]:
    """Resident size of this process and the part that is its own, MB (Linux)."""
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    page = os.sysconf("SC_PAGESIZE") / 1e6
    return int(resident) * page, (int(resident) - int(shared)) * page


if __name__ == "__main__":
    print(json.dumps(_measure_index(Path(sys.argv[1]))))

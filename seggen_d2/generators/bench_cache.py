"""Memory of training examples streamed from disk: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.measure import peak_rss_mb, row

from .examples.cache import Item
from .examples.labelled import LabelledExamples
from .examples.latents import LatentLayout, color_png
from .examples.rows import RowStore, open_store
from .examples.texts import TextLayout
from .geometry import Geometry

BAR = 64  # MB
COUNTS = (100, 1_000, 10_000)
SIDE = 256  # pixels; rows of a ninth of the size that 768 gives, so that the largest cache is half a gigabyte
LAYOUT = LatentLayout(channels=4, factor=8, ways=2, precision="float16")
TEXTS = TextLayout(tokens=77, width=128, pooled=64, precision="float16")
BATCH = 4  # of SDXL on a 24 GB GPU


def cache_rows(counts: Sequence[int] = COUNTS, epochs: int = 1) -> list[dict[str, Any]]:
    """Peak memory of a process that draws batches from a cache, for several numbers of images.

    Latents are random and go through the cache's own writer; no network is needed. Each process draws the same number of
    batches, as many as show every example of the largest cache ``epochs`` times.

    Args:
        counts: images; the first is what the others are compared with.
        epochs: of the largest cache.
    """
    draws = epochs * LAYOUT.ways * max(counts) // BATCH
    figures = {}
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="seggen-cache-") as folder:
            size = write_cache(Path(folder), count)
            figures[count] = {**_in_a_process(Path(folder), count, draws), "size": size}
    first = figures[counts[0]]["peak_mb"]
    return [line for count, found in figures.items() for line in _lines(count, found, first, draws)]


def _lines(count: int, found: dict[str, float], first: float, draws: int) -> list[dict[str, Any]]:
    growth = f"{found['peak_mb'] - first:+.1f} MB against the first; bar {BAR} MB; the cache holds {found['size'] / 2**20:,.0f} MB"
    return [row(f"peak memory over {draws} batches of {BATCH}, {count:,} images", found["peak_mb"], "MB", found["peak_mb"] / first, growth),
            row(f"a batch of {BATCH} from disk, {count:,} images", found["batch_ms"], "ms")]


def write_cache(folder: Path, count: int) -> int:
    """A cache of ``count`` images with a condition and a caption each; returns its bytes."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal(LAYOUT.bytes_of((SIDE, SIDE)) // 2).astype(np.float16).tobytes()
    condition = color_png(np.kron(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), np.ones((SIDE // 16, SIDE // 16, 1), np.uint8)))
    text = rng.standard_normal(TEXTS.bytes // 2).astype(np.float16).tobytes()
    for store, content in zip(stores(folder, count), (latents + condition, text), strict=True):
        for shard in range(store.shards):
            store.write(shard, [content] * len(store.rows_of(shard)))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stores(folder: Path, count: int) -> tuple[RowStore, RowStore]:
    """Where :func:`write_cache` puts latents and texts."""
    return tuple(open_store(folder, kind, {"made": "at random"}, count) for kind in ("latents", "texts"))


def draw_batches(folder: Path, count: int, draws: int) -> dict[str, float]:
    """Draw batches from :func:`write_cache`'s cache, as a training does: peak memory (MB) and the time of a batch (ms)."""
    (view,) = Geometry(height=SIDE, width=SIDE).views(SIDE, SIDE)
    items = [Item({"image_id": f"image{number:09d}", "file_name": f"images/image{number:09d}.jpg"}, view) for number in range(count)]
    examples = LabelledExamples(items, [(number,) for number in range(count)], *(store.open() for store in stores(folder, count)),
                                LAYOUT, TEXTS, has_condition=True)
    began = time.perf_counter()
    for draw in range(draws):
        examples.batch(examples.numbers(draw, BATCH, seed=0), draw=draw)
    return {"peak_mb": peak_rss_mb(), "batch_ms": 1e3 * (time.perf_counter() - began) / draws}


def _in_a_process(folder: Path, count: int, draws: int) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, str(folder), str(count), str(draws)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    print(json.dumps(draw_batches(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))

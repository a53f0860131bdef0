"""What decoding a colour map costs: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from seggen_d2.foundation.measure import interleaved, median_ratio, row

from .codec import ColorCodec
from .label_maps import resize_labels
from .palette import default_palette

SIDE = 768  # pixels, SDXL's budget in the paper
NOISE = 12.0  # standard deviation of what a generator adds to a palette's colours, RGB units
BAR_MS = 10


def decode_rows(categories: int = 150, turns: int = 40) -> list[dict[str, Any]]:
    """Milliseconds of one core to decode a 768 x 768 colour map, clean and noisy; medians over ``turns``."""
    draw = np.random.default_rng(0)
    codec = ColorCodec(default_palette(categories))
    labels = resize_labels(draw.integers(0, categories, (24, 24)), SIDE, SIDE)
    clean = codec.encode(labels)
    noisy = np.clip(clean + draw.normal(0, NOISE, clean.shape), 0, 255).astype(np.uint8)
    assert np.array_equal(codec.decode(clean), labels), "decoding inverts encoding"
    ways = [lambda _: codec.decode(clean), lambda _: codec.decode(noisy)]
    on_clean, on_noisy = interleaved(ways, turns, time.thread_time)
    name, bar = f"decode {SIDE}x{SIDE}, {categories} categories", f"bar {BAR_MS} ms of one core"
    against = median_ratio(on_noisy, on_clean)
    return [
        row(f"{name}, clean", 1e3 * statistics.median(on_clean), "ms", reference=bar),
        row(f"{name}, noisy", 1e3 * statistics.median(on_noisy), "ms", against, f"the clean one; {bar}"),
    ]

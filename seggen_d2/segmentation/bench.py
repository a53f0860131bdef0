"""What decoding a colour map costs, and what comes back wrong of a blurred one: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from seggen_d2.foundation.measure import interleaved, median_ratio, row

from .bench_edges import blurred
from .border_palette import BLUR, border_safe, count_borders
from .border_palette import NOISE as BLUR_NOISE
from .codec import ColorCodec
from .label_maps import resize_labels
from .palette import default_palette

SIDE = 768  # pixels, SDXL's budget in the paper
NOISE = 12.0  # standard deviation of what a generator adds to a palette's colours, RGB units
BAR_MS, BLENDED_BAR_MS = 10, 150
WINDOW = 2  # pixels on each side that the oracle is told of


def decode_rows(categories: int = 150, turns: int = 40) -> list[dict[str, Any]]:
    """Milliseconds of one core to decode a 768 x 768 colour map: clean and noisy by nearest colours, then a blurred and noisy
    one by the decoder that knows borders; medians over ``turns``."""
    draw = np.random.default_rng(0)
    codec = ColorCodec(default_palette(categories))
    labels = resize_labels(draw.integers(0, categories, (24, 24)), SIDE, SIDE)
    clean = codec.encode(labels)
    noisy = np.clip(clean + draw.normal(0, NOISE, clean.shape), 0, 255).astype(np.uint8)
    soft = blurred(clean, BLUR, BLUR_NOISE, draw)
    assert np.array_equal(codec.decode(clean), labels) and np.array_equal(codec.decode_blended(clean), labels), "decoding inverts encoding"
    ways = [lambda _: codec.decode(clean), lambda _: codec.decode(noisy), lambda _: codec.decode_blended(soft)]
    on_clean, on_noisy, on_soft = interleaved(ways, turns, time.thread_time)
    name, bar = f"decode {SIDE}x{SIDE}, {categories} categories", f"bar {BAR_MS} ms of one core"
    return [
        row(f"{name}, clean", 1e3 * statistics.median(on_clean), "ms", reference=bar),
        row(f"{name}, noisy", 1e3 * statistics.median(on_noisy), "ms", median_ratio(on_noisy, on_clean), f"the clean one; {bar}"),
        row(f"{name}, blurred, by borders", 1e3 * statistics.median(on_soft), "ms", median_ratio(on_soft, on_clean),
            f"nearest colours of the clean one; bar {BLENDED_BAR_MS} ms of one core"),
    ]


def wrong_rows(name: str, count: int, maps: Sequence[np.ndarray], bar: str) -> list[dict[str, Any]]:
    """Percent of the pixels of ``maps`` that come back wrong after blur and noise, and their ratio to plain decoding in the same palette.

    The ways are plain nearest-colour decoding, the decoder that knows borders, and an oracle, each with the package's
    palette and with the border-safe one of these maps, whose plain row is relative to the package's.

    Args:
        name: of the maps.
        count: how many categories there are; ids from there on are ignored pixels.
        maps: ``(H, W)`` label maps.
        bar: what the references tell of the second way's ratio.
    """
    borders = sum(count_borders(np.minimum(labels, count), count + 2) for labels in maps)
    palettes = {"": default_palette(count), "border-safe palette, ": border_safe(borders)}
    rows = []
    for prefix, palette in palettes.items():
        codec = ColorCodec(palette)
        wrong = [100 * wrong_share(codec, decode, maps) for decode in WAYS.values()]
        rows += [row(f"wrong pixels, {name}, {prefix}{way}", share, "%", share / wrong[0], f"plain; {bar}") for way, share in zip(WAYS, wrong, strict=True)]
    rows[len(WAYS)] |= {"ratio": round(rows[len(WAYS)]["value"] / rows[0]["value"], 4), "reference": "plain, the package's palette"}
    return rows


def wrong_share(codec: ColorCodec, decode: Decode, maps: Sequence[np.ndarray]) -> float:
    """The share of the pixels of ``maps`` that ``decode(codec, rgb, labels)`` gives another label after blur and noise."""
    draw, wrong = np.random.default_rng(0), 0
    for labels in maps:
        wrong += np.count_nonzero(decode(codec, blurred(codec.encode(labels), BLUR, BLUR_NOISE, draw), labels) != labels)
    return wrong / sum(labels.size for labels in maps)


def oracle(codec: ColorCodec, rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``(H, W)`` labels: the nearest colour of those that the true ``labels`` have within 5 x 5 pixels."""
    height, width = labels.shape
    near = np.pad(labels, WINDOW, mode="edge")
    least, found = np.full(labels.shape, np.inf, np.float32), labels.copy()
    for top in range(2 * WINDOW + 1):
        for left in range(2 * WINDOW + 1):
            candidate = near[top : top + height, left : left + width]
            away = codec.distance(rgb, candidate)
            nearer = away < least
            least[nearer], found[nearer] = away[nearer], candidate[nearer]
    return found


Decode = Callable[[ColorCodec, np.ndarray, np.ndarray], np.ndarray]  # of a codec, a colour map, and its true labels, which only an oracle looks at
WAYS: dict[str, Decode] = {"plain": lambda codec, rgb, _: codec.decode(rgb), "by borders": lambda codec, rgb, _: codec.decode_blended(rgb),
                           "oracle": oracle}

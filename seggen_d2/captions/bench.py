"""What batching brings to BLIP-2's captions: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from seggen_d2.foundation.measure import interleaved, median_ratio, row
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import SemanticMask

from .blip2 import Blip2Captioner, Blip2Options
from .captioner import CaptionRequest
from .tiny_blip2 import save_tiny_blip2

WAYS = {"beams 1x5": {"beams": 1, "width": 5}, "nucleus 3": {"beams": 0, "nucleus": 3}}
_SIZE = (120, 160)  # pixels


def caption_rows(images: int = 16, batch: int = 16, turns: int = 5) -> list[dict[str, Any]]:
    """Images a second in batches against one at a time, for a tiny BLIP-2; both ways take turns.

    Args:
        images: described a turn.
        batch: images at once.
        turns: of which the median is taken.
    """
    draw = np.random.default_rng(0)
    requests = [CaptionRequest(draw.integers(0, 256, (*_SIZE, 3), np.uint8), SemanticMask(np.zeros(_SIZE, np.uint8)), image_id=str(n)) for n in range(images)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        save_tiny_blip2(folder, ["a road with two cars and a sky"], width=64)
        for name, options in WAYS.items():
            captioner = Blip2Captioner(Blip2Options(folder, max_tokens=12, blocklist="none", **options), Categories.from_names(["all"]))
            rows += _rows(captioner, name, requests, batch, turns)
    return rows


def _rows(captioner: Blip2Captioner, name: str, requests: list[CaptionRequest], batch: int, turns: int) -> list[dict[str, Any]]:
    def by(size: int):
        return lambda turn: [captioner(requests[start : start + size]) for start in range(0, len(requests), size)]

    by(batch)(0)  # the first call builds caches
    alone, together = interleaved([by(1), by(batch)], turns)
    rate = [len(requests) / sorted(seconds)[turns // 2] for seconds in (alone, together)]
    return [row(f"captions, {name}, batch {batch}", rate[1], "image/s", median_ratio(alone, together), f"one at a time: {rate[0]:.1f} image/s")]

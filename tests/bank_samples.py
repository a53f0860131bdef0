"""Small banks for the tests, and the golden bank of format version 1.

``python tests/bank_samples.py`` made ``tests/data/bank_v1`` once. It stays as it is for good: a later version of the
package must read what version 1 wrote, so never make it again.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from seggen_d2.bank import BankInfo, BankWriter, Rejection, Sample
from seggen_d2.segmentation import Categories, Category, Palette, histogram, label_map_png

GOLDEN = Path(__file__).parent / "data" / "bank_v1"
CATEGORIES = Categories((Category("sky"), Category("road"), Category("car", isthing=True)), ignore_id=255)
PALETTE = Palette(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]]), np.zeros(3), np.full(3, 255))
GENERATORS = ({"kind": "mask2img", "fingerprint": "0123456789abcdef", "licence": "Apache-2.0"},)


def info(**changes) -> BankInfo:
    facts = {
        "task": "semantic",
        "categories": CATEGORIES,
        "palette": PALETTE,
        "generators": GENERATORS,
        "job": {"strategy": "imgsyn", "seed": 0, "samples": 6},
    }
    return BankInfo(**{**facts, **changes})


def labels(number: int, side: int = 16) -> np.ndarray:
    """Stripes of the three categories and ignore, moved by ``number``."""
    rows = (np.arange(side)[:, None] // 4 + number) % 4
    return np.broadcast_to(np.where(rows == 3, 255, rows), (side, side)).astype(np.uint8)


def sample(number: int, **changes) -> Sample:
    colors = np.concatenate([PALETTE.colors, PALETTE.ignore_color[None]])
    buffer = io.BytesIO()
    Image.fromarray(colors[np.minimum(labels(number), 3)]).save(buffer, "JPEG", quality=90)
    facts = {
        "key": f"imgsyn-{number:09d}",
        "image": buffer.getvalue(),
        "mask": label_map_png(labels(number)),
        "source_id": f"scene {number // 2}",
        "strategy": "imgsyn",
        "seed": 2**62 + number,
        "caption": f"a road with {number} cars, “and” a café",
        "height": 16,
        "width": 16,
        "histogram": histogram(labels(number), CATEGORIES),
    }
    return Sample(**{**facts, **changes})


def write_bank(root: Path, shards: int = 2, each: int = 3) -> list[Sample]:
    """A bank of ``shards * each`` samples; the last shard also holds a rejection."""
    writer = BankWriter(root, info())
    samples = [sample(number) for number in range(shards * each)]
    for place in range(shards):
        rejections = [Rejection("imgsyn-999", "scene 9", "the mask holds one category")] if place == shards - 1 else []
        writer.write_shard(f"imgsyn-{place:05d}", samples[place * each : (place + 1) * each], rejections)
    return samples


if __name__ == "__main__":
    write_bank(GOLDEN, shards=1)

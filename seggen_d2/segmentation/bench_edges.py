"""How much of a panoptic mask survives its way through outlined colour maps: rows for ``tools/benchmark.py``.

The masks are COCO's two sample images at 768 x 768 pixels' worth, where they lie beside the repository, else drawn ones.
The VAE is simulated, since none can be shipped: a Gaussian blur (deviation 1 pixel for what SDXL's VAE does to sharp
borders, 2 for a worse one) and Gaussian noise. ``python -m seggen_d2.generators survival`` measures a real one.

The oracle knows each pixel's segment but for the pixels under edges, which go to the nearest segment: what it misses,
no decoder of such maps can know.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.files import read_json
from seggen_d2.foundation.measure import row

from .categories import Categories, Category
from .mask_codec import EDGE_WIDTH, EDGES, mask_codec
from .masks import Segment, SegmentMask
from .palette import default_palette
from .panoptic import read_panoptic_png
from .panoptic_quality import PanopticQuality
from .segment_codec import SegmentCodec, nearest_filled, opencv

PIXELS = 768 * 768
SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "coco_sample"
BLURS = {"clean": (0.0, 0.0), "VAE-like": (1.0, 4.0), "worse VAE": (2.0, 6.0)}  # deviations: blur in pixels, noise in RGB units
DRAWS = 3  # of the noise
WIDTHS = (1, 2, 3, 4)


def edge_rows() -> list[dict[str, Any]]:
    """PQ, percent, for each way of drawing edges, blur and width; then the milliseconds of decoding."""
    masks, categories, what = _masks()
    rows = []
    for edges in EDGES:
        codecs = [mask_codec("panoptic", default_palette(len(categories)), categories, edge_width=w, edges=edges) for w in WIDTHS]
        oracle = [oracle_quality(masks, categories, codec) for codec in codecs]
        rows += [row(f"PQ, edges: {edges}, {c.edge_width} px, oracle", best, "%", reference=what) for c, best in zip(codecs, oracle, strict=True)]
        for blur in BLURS:
            for codec, best in zip(codecs, oracle, strict=True):
                quality = round_trip(masks, categories, codec, blur)
                rows.append(row(f"PQ, edges: {edges}, {codec.edge_width} px, {blur}", quality, "%", quality / best, "the oracle"))
    return rows + [_time(masks[0], categories)]


def round_trip(masks: list[SegmentMask], categories: Categories, codec: SegmentCodec, blur: str) -> float:
    """PQ of decoded maps of ``masks`` after the blur of that name, percent."""
    quality, rng = PanopticQuality(categories), np.random.default_rng(0)
    for mask in masks:
        rgb = codec.encode(mask)
        for _ in range(DRAWS if BLURS[blur][1] else 1):
            quality.update(codec.decode(blurred(rgb, *BLURS[blur], rng)).mask, mask)
    return quality.pq()


def blurred(rgb: np.ndarray, blur: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """``(H, W, 3)`` uint8 after a Gaussian blur and Gaussian noise of these deviations."""
    smooth = opencv().GaussianBlur(rgb.astype(np.float32), (0, 0), blur) if blur else rgb.astype(np.float32)
    return np.clip(np.rint(smooth + rng.normal(0, noise, rgb.shape)), 0, 255).astype(np.uint8)


def oracle_quality(masks: list[SegmentMask], categories: Categories, codec: SegmentCodec) -> float:
    """PQ of what a decoder gives back that knows all but the pixels under edges, percent."""
    quality = PanopticQuality(categories)
    for mask in masks:
        edges = (codec.encode(mask) == codec.colors.palette.edge_color).all(-1)
        quality.update(_like(mask, nearest_filled(mask.places(), ~edges)[0]), mask)
    return quality.pq()


def _like(mask: SegmentMask, places: np.ndarray) -> SegmentMask:
    segments = tuple(Segment(place, s.category_id) for place, s in enumerate(mask.segments, 1) if not s.iscrowd)
    crowds = [place for place, s in enumerate(mask.segments, 1) if s.iscrowd]
    return SegmentMask(np.where(np.isin(places, crowds), 0, places), segments, mask.ignore_id)


def _time(mask: SegmentMask, categories: Categories) -> dict[str, Any]:
    codec = mask_codec("panoptic", default_palette(len(categories)), categories)
    rgb = blurred(codec.encode(mask), *BLURS["VAE-like"], np.random.default_rng(0))
    seconds = []
    for _ in range(9):
        start = time.thread_time()
        codec.decode(rgb)
        seconds.append(time.thread_time() - start)
    return row(f"decode {mask.shape[0]}x{mask.shape[1]}, {EDGE_WIDTH} px, VAE-like", 1e3 * float(np.median(seconds)), "ms")


def _masks() -> tuple[list[SegmentMask], Categories, str]:
    """Masks, their categories, and what they are, in words."""
    return _coco() if SAMPLES.is_dir() else ([drawn_mask(seed) for seed in range(4)], DRAWN, "drawn scenes (no COCO samples are here)")


def _coco() -> tuple[list[SegmentMask], Categories, str]:
    file = read_json(SAMPLES / "panoptic_examples.json", "COCO annotations")
    items = file["categories"]
    number = {item["id"]: place for place, item in enumerate(items)}
    masks = []
    for annotation in file["annotations"]:
        ids = read_panoptic_png(SAMPLES / "panoptic_examples" / annotation["file_name"])
        segments = (Segment(s["id"], number[s["category_id"]], bool(s["iscrowd"])) for s in annotation["segments_info"])
        scale = (PIXELS / ids.size) ** 0.5
        masks.append(SegmentMask(ids, tuple(segments)).resized(*(round(side * scale / 64) * 64 for side in ids.shape)))
    categories = Categories(tuple(Category(item["name"], bool(item["isthing"])) for item in items))
    return masks, categories, f"{len(masks)} COCO images"


DRAWN = Categories(tuple(Category(f"thing {n}", True) for n in range(6)) + tuple(Category(f"stuff {n}") for n in range(4)))


def drawn_mask(seed: int, side: int = 768) -> SegmentMask:
    """Four bands of stuff, and ellipses of things in rows that touch and overlap, from a few pixels to a quarter of the side."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    ids = 1 + (4 * y // side).astype(np.int32)
    segments = [Segment(1 + band, 6 + band) for band in range(4)]
    for radius in np.geomspace(side / 8, 4, 24):
        row_, column, aspect = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.5, 1)
        segments.append(Segment(len(segments) + 1, int(rng.integers(6))))
        ids[((y - row_) / aspect) ** 2 + (x - column) ** 2 < radius**2] = len(segments)
    return SegmentMask(ids, tuple(segments))

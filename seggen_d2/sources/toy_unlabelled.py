"""The toy world's unlabelled pictures: what a base and a backbone learn from. They come with captions, never with labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import check_range

from .caption_table import write_captions
from .caption_words import list_caption
from .toy import toy_scene
from .toy_folder import FIRST, write_image

FACTS = {"captioner": "toy world", "model": "", "licence": "none needed: the words are the world's own"}


def unlabelled_pictures(count: int, *, size: int = 48, first: int = 0) -> Iterator[tuple[np.ndarray, str]]:
    """Draw ``count`` of them from the ``first`` on; their label maps are thrown away unseen.

    Yields:
        ``(size, size, 3)`` uint8 RGB, and the caption: light, things by number, each category's look.
    """
    for i in tqdm(range(first, first + count), desc="toy unlabelled", unit="image"):
        scene = toy_scene(FIRST["unlabelled"] + i, size=size)
        looks = scene.attributes["categories"]
        yield scene.image, list_caption(f"a scene {scene.attributes['scene']}", {name: scene.counts.get(name, 1) for name in looks}, looks)


def write_unlabelled(folder: Path, count: int, *, size: int = 48) -> Path:
    """Write ``count`` unlabelled pictures into ``folder/images``; pictures that are there stay.

    Returns:
        The table of their captions, ``folder/captions.parquet``.

    Raises:
        SegGenError: the count is out of range.
    """
    check_range("count", count, 1, 10_000_000)
    captions: dict[str, str] = {}
    for i, (image, caption) in enumerate(unlabelled_pictures(count, size=size)):
        name = f"unlabelled_{i:07d}"
        write_image(folder, name, image)
        captions[name] = caption
    write_captions(folder / "captions.parquet", captions, FACTS)
    return folder / "captions.parquet"

"""The disk cache of a generator's training: latents and text embeddings, made once, streamed afterwards.

A cache's folder holds a :mod:`store <.rows>` of latents for each kind of target and one of text embeddings, so that both
generators of a dataset share it. The same call goes on where it was stopped; several processes each make their own shards.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from diffusers import StableDiffusionXLPipeline
from tqdm import tqdm

from seggen_d2.foundation.errors import check_choice, check_range
from seggen_d2.segmentation import Palette
from seggen_d2.segmentation.mask_codec import MaskCodec
from seggen_d2.sources import Source
from seggen_d2.sources.masks import read_labelled, read_mask

from ..geometry import Geometry, View
from ..judging.copies import BYTES as THUMBNAIL_BYTES
from ..judging.copies import thumbnail
from .fingerprints import digest, digest_records, digest_weights
from .latents import PRECISIONS, LatentLayout, color_png, encode_batch, in_float32, scale_of, to_bytes
from .rows import RowStore, open_store
from .texts import TextLayout, encode_captions

VERSION = 1
TARGETS = ("color_map", "image")
READ_AHEAD = 4  # threads that read pictures while the VAE encodes others
TEXT_CHUNK = 32  # captions encoded at once


@dataclass(frozen=True)
class CacheOptions:
    """Where and how latents and text embeddings are kept.

    Attributes:
        folder: where; generators that name the same folder share what they have in common. "": in the output folder.
        precision: ``float16``, or ``float32`` at twice the space.
        mirrored: keep each picture's mirror image, too, at twice the space.
        batch: pictures that the VAE encodes at once.
    """

    folder: str = ""
    precision: str = "float16"
    mirrored: bool = True
    batch: int = 4

    def __post_init__(self) -> None:
        check_choice("cache: precision", self.precision, PRECISIONS)
        check_range("cache: batch", self.batch, 1, 4096)


@dataclass(frozen=True)
class Item:
    """One example before it is encoded: a record and the view of its photo."""

    record: dict[str, Any]
    view: View


def list_items(records: Iterable[dict[str, Any]], geometry: Geometry) -> list[Item]:
    """The views of all records, in their order."""
    return [Item(record, view) for record in records for view in geometry.views(record["height"], record["width"])]


def layout_of(pipeline: StableDiffusionXLPipeline, options: CacheOptions) -> LatentLayout:
    """How this base's latents lie in a row."""
    return LatentLayout(pipeline.vae.config.latent_channels, pipeline.vae_scale_factor, 1 + options.mirrored, options.precision)


@dataclass(frozen=True)
class LatentMaker:
    """Makes the rows of latents: of colour maps with masks' thumbnails (Text2Mask), or of photos with colour maps (Mask2Img)."""

    source: Source
    items: Sequence[Item]
    codec: MaskCodec
    pipeline: StableDiffusionXLPipeline
    target: str
    options: CacheOptions

    def rows(self, numbers: range) -> Iterator[tuple[int, bytes]]:
        """``(number, row)`` of these items, in any order. What a row holds does not depend on other shards."""
        order = sorted(numbers, key=lambda number: (self.items[number].view.out, number))
        with in_float32(self.pipeline.vae), ThreadPoolExecutor(READ_AHEAD) as pool:
            waiting: list[tuple[int, np.ndarray, bytes]] = []
            for number, (picture, condition) in zip(order, _ahead(pool, self._read, order), strict=True):
                if waiting and (len(waiting) == self.options.batch or waiting[0][1].shape != picture.shape):
                    yield from self._encode(waiting)
                    waiting = []
                waiting.append((number, picture, condition))
            yield from self._encode(waiting)

    def _read(self, number: int) -> tuple[np.ndarray, bytes]:
        """The target ``(H, W, 3)`` uint8, and what its row holds beside its latents."""
        item = self.items[number]
        if self.target == "color_map":
            mask = item.view.mask(read_mask(item.record, self.source))
            return self.codec.encode(mask), thumbnail(mask).tobytes()
        photo, mask = read_labelled(item.record, self.source)
        return item.view.image(photo), color_png(self.codec.encode(item.view.mask(mask)))

    def _encode(self, waiting: Sequence[tuple[int, np.ndarray, bytes]]) -> Iterator[tuple[int, bytes]]:
        images = np.stack([picture for _, picture, _ in waiting])
        ways = [images, images[:, :, ::-1]][: 1 + self.options.mirrored]
        both = torch.stack([torch.stack(encode_batch(self.pipeline.vae, way), 1) for way in ways], 1)  # (B, ways, 2, C, h, w)
        for (number, _, condition), values in zip(waiting, both, strict=True):
            where = f"the latents of {self.items[number].record['file_name']}"
            yield number, to_bytes(values, self.options.precision, where) + condition


@dataclass(frozen=True)
class TextMaker:
    """Makes the rows of text embeddings."""

    captions: Sequence[str]
    pipeline: StableDiffusionXLPipeline
    layout: TextLayout

    def rows(self, numbers: range) -> Iterator[tuple[int, bytes]]:
        """``(number, row)`` of these captions."""
        for start in range(numbers.start, numbers.stop, TEXT_CHUNK):
            part = range(start, min(start + TEXT_CHUNK, numbers.stop))
            for number, *values in zip(part, *encode_captions(self.pipeline, [self.captions[n] for n in part]), strict=True):
                yield number, b"".join(to_bytes(v, self.layout.precision, f"the embedding of {self.captions[number]!r}") for v in values)


def make_missing(store: RowStore, rows: Callable[[range], Iterator[tuple[int, bytes]]], what: str) -> None:
    """Make the shards of ``store`` that are missing and are this process's, then wait for those of the others."""
    state = PartialState()
    mine = [shard for shard in store.missing() if shard % state.num_processes == state.process_index]
    with tqdm(total=sum(len(store.rows_of(shard)) for shard in mine), desc=what, unit="row", mininterval=1,
              disable=not mine or not state.is_local_main_process) as bar:
        for shard in mine:
            made = {}
            for number, row in rows(store.rows_of(shard)):
                made[number] = row
                bar.update()
            store.write(shard, [made[number] for number in store.rows_of(shard)])
    store.wait()


def open_latents(parent: Path, part: str, maker: LatentMaker, palette: Palette, geometry: Geometry) -> RowStore:
    """The store of ``maker``'s rows under ``parent``; ``part`` is a word in its name."""
    vae, options = maker.pipeline.vae, maker.options
    facts = {"version": VERSION, "source": maker.source.name, "task": maker.source.task, "target": maker.target,
             "categories": digest(maker.source.categories.to_json()), "records": digest_records(item.record for item in maker.items),
             "geometry": asdict(geometry), "palette": digest(palette.to_json()), "codec": maker.codec.to_json(),
             "vae": digest_weights(vae), "scale": [value.tolist() for value in scale_of(vae)],
             "precision": options.precision, "mirrored": options.mirrored}
    return open_store(parent, f"{part}latents-{maker.target}", facts, len(maker.items))


def open_texts(parent: Path, part: str, maker: TextMaker) -> RowStore:
    """The store of ``maker``'s rows under ``parent``; ``part`` is a word in its name."""
    facts = {"version": VERSION, "captions": digest(list(maker.captions)), "precision": maker.layout.precision,
             "text_encoders": [digest_weights(e) for e in (maker.pipeline.text_encoder, maker.pipeline.text_encoder_2)]}
    return open_store(parent, f"{part}texts", facts, len(maker.captions))


def bytes_of_latents(items: Iterable[Item], layout: LatentLayout, target: str) -> int:
    """About what latents take on disk; a condition's PNG is reckoned at half a bit a pixel."""
    sizes = Counter(item.view.out for item in items)
    rest = {size: THUMBNAIL_BYTES if target == "color_map" else size[0] * size[1] // 16 for size in sizes}
    return sum(count * (layout.bytes_of(size) + rest[size]) for size, count in sizes.items())


def _ahead(pool: ThreadPoolExecutor, work: Callable[[int], Any], numbers: Iterable[int]) -> Iterator[Any]:
    """``work`` of each number, in order, a few of them begun before they are asked for."""
    begun: deque = deque()
    for number in numbers:
        begun.append(pool.submit(work, number))
        if len(begun) > 2 * READ_AHEAD:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()

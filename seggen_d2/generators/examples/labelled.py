"""Labelled examples for the generators, streamed from a disk cache: (caption, colour map, image), as latents, both ways round."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.segmentation import Palette
from seggen_d2.segmentation.mask_codec import MaskCodec
from seggen_d2.sources import Source

from ..geometry import Geometry
from ..judging.copies import BYTES as THUMBNAIL_BYTES
from ..judging.copies import read_thumbnails
from ..training.loop import Batch, example_numbers
from .cache import TARGETS, CacheOptions, Item, LatentMaker, TextMaker, bytes_of_latents, layout_of, list_items, make_missing, open_latents, open_texts
from .latents import LatentLayout, encode_pictures
from .rows import Rows, check_space
from .texts import TextLayout, captions_of

__all__ = ["BucketOrder", "LabelledExamples", "build_examples", "encode_pictures"]


def build_examples(source: Source, captions: Mapping[str, str | Sequence[str]], codec: MaskCodec, palette: Palette,
                   pipeline: StableDiffusionXLPipeline, geometry: Geometry, folder: Path, *, target: str,
                   options: CacheOptions, leave_out: Iterable[str] = (), limit: int = 0,
                   part: str = "") -> LabelledExamples:
    """Make what the cache in ``folder`` lacks, then open it. The same call goes on where it was stopped.

    All processes of a run call this together: each makes its share and waits for the rest, so that ``folder`` must be one
    that all see. Photos are read one by one and never held.

    Args:
        source: the labelled dataset.
        captions: ``{image_id: its captions}``; a draw picks one of them.
        codec, palette: how masks become colour maps.
        pipeline: the base: its VAE works in float32, its text encoders as they are.
        geometry: which views of a photo are trained on, and at which sizes.
        folder: of the cache, unless ``options`` name one.
        target: ``color_map`` (Text2Mask) or ``image`` (Mask2Img, whose condition is the colour map).
        options: what is stored, and how.
        leave_out: ``image_id`` of held-out photos.
        limit: that many photos at most; 0 is all.
        part: a word for stores that lie beside those of the training, such as ``held-out-``.

    Raises:
        SegGenError: the disk has no room, a file cannot be read, or nothing is left to train on.
    """
    check_choice("target", target, TARGETS)
    held, parent = frozenset(leave_out), Path(options.folder or folder)
    records = [record for record in source.records() if str(record["image_id"]) not in held][: limit or None]
    if not records:
        raise SegGenError(f"dataset {source.name} has no photos to train on", expected="some that are not held out", found=f"{len(held)} held out")
    items, texts = list_items(records, geometry), _Texts(captions, records)
    latent_maker = LatentMaker(source, items, codec, pipeline, target, options)
    text_maker = TextMaker(texts.unique, pipeline, TextLayout.of(pipeline, options.precision))
    latents, embeddings = open_latents(parent, part, latent_maker, palette, geometry), open_texts(parent, part, text_maker)
    layout = layout_of(pipeline, options)
    check_space(parent, int(latents.share_missing() * bytes_of_latents(items, layout, target)
                            + embeddings.share_missing() * len(texts.unique) * text_maker.layout.bytes), "latents and text embeddings")
    make_missing(embeddings, text_maker.rows, "text embeddings")
    make_missing(latents, latent_maker.rows, "latents")
    return LabelledExamples(items, [texts.rows[item.record["image_id"]] for item in items], latents.open(), embeddings.open(),
                            layout, text_maker.layout, has_condition=target == "image")


class _Texts:
    """Unique captions, and which of them are each image's."""

    def __init__(self, captions: Mapping[str, str | Sequence[str]], records: Sequence[dict]):
        place: dict[str, int] = {}
        self.rows: dict[str, tuple[int, ...]] = {}
        for record in records:
            own = captions_of(captions[str(record["image_id"])])
            self.rows[record["image_id"]] = tuple(place.setdefault(caption, len(place)) for caption in own)
        self.unique = list(place)


class BucketOrder:
    """Which examples a draw shows: all of one bucket, each example once before any of its bucket comes again.

    In an epoch each bucket has as many draws as it has examples by the batch's size, rounded so that the rest is carried to the
    next epoch; the buckets' draws are shuffled. Everything is a function of (seed, draw).

    Args:
        counts: examples of each bucket.
    """

    def __init__(self, counts: Sequence[int]):
        self.counts = np.asarray(counts, np.int64)

    def places(self, draw: int, batch: int, seed: int) -> tuple[int, np.ndarray]:
        """The bucket of ``draw`` and ``(batch,)`` places among its examples."""
        most = (draw + len(self.counts) + 1) * batch // int(self.counts.sum()) + 2
        epoch = bisect_right(range(most), draw, key=lambda e: int(self._before(e, batch).sum())) - 1
        before, after = self._before(epoch, batch), self._before(epoch + 1, batch)
        order = np.random.default_rng(derive_seed("buckets", seed, epoch)).permutation(np.repeat(np.arange(len(before)), after - before))
        here = draw - int(before.sum())
        bucket = int(order[here])
        turn = int(before[bucket]) + int((order[:here] == bucket).sum())
        return bucket, example_numbers(int(self.counts[bucket]), batch, turn, derive_seed("bucket", seed, bucket))

    def _before(self, epoch: int, batch: int) -> np.ndarray:
        """Draws of each bucket before ``epoch``."""
        return self.counts * epoch // batch


class LabelledExamples:
    """Examples for Text2Mask or Mask2Img. Memory: some 100 bytes an example, whatever the size of its latents.

    Numbers below N are the pictures, those from N on their mirror images.

    Args:
        items: the N pictures' records and views; not kept.
        captions: for each, the rows of its captions among ``texts``.
        latents, texts: the cache's rows.
        layout, text_layout: how they lie in a row.
        has_condition: rows of latents hold a condition, too.
    """

    def __init__(self, items: Sequence[Item], captions: Sequence[Sequence[int]], latents: Rows, texts: Rows, layout: LatentLayout,
                 text_layout: TextLayout, *, has_condition: bool):
        self.latents, self.texts, self.layout, self.text_layout, self.has_condition = latents, texts, layout, text_layout, has_condition
        self.sizes = sorted({item.view.out for item in items})
        place = {size: bucket for bucket, size in enumerate(self.sizes)}
        bucket_of = np.fromiter((place[item.view.out] for item in items), np.int16)
        self._members = [np.flatnonzero(bucket_of == bucket).astype(np.int32) for bucket in range(len(self.sizes))]
        self._bucket_of = bucket_of
        ways = (lambda view: view.time_ids(), lambda view: view.mirrored().time_ids())[: layout.ways]
        values = (value for way in ways for item in items for value in way(item.view))
        self._time_ids = torch.from_numpy(np.fromiter(values, np.float32).reshape(layout.ways, len(items), 6))
        self._captions = np.fromiter((row for own in captions for row in own), np.int32)
        self._first = np.cumsum(np.fromiter((0, *map(len, captions)), np.int64))
        self._order = BucketOrder([layout.ways * len(members) for members in self._members])

    def __len__(self) -> int:
        return self.layout.ways * len(self._bucket_of)

    @property
    def facts(self) -> dict:
        """For cards and states: pictures, examples, those of each bucket, and what the cache was made from."""
        buckets = {"{}x{}".format(*size): len(members) for size, members in zip(self.sizes, self._members, strict=True)}
        return {"pictures": len(self._bucket_of), "examples": len(self), "buckets": buckets, "captions": len(self.texts),
                "latents": self.latents.store.folder.name, "texts": self.texts.store.folder.name}

    def numbers(self, draw: int, batch: int, seed: int) -> np.ndarray:
        """``(batch,)`` examples of one bucket, a function of (seed, draw): see :class:`BucketOrder`."""
        bucket, places = self._order.places(draw, batch, seed)
        way, place = np.divmod(places, len(self._members[bucket]))
        return way * len(self._bucket_of) + self._members[bucket][place]

    def batch(self, numbers: np.ndarray, *, draw: int = 0, seed: int = 0) -> Batch:
        """These examples, all of one bucket, as :class:`~.objectives.DiffusionObjective` takes them.

        Where a picture has several captions, (seed, draw, number) pick one.
        """
        picked = [divmod(int(number), len(self._bucket_of)) for number in numbers]  # (way, picture)
        size = self.sizes[self._bucket_of[picked[0][1]]]
        rows = [self.latents[picture] for _, picture in picked]
        means, deviations = zip(*(self.layout.read(row, size, way) for row, (way, _) in zip(rows, picked, strict=True)), strict=True)
        texts = [self._caption(picture, draw, seed, int(number)) for (_, picture), number in zip(picked, numbers, strict=True)]
        embeds, pooled = self.text_layout.read([self.texts[row] for row in texts])
        batch = {"latent_mean": torch.stack(means), "latent_std": torch.stack(deviations), "prompt_embeds": embeds, "pooled": pooled,
                 "time_ids": torch.stack([self._time_ids[way, picture] for way, picture in picked])}
        if not self.has_condition:
            return batch
        # allocated by numpy: freed memory that torch had aligned is seldom found again, and the process would grow
        conditions = np.empty((len(rows), 3, *size), np.float32)
        for place, row, (way, _) in zip(conditions, rows, picked, strict=True):
            np.divide(self.layout.condition(row, size, way), np.float32(255), out=place)
        return {**batch, "condition": torch.from_numpy(conditions)}

    def thumbnails(self, chunk: int = 4096) -> Iterator[np.ndarray]:
        """Text2Mask's training masks as ``(n, SIDE, SIDE)`` labels of :mod:`.copies`, ``chunk`` at once, mirror images left out."""
        assert not self.has_condition, "rows of photos hold no thumbnails"
        for start in range(0, len(self.latents), chunk):
            part = range(start, min(start + chunk, len(self.latents)))
            yield read_thumbnails(self.latents.end(number, THUMBNAIL_BYTES) for number in part)

    def _caption(self, picture: int, draw: int, seed: int, number: int) -> int:
        """The row of the caption that this draw shows."""
        first, count = int(self._first[picture]), int(self._first[picture + 1] - self._first[picture])
        return int(self._captions[first + (derive_seed("caption", seed, draw, number) % count if count > 1 else 0)])

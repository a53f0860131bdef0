"""The pipeline in pictures: real samples beside the synthetic ones that were made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seggen_d2.bank import Bank
from seggen_d2.bank.inspect.pictures import flattened, sample_mask
from seggen_d2.foundation.markup import Markup, join, tag
from seggen_d2.segmentation.mask_codec import MaskCodec
from seggen_d2.segmentation.masks import Mask, SegmentMask
from seggen_d2.sources import Source, read_image
from seggen_d2.sources.masks import read_labelled

from .pictures import color_map, named_mask, photo

ROWS = 4
VARIANTS = 3


@dataclass(frozen=True)
class Drawing:
    """How masks are drawn: the generators' colours, and the categories' names."""

    codec: MaskCodec
    names: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A synthetic sample: ``image`` (H, W, 3) uint8 RGB, its mask, and the caption it was made from."""

    image: np.ndarray
    mask: Mask
    caption: str


@dataclass(frozen=True)
class Pair:
    """A real sample and what one strategy made from it."""

    image: np.ndarray
    mask: Mask
    variants: tuple[Shown, ...]

    @property
    def caption(self) -> str:
        return self.variants[0].caption


def pairs(source: Source, banks: Sequence[Bank], strategy: str, count: int = ROWS) -> list[Pair]:
    """The first ``count`` real samples, in the dataset's order, of which a bank holds samples of ``strategy``."""
    found: list[Pair] = []
    for record in source.records():
        shown = tuple(_variants(banks, str(record["image_id"]), strategy))
        if shown:
            found.append(Pair(*read_labelled(record, source), shown))
        if len(found) == count:
            break
    return found


def _variants(banks: Sequence[Bank], source_id: str, strategy: str) -> Iterator[Shown]:
    left = VARIANTS
    for bank in banks:
        for row in bank.variants(source_id):
            record = bank.record(int(row))
            if record["strategy"] == strategy and left:
                left -= 1
                image = read_image(bank.read(record["image_id"], "jpg"), record["file_name"])
                yield Shown(image, sample_mask(bank, record), record["caption"])


def masksyn_rows(found: Sequence[Pair], drawing: Drawing) -> Markup:
    """A row a pair: caption; real image and human mask; synthetic colour map, decoded mask and image."""
    return join([_masksyn_row(pair, drawing) for pair in found])


def _masksyn_row(pair: Pair, drawing: Drawing) -> Markup:
    made = pair.variants[0]
    real = [photo(pair.image, "image"), _named(pair.mask, drawing, "human mask")]
    synthetic = [
        color_map(made.mask, drawing.codec, "colour map"),
        _named(made.mask, drawing, "decoded mask"),
        photo(made.image, "image"),
    ]
    return _row(pair.caption, [("real", real), ("synthetic", synthetic)])


def imgsyn_rows(found: Sequence[Pair], drawing: Drawing) -> Markup:
    """A row a pair: caption; human mask and real image; up to three synthetic images for that mask."""
    return join([_imgsyn_row(pair, drawing) for pair in found])


def _imgsyn_row(pair: Pair, drawing: Drawing) -> Markup:
    real = [_named(pair.mask, drawing, "human mask"), photo(pair.image, "image")]
    synthetic = [photo(made.image, f"variant {place}") for place, made in enumerate(pair.variants, 1)]
    return _row(pair.caption, [("real", real), ("synthetic", synthetic)])


def _row(caption: str, groups: Sequence[tuple[str, Sequence[Markup]]]) -> Markup:
    shown = [
        tag("div", tag("span", kind, class_="kind"), tag("div", tiles, class_="tiles"), class_=f"group {kind}")
        for kind, tiles in groups
    ]
    return tag(
        "article", tag("p", "“", caption, "”", class_="caption"), tag("div", shown, class_="groups"), class_="sample"
    )


def _named(mask: Mask, drawing: Drawing, title: str) -> Markup:
    """A tile of a mask with a border around each segment."""
    flat = flattened(mask)
    parts = flat.places() if isinstance(flat, SegmentMask) else None
    return named_mask(flat.labels(), drawing.codec.colors, drawing.names, title, parts=parts)


def walk(masksyn: Pair | None, imgsyn: Pair | None, drawing: Drawing) -> Markup:
    """Both strategies step by step, each over a sample of its own."""
    return join(
        _masksyn_walk(masksyn, drawing) if masksyn else "", _imgsyn_walk(imgsyn, drawing) if imgsyn else ""
    )


def _masksyn_walk(pair: Pair, drawing: Drawing) -> Markup:
    made = pair.variants[0]
    return _steps(
        "MaskSyn",
        "new masks, and images for them",
        [
            tag("figure", tag("blockquote", made.caption), tag("figcaption", "caption of a real image, or an edit of it")),
            "Text2Mask",
            color_map(made.mask, drawing.codec, "colour map"),
            "decode",
            _named(made.mask, drawing, "mask: the annotation"),
            "Mask2Img",
            photo(made.image, "image"),
        ],
    )


def _imgsyn_walk(pair: Pair, drawing: Drawing) -> Markup:
    return _steps(
        "ImgSyn",
        "new images for human masks",
        [
            _named(pair.mask, drawing, "human mask"),
            "encode",
            color_map(pair.mask, drawing.codec, "colour map"),
            "Mask2Img",
            photo(pair.variants[0].image, "image"),
        ],
    )


def _steps(name: str, words: str, parts: Sequence[str]) -> Markup:
    """Pictures as markup, and between them, as text, what leads from one to the next."""
    shown = [part if isinstance(part, Markup) else tag("div", part, class_="arrow") for part in parts]
    return tag("div", tag("h3", name, tag("span", words)), tag("div", shown, class_="steps"), class_="walk")

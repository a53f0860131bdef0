"""The pipeline in pictures: real samples beside the synthetic ones that were made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seggen_d2.bank import Bank
from seggen_d2.foundation.markup import Markup, join, tag
from seggen_d2.segmentation import ColorCodec, read_label_map
from seggen_d2.sources import FolderSource, read_image, read_sample

from .pictures import color_map, named_mask, photo

ROWS = 4
VARIANTS = 3


@dataclass(frozen=True)
class Shown:
    """A synthetic sample: ``image`` (H, W, 3) uint8 RGB, ``labels`` (H, W), and the caption it was made from."""

    image: np.ndarray
    labels: np.ndarray
    caption: str


@dataclass(frozen=True)
class Pair:
    """A real sample and what one strategy made from it."""

    image: np.ndarray
    labels: np.ndarray
    variants: tuple[Shown, ...]

    @property
    def caption(self) -> str:
        return self.variants[0].caption


def pairs(source: FolderSource, banks: Sequence[Bank], strategy: str, count: int = ROWS) -> list[Pair]:
    """The first ``count`` real samples, in the dataset's order, of which a bank holds samples of ``strategy``."""
    found: list[Pair] = []
    for record in source.records():
        shown = tuple(_variants(banks, str(record["image_id"]), strategy))
        if shown:
            found.append(Pair(*read_sample(record, source.categories), shown))
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
                key = record["image_id"]
                image, mask = (bank.read(key, kind) for kind in ("jpg", "png"))
                yield Shown(
                    read_image(image, record["file_name"]),
                    read_label_map(mask, record["sem_seg_file_name"]),
                    record["caption"],
                )


def masksyn_rows(found: Sequence[Pair], codec: ColorCodec, names: tuple[str, ...]) -> Markup:
    """A row a pair: caption; real image and human mask; synthetic colour map, decoded mask and image."""
    return join([_masksyn_row(pair, codec, names) for pair in found])


def _masksyn_row(pair: Pair, codec: ColorCodec, names: tuple[str, ...]) -> Markup:
    made = pair.variants[0]
    real = [photo(pair.image, "image"), named_mask(pair.labels, codec, names, "human mask")]
    synthetic = [
        color_map(made.labels, codec, "colour map"),
        named_mask(made.labels, codec, names, "decoded mask"),
        photo(made.image, "image"),
    ]
    return _row(pair.caption, [("real", real), ("synthetic", synthetic)])


def imgsyn_rows(found: Sequence[Pair], codec: ColorCodec, names: tuple[str, ...]) -> Markup:
    """A row a pair: caption; human mask and real image; up to three synthetic images for that mask."""
    return join([_imgsyn_row(pair, codec, names) for pair in found])


def _imgsyn_row(pair: Pair, codec: ColorCodec, names: tuple[str, ...]) -> Markup:
    real = [named_mask(pair.labels, codec, names, "human mask"), photo(pair.image, "image")]
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


def walk(masksyn: Pair | None, imgsyn: Pair | None, codec: ColorCodec, names: tuple[str, ...]) -> Markup:
    """Both strategies step by step, each over a sample of its own."""
    return join(
        _masksyn_walk(masksyn, codec, names) if masksyn else "", _imgsyn_walk(imgsyn, codec, names) if imgsyn else ""
    )


def _masksyn_walk(pair: Pair, codec: ColorCodec, names: tuple[str, ...]) -> Markup:
    made = pair.variants[0]
    return _steps(
        "MaskSyn",
        "new masks, and images for them",
        [
            tag("figure", tag("blockquote", made.caption), tag("figcaption", "caption of a real image")),
            "Text2Mask",
            color_map(made.labels, codec, "colour map"),
            "decode",
            named_mask(made.labels, codec, names, "mask: the annotation"),
            "Mask2Img",
            photo(made.image, "image"),
        ],
    )


def _imgsyn_walk(pair: Pair, codec: ColorCodec, names: tuple[str, ...]) -> Markup:
    return _steps(
        "ImgSyn",
        "new images for human masks",
        [
            named_mask(pair.labels, codec, names, "human mask"),
            "encode",
            color_map(pair.labels, codec, "colour map"),
            "Mask2Img",
            photo(pair.variants[0].image, "image"),
        ],
    )


def _steps(name: str, words: str, parts: Sequence[str]) -> Markup:
    """Pictures as markup, and between them, as text, what leads from one to the next."""
    shown = [part if isinstance(part, Markup) else tag("div", part, class_="arrow") for part in parts]
    return tag("div", tag("h3", name, tag("span", words)), tag("div", shown, class_="steps"), class_="walk")

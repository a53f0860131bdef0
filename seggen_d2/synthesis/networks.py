"""A strategy's networks, before any is opened: what they are, at which sizes they paint, and whether they fit the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.bases import base_fingerprint, base_licence, load_base
from seggen_d2.generators.directory import load_generator, read_card
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.sampling.sampler import Sampler
from seggen_d2.segmentation import Palette, check_same_categories, check_same_palette, default_palette
from seggen_d2.segmentation.mask_codec import MaskCodec, mask_codec
from seggen_d2.sources import Source

from .options import SynthesisOptions

if TYPE_CHECKING:
    import torch

NAMES = {"text2mask": "Text2Mask", "mask2img": "Mask2Img"}
NEEDED = {"masksyn": ("mask2img", "text2mask"), "imgsyn": ("mask2img",)}


class Networks(Protocol):
    """What a job knows of its networks.

    Attributes:
        geometry: the sizes that images are painted at.
        palette: the bank's.
    """

    geometry: Geometry
    palette: Palette

    def facts(self) -> dict[str, Any]:
        """What of them decides samples, and no weights tell."""

    def models(self) -> Iterator[dict[str, Any]]:
        """Each of them as ``bank.json`` lists it, with its licence."""

    def painter(self, dtype: torch.dtype, device: str) -> Sampler:
        """Opens the one that paints images."""

    def codec(self, kind: str) -> MaskCodec | None:
        """Of the colour maps that ``mask2img`` reads or ``text2mask`` paints; None where there are none."""


class Generators:
    """MaskSyn's and ImgSyn's: a Mask2Img, whose sizes and colours are the bank's, and a Text2Mask that agrees with it.

    Args:
        strategy: ``masksyn`` or ``imgsyn``.
        options: where they are, and how they are sampled.
        source: the real dataset.

    Raises:
        SegGenError: one is missing, or generators and dataset do not fit each other.
    """

    def __init__(self, strategy: str, options: SynthesisOptions, source: Source):
        self.options, self.source = options, source
        self.folders = {kind: getattr(options, kind) for kind in NEEDED[strategy]}
        for kind, folder in self.folders.items():
            if not folder:
                raise SegGenError(f"{strategy} needs a {NAMES[kind]}", expected=f"{kind}: FOLDER", found=f"no key {kind}")
        self.cards = {kind: read_card(folder, kind) for kind, folder in self.folders.items()}
        for kind in self.cards:
            self._check_data(kind)
            self._check_pair(kind)
        self.geometry, self.palette = self.cards["mask2img"].geometry, self.cards["mask2img"].read_palette("mask2img")

    def _check_data(self, kind: str) -> None:
        card, folder, dataset = self.cards[kind], self.folders[kind], self.options.dataset
        if card.task != self.source.task:
            raise SegGenError(f"the generator {folder} is of another task than the dataset {dataset}", expected=f"task {self.source.task}",
                              found=f"task {card.task}", remedy="train it on this dataset, or give its own one")
        check_same_categories(card.read_categories(folder), self.source.categories,
                              a_is=f"the generator {folder}", b_is=f"the dataset {dataset}")

    def _check_pair(self, kind: str) -> None:
        """It speaks of the Mask2Img's colours, at its sizes."""
        (card, folder), (painter, place) = ((self.cards[name], self.folders[name]) for name in (kind, "mask2img"))
        check_same_palette(card.read_palette(folder), painter.read_palette(place), a_is=f"the generator {folder}", b_is=f"the generator {place}")
        if card.geometry != painter.geometry:
            raise SegGenError("the generators were trained at different sizes", expected=f"{place}: {painter.geometry}",
                              found=f"{folder}: {card.geometry}", remedy="train both with one geometry")

    def facts(self) -> dict[str, Any]:
        if self.source.task == "semantic":
            return {}
        return {"codecs": {kind: {"edge_width": card.edge_width, "edges": card.edges} for kind, card in self.cards.items()}}

    def models(self) -> Iterator[dict[str, Any]]:
        sampled = {"mask2img": self.options.images, "text2mask": self.options.masks}
        for kind, card in sorted(self.cards.items()):
            yield {"kind": kind, "fingerprint": card.fingerprint, "licence": card.licence, "base": card.base}
            yield from sampled[kind].distilled.told_of(kind)

    def painter(self, dtype: torch.dtype, device: str) -> Sampler:
        return Sampler(load_generator(self.folders["mask2img"], "mask2img", dtype=dtype, device=device), self.options.images)

    def mask_painter(self, dtype: torch.dtype, device: str) -> Sampler:
        """Opens the Text2Mask."""
        return Sampler(load_generator(self.folders["text2mask"], "text2mask", dtype=dtype, device=device), self.options.masks)

    def codec(self, kind: str) -> MaskCodec:
        card = self.cards[kind]
        return mask_codec(card.task, card.read_palette(kind), self.source.categories, edge_width=card.edge_width, edges=card.edges)


class BareBase:
    """Those of unlabelled samples: the base as it is, told captions alone. It knows no colours; the bank's are the package's.

    Args:
        options: which base, and the sizes to paint at.
        source: the real dataset.

    Raises:
        SegGenError: no base is named.
    """

    def __init__(self, options: SynthesisOptions, source: Source):
        if not options.base:
            raise SegGenError("unlabelled samples need a base that paints them", found="no key base",
                              expected="base: toy, a diffusers folder, a .safetensors checkpoint, or a hub name")
        self.options, self.geometry, self.palette = options, options.geometry, default_palette(len(source.categories))

    def facts(self) -> dict[str, Any]:
        return {}

    def models(self) -> Iterator[dict[str, Any]]:
        base = self.options.base
        yield {"kind": "base", "fingerprint": base_fingerprint(base), "licence": self.options.licence or base_licence(base), "base": base}
        yield from self.options.images.distilled.told_of("base")

    def painter(self, dtype: torch.dtype, device: str) -> Sampler:
        return Sampler(load_base(self.options.base, config=self.options.base_config, dtype=dtype).to(device), self.options.images)

    def codec(self, kind: str) -> None:
        return None


def networks_for(strategy: str, options: SynthesisOptions, source: Source) -> Networks:
    """The strategy's.

    Raises:
        SegGenError: one is missing, or does not fit the dataset.
    """
    return Generators(strategy, options, source) if strategy in NEEDED else BareBase(options, source)

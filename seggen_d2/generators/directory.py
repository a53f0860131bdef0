"""Generator directories: plain diffusers layout, with ``seggen.json`` beside it.

``StableDiffusionXLPipeline.from_pretrained(dir)`` opens a Text2Mask and ``ControlNetModel.from_pretrained(dir,
subfolder="controlnet")`` a Mask2Img, without this package.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline

import seggen_d2
from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.files import read_json, write_json
from seggen_d2.foundation.options import build
from seggen_d2.foundation.seeds import fingerprint_of_files
from seggen_d2.segmentation import Categories, Palette

from .bases import open_pipeline
from .geometry import Geometry

KINDS = ("text2mask", "mask2img")
TRAINED = {"text2mask": "unet", "mask2img": "controlnet"}
PIPELINES = {"text2mask": StableDiffusionXLPipeline, "mask2img": StableDiffusionXLControlNetPipeline}


@dataclass(frozen=True)
class GeneratorCard:
    """What ``seggen.json`` says of a generator.

    Attributes:
        kind: ``text2mask`` or ``mask2img``.
        task: of the data it was trained on.
        categories, palette: its label space and colours, as JSON.
        geometry: the sizes it was trained at.
        edge_width, edges: how segments are outlined in its colour maps (panoptic and instance; see ``mask_codec``).
        fingerprint: BLAKE2 of the trained network's weights.
        licence: of the base it was made from; it goes into every bank.
        base: the base it was made from.
        training: steps, examples, options.
    """

    kind: str
    task: str
    categories: dict
    palette: dict
    geometry: Geometry
    fingerprint: str
    licence: str
    base: str
    edge_width: int = 2
    edges: str = "all"
    training: dict = field(default_factory=dict)
    version: str = seggen_d2.__version__

    def read_categories(self, where: str) -> Categories:
        return Categories.from_json(self.categories, where)

    def read_palette(self, where: str) -> Palette:
        return Palette.from_json(self.palette, where)


def save_generator(folder: Path, pipeline: DiffusionPipeline, card: dict[str, Any]) -> GeneratorCard:
    """Save ``pipeline`` as fp16 safetensors, then ``seggen.json`` (last: a folder with it is whole)."""
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    full = GeneratorCard(**card, fingerprint=fingerprint_of_files(sorted((folder / TRAINED[card["kind"]]).glob("*.safetensors"))))
    write_json(folder / "seggen.json", asdict(full))
    return full


def read_card(folder: str | os.PathLike, kind: str) -> GeneratorCard:
    """The card of the generator in ``folder``.

    Raises:
        SegGenError: there is none, it is damaged, or it is of another kind.
    """
    path = Path(folder) / "seggen.json"
    if not path.is_file():
        raise SegGenError(f"{folder} holds no generator", expected="a folder with seggen.json",
                          found="a folder without" if Path(folder).is_dir() else "no such folder",
                          remedy="make one with tools/train_generator.py, or wait for its training to end")
    card = build(GeneratorCard, read_json(path, "generator card"), str(path))
    check_choice(f"kind in {path}", card.kind, KINDS)
    if card.kind != kind:
        raise SegGenError(f"{folder} is a generator of another kind", expected=kind, found=card.kind)
    return card


def load_generator(folder: str | os.PathLike, kind: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> DiffusionPipeline:
    """Open a generator's pipeline for sampling, without progress bar and watermark."""
    read_card(folder, kind)
    return open_pipeline(PIPELINES[kind], str(folder), dtype, f"generator {folder}").to(device)

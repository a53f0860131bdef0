"""What ``tools/train_backbone.py`` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.modeling import BACKBONES


@dataclass(frozen=True)
class Solver:
    """AdamW with a linear warm-up and Mask2Former's polynomial decay.

    Attributes:
        steps: optimiser steps. batch: pictures a step.
        learning_rate: after the warm-up. weight_decay: of all but norms and position tables.
        checkpoint_every: steps between states that a stopped run goes on from.
        workers: processes that read pictures; 0 reads in the training process.
        seed: of weights, order and augmentation.
        device: ``cpu`` or ``cuda``; "" takes a GPU where there is one.
    """

    steps: int
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    checkpoint_every: int = 500
    workers: int = 0
    seed: int = 0
    device: str = ""

    def __post_init__(self) -> None:
        for name, low in (("steps", 1), ("batch", 2), ("warmup_steps", 0), ("checkpoint_every", 1), ("workers", 0)):
            check_range(f"solver.{name}", getattr(self, name), low, 10**9)
        check_range("solver.learning_rate", self.learning_rate, 0, 10)
        check_range("solver.weight_decay", self.weight_decay, 0, 10)
        check_choice("solver.device", self.device, ("", "cpu", "cuda"))


@dataclass(frozen=True)
class BackboneOptions:
    """A backbone, the pictures it learns from, and how.

    Attributes:
        pictures: a folder of pictures (in ``images/`` where it has such a folder), or a dataset YAML, whose labels are not read.
        solver: see :class:`Solver`.
        captions: a Parquet table; "" is ``captions.parquet`` in the folder, or beside the YAML.
        limit: use the first so many pictures by name; 0 for all.
        backbone: a name of ``MODEL.BACKBONE.NAME``. backbone_options: fields of its transformers config that differ.
        phrase: longest run of adjacent words that counts as a word of its own ("striped balloon" at 2).
        min_pictures, max_share: words of fewer pictures, or of more than this share of them, are not learnt.
        held_out: share of the pictures that are not learnt from; the figures are taken on them.
        sizes: pixels of the shortest edge, one is drawn; then ``crop`` x ``crop`` pixels are cut out, and mirrored at random.
        color_jitter: SSD's; off by default, as captions name colours.
    """

    pictures: str
    solver: Solver
    captions: str = ""
    limit: int = 0
    backbone: str = "tiny-resnet"
    backbone_options: dict[str, Any] = field(default_factory=dict)
    phrase: int = 1
    min_pictures: int = 20
    max_share: float = 0.95
    held_out: float = 0.05
    sizes: tuple[int, ...] = (224, 256, 288)
    crop: int = 224
    color_jitter: bool = False

    def __post_init__(self) -> None:
        check_choice("backbone", self.backbone, BACKBONES)
        for name, low, high in (("limit", 0, 10**9), ("phrase", 1, 5), ("min_pictures", 1, 10**9), ("crop", 8, 8192)):
            check_range(name, getattr(self, name), low, high)
        for name in ("max_share", "held_out"):
            check_range(name, getattr(self, name), 0, 1)
        if not self.sizes or min(self.sizes) < 8:
            raise SegGenError("sizes has no length to choose from", expected="pixels of the shortest edge, 8 or more", found=repr(self.sizes))

"""How a probe trains: what is left open follows from the size of the images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from seggen_d2.foundation.errors import SegGenError, check_range

SMALL = 96  # pixels of the shortest edge up to which images are taken as they are, and the plain encoder serves
VERSION = 1  # of what a probe is; raised where its figures change, so that those kept before are made again
LOW = 224  # pixels of the shortest edge that larger images are brought to


@dataclass(frozen=True)
class ProbeOptions:
    """One probe's training; 0 and "" stand for what :meth:`resolved` chooses.

    Attributes:
        backbone: the encoder, ``plain`` or a name of ``modeling.backbones``. weights: a backbone's pre-trained ones, a transformers folder.
        size: pixels of the shortest edge. crop: pixels a side of what is cut out to train on.
        iterations: optimiser steps. batch: images a step. base_lr: of AdamW, but for a pre-trained backbone, which learns at a tenth.
        folds: parts of the real images; each is held out once. seeds: trainings a part.
        held_out: images of a part that are tested on, at most. images: of the real set that are used at all; 0 takes all.
        group_pattern: a regular expression that finds an image's group in its id; groups (frames of one video) stay on one side.
        workers: processes that map images. device: "" takes a GPU where there is one.
    """

    backbone: str = ""
    weights: str = ""
    size: int = 0
    crop: int = 0
    iterations: int = 0
    batch: int = 8
    base_lr: float = 3e-3
    folds: int = 3
    seeds: int = 2
    held_out: int = 500
    images: int = 0
    group_pattern: str = ""
    workers: int = 0
    device: str = ""

    def __post_init__(self) -> None:
        ranges = {"size": (0, 10**5), "crop": (0, 10**5), "iterations": (0, 10**7), "batch": (2, 10**5), "base_lr": (1e-8, 10), "folds": (2, 100),
                  "seeds": (1, 100), "held_out": (1, 10**7), "images": (0, 10**8), "workers": (0, 1024)}
        for name, (low, high) in ranges.items():
            check_range(name, getattr(self, name), low, high)
        if self.weights and self.backbone in ("", "plain"):
            raise SegGenError("--weights are given and no backbone that they are of", expected="--backbone resnet50, or another name",
                              found=repr(self.backbone), remedy="name the weights' backbone")

    def resolved(self, shortest: int) -> ProbeOptions:
        """With every choice made, for images whose shortest edge is ``shortest`` pixels (the median)."""
        small = (self.size or shortest) <= SMALL
        size = self.size or (shortest if small else LOW)
        return replace(self, backbone=self.backbone or ("plain" if small else "resnet18"), size=size, crop=self.crop or size,
                       iterations=self.iterations or (600 if small else 2000))

    def facts(self) -> dict[str, object]:
        """What a probe's figures depend on: neither how many probes there are, nor where they run."""
        return {"version": VERSION, **{name: value for name, value in vars(self).items() if name not in ("seeds", "workers", "device")}}


def check_p_augs(p_augs: tuple[float, ...]) -> tuple[float, ...]:
    """Probabilities of a synthetic sample that are tried, ascending.

    Raises:
        SegGenError: none is given, one stands twice, or one is not above 0 and up to 1.
    """
    for value in p_augs:
        check_range("--p-aug", value, 1e-6, 1)
    if not p_augs or len({*p_augs}) < len(p_augs):
        raise SegGenError("--p-aug does not tell what to try", expected="probabilities above 0, each once", found=" ".join(map(str, p_augs)) or "none",
                          remedy="0 is always tried: it is what the others are compared with")
    return tuple(sorted(p_augs))

"""Which results a model gives for an image, and how they are read from its queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seggen_d2.foundation.errors import SegGenError

from .inference import crop_and_resize, instance_inference, panoptic_inference, semantic_inference

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Outputs:
    """The results that are asked for; meanings and defaults are those of Mask2Former's ``MODEL.MASK_FORMER.TEST``.

    Attributes:
        semantic, panoptic, instance: which.
        is_thing: of each of the K categories. Panoptic results need it, and where they are asked for, instances are of
            things alone.
        resize_first: bring mask logits to the wanted size before anything is read from them, not the scores after;
            panoptic and instance results are always read so.
        object_mask_threshold, overlap_threshold: see ``panoptic_inference``.
        top_k: instances an image.

    Raises:
        SegGenError: panoptic results are asked for without ``is_thing``.
    """

    semantic: bool = True
    panoptic: bool = False
    instance: bool = False
    is_thing: tuple[bool, ...] = ()
    resize_first: bool = False
    object_mask_threshold: float = 0.8
    overlap_threshold: float = 0.8
    top_k: int = 100

    def __post_init__(self) -> None:
        if self.panoptic and not self.is_thing:
            raise SegGenError("panoptic results need categories that tell things from stuff", found="none told")

    def read(self, class_logits: Tensor, mask_logits: Tensor, sample: dict[str, Any], guard: Guard = lambda f: f) -> dict[str, Any]:
        """The results of one image.

        Args:
            class_logits: (Q, K + 1), the last is "no object".
            mask_logits: (Q, H', W') of the padded image.
            sample: ``image`` (3, H, W); optional ``height`` and ``width``, pixels, of the wanted results.
            guard: what to wrap the costly steps in.

        Returns:
            ``sem_seg`` (K, height, width) scores; ``panoptic_seg``, ids (height, width) int32 and segments;
            ``instances``, see ``instance_inference``; each where it is asked for.
        """
        size = tuple(sample["image"].shape[-2:])
        wanted = (size, sample.get("height", size[0]), sample.get("width", size[1]))
        first = self.resize_first or self.panoptic or self.instance
        masks = guard(crop_and_resize)(mask_logits, *wanted) if first else mask_logits[:, : size[0], : size[1]]
        classes, results = class_logits.to(masks), {}  # a guard may have moved the masks to the CPU
        if self.semantic:
            scores = guard(semantic_inference)(classes, masks)
            results["sem_seg"] = scores if first else guard(crop_and_resize)(scores, *wanted)
        if self.panoptic:
            results["panoptic_seg"] = guard(panoptic_inference)(
                classes, masks, is_thing=self._things(masks), object_mask_threshold=self.object_mask_threshold,
                overlap_threshold=self.overlap_threshold)
        if self.instance:
            kept = self._things(masks) if self.panoptic else None
            results["instances"] = guard(instance_inference)(classes, masks, top_k=self.top_k, kept=kept)
        return results

    def _things(self, like: Tensor) -> Tensor:
        return torch.tensor(self.is_thing, device=like.device)

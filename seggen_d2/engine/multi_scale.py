"""Multi-scale testing: the mean of a model's semantic scores over several sizes of an image, and over left and right.

Shapes: K categories, (H, W) the size of a model's input, (height, width) that of the file, pixels.
Source: Mask2Former's ``SemanticSegmentorWithTTA`` over Detectron2's ``DatasetMapperTTA``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import Plan, ResizeShortestEdge, render_image

NAME_ENDS = "_TTA"  # of folders, as upstream's names of such results


class MultiScale(nn.Module):
    """A model in Detectron2's convention that gives averaged ``sem_seg`` and nothing else.

    An image passes through the model once for each size, and once more flipped. What is resized is the image that the
    test mapper made, at its test size already: upstream's figures are of images resized twice. One size is held at a
    time beside the sum, so that memory does not grow with their number.

    Args:
        model: takes a list of dicts and gives a dict with ``sem_seg`` (K, height, width) for each; on any device.
        sizes: of the shortest edge, pixels.
        max_size: of the longest edge at most, pixels.
        flip: also left to right; its scores are flipped back.

    Raises:
        SegGenError: there is no size, or one below 1.
    """

    def __init__(self, model: nn.Module, sizes: Sequence[int], max_size: int, flip: bool = True):
        super().__init__()
        self.model, self.sizes, self.max_size, self.flip = model, check_sizes(sizes), max_size, flip
        self.training = model.training

    @torch.no_grad()
    def forward(self, samples: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``{"sem_seg": (K, height, width)}`` for each sample: the mean of the scores.

        Args:
            samples: dicts with ``image`` (3, H, W) uint8 and, where that was resized, the file's ``height`` and ``width``.
        """
        return [{"sem_seg": self._mean(sample)} for sample in samples]

    def _mean(self, sample: dict[str, Any]) -> Tensor:
        height, width = sample["image"].shape[1:]
        sample, total, count = {"height": height, "width": width, **sample}, None, 0
        for image, flipped in self.views(sample["image"]):
            scores = self.model([{**sample, "image": image}])[0]["sem_seg"]
            scores = scores.flip(-1) if flipped else scores
            total = scores if total is None else total.add_(scores.to(total.device))
            count += 1
        return total / count

    def views(self, image: Tensor) -> Iterator[tuple[Tensor, bool]]:
        """The image at each size, (3, H', W') uint8 by Pillow's bilinear filter, and whether it is flipped.

        Raises:
            SegGenError: the image does not hold bytes.
        """
        if image.dtype != torch.uint8:
            raise SegGenError("multi-scale testing resizes images of bytes", expected="image (3, H, W) of torch.uint8", found=str(image.dtype),
                              remedy="give images in [0, 255] as the test mapper reads them")
        pixels, source = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()), tuple(image.shape[1:])
        for size in self.sizes:
            resize = ResizeShortestEdge((size,), self.max_size)
            view = render_image(pixels, Plan.of(source).resize(resize.size(source, size)))
            yield view, False
            if self.flip:
                yield view.flip(-1), True


def passes(sizes: Sequence[int], flip: bool) -> str:
    """What is done with each image, in words."""
    return f"{len(sizes)} sizes, {min(sizes)} to {max(sizes)} pixels{', and flipped' if flip else ''}: {len(sizes) * (1 + flip)} passes an image"


def check_sizes(sizes: Sequence[int]) -> Sequence[int]:
    """``sizes``, if they are some.

    Raises:
        SegGenError: there is none, or one is no whole number of pixels above 0.
    """
    if not sizes or any(type(size) is not int or size < 1 for size in sizes):
        raise SegGenError("TEST.AUG.MIN_SIZES does not tell the sizes of multi-scale testing",
                          expected="pixels of the shortest edge: whole numbers of 1 or more, at least one", found=repr(list(sizes)),
                          remedy="half to 1.75 times INPUT.MIN_SIZE_TEST is usual, as in configs/ade20k")
    return sizes


def check_semantic(tasks: Mapping[str, str], has_scores: bool) -> None:
    """Only semantic scores are averaged, as upstream: segments and objects of several sizes have no mean.

    Args:
        tasks: of each test set, by its name. has_scores: whether the model is asked for semantic results.

    Raises:
        SegGenError: a test set is of another task, or the model gives no semantic results.
    """
    others = [f"{name} is {task}" for name, task in tasks.items() if task != "semantic"]
    if others or not has_scores:
        raise SegGenError("TEST.AUG.ENABLED: multi-scale testing is of semantic segmentation alone",
                          expected="semantic test sets, and a model with SEMANTIC_ON: True",
                          found=", ".join(others) or "SEMANTIC_ON: False",
                          remedy="set TEST.AUG.ENABLED to False, or evaluate a semantic model")

"""Alarms of a generator's training: what is measured on held-out pairs while it learns.

The loss tells little: a ControlNet converges suddenly or never. So Mask2Img paints held-out masks, and a segmenter tells how
much of each mask it finds in the image; Text2Mask paints held-out captions, and its masks are compared with real ones.
Samples have few steps and fixed seeds, so that figures of one run can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import nn

from seggen_d2.segmentation import histogram
from seggen_d2.segmentation.confusion import ConfusionMatrix
from seggen_d2.segmentation.masks import Mask

from ..sampling.options import SamplerOptions
from ..sampling.sampler import SampleBatch, Sampler
from .copies import nearest_distances, thumbnail
from .held_out import HeldOut, ValidationOptions

__all__ = ["HeldOut", "Mask2ImgValidation", "Text2MaskValidation", "ValidationOptions", "painting"]


class Mask2ImgValidation:
    """Measures a Mask2Img by a segmenter: ``validation(pipeline)`` gives figures by name.

    - ``miou``: percent; the segmenter's predictions on painted images against the masks they were painted from.
    - ``miou_real``: the same on the real photos: what a perfect generator would reach.
    - ``miou_shuffled``: painted images against other masks of their batch: what a generator reaches that ignores its condition.
    - ``heeded``: where ``miou`` lies from ``miou_shuffled`` (0) to ``miou_real`` (1).

    Args:
        held_out: the pairs.
        segmenter: ``(B, H, W, 3)`` uint8 images to ``(B, H, W)`` category ids, for example of ``load_segmenter``.
        autocast: half precision for the networks that denoise; None for their own.
    """

    def __init__(self, held_out: HeldOut, segmenter: Callable[[np.ndarray], np.ndarray], *, autocast: torch.dtype | None = None):
        self.held_out, self.segmenter, self.autocast = held_out, segmenter, autocast
        real = ConfusionMatrix(held_out.source.categories)
        for pairs in held_out.batches():
            photos = np.stack([held_out.photo(pair) for pair in pairs])
            _compare(real, segmenter(photos), [held_out.mask(pair).labels() for pair in pairs])
        self.miou_real = real.miou()

    def __call__(self, pipeline: DiffusionPipeline) -> dict[str, float]:
        painted, shuffled = (ConfusionMatrix(self.held_out.source.categories) for _ in range(2))
        with painting(pipeline, self.held_out.options.sampler, self.autocast) as paint:
            for pairs in self.held_out.batches():
                masks = [self.held_out.mask(pair) for pair in pairs]
                predicted = self.segmenter(paint(self.held_out.to_paint(pairs, masks)))
                labels = [mask.labels() for mask in masks]
                _compare(painted, predicted, labels)
                if len(labels) > 1:
                    _compare(shuffled, predicted, [*labels[1:], labels[0]])
        own, real, none = painted.miou(), self.miou_real, float(np.nan_to_num(shuffled.miou()))
        return {"miou": own, "miou_real": real, "miou_shuffled": none, "heeded": (own - none) / max(real - none, 1e-6)}


class Text2MaskValidation:
    """Measures a Text2Mask by its masks: ``validation(pipeline)`` gives figures by name.

    - ``unsure``: share of pixels far from every colour of the palette.
    - ``histogram_distance``: total variation between the categories' shares of sampled and of held-out masks; 0 is equal, 1 disjoint.
    - ``misfit``: the sum of both; the weights that have the least are kept. The distance alone would not tell blurred maps from clean ones.
    - ``nearest``, ``nearest_median``: the smallest and the median distance of a sampled mask to a training mask.
    - ``copies``: share of sampled masks nearer than ``copy_distance`` to one; ``copies_real`` is that share of held-out masks.

    Args:
        held_out: pairs; their captions are sampled.
        training: gives all training masks' thumbnails, in parts: ``LabelledExamples.thumbnails``.
        autocast: half precision for the network that denoises; None for its own.
    """

    def __init__(self, held_out: HeldOut, training: Callable[[], Iterable[np.ndarray]], *, autocast: torch.dtype | None = None):
        self.held_out, self.training, self.autocast = held_out, training, autocast
        masks = [held_out.mask(pair) for pairs in held_out.batches() for pair in pairs]
        self.shares = self._shares(masks)
        self.copies_real = self._copies(nearest_distances(np.stack([thumbnail(mask) for mask in masks]), training()))

    def __call__(self, pipeline: DiffusionPipeline) -> dict[str, float]:
        masks, unsure, codec = [], [], self.held_out.codec
        with painting(pipeline, self.held_out.options.sampler, self.autocast) as paint:
            for pairs in self.held_out.batches():
                for color_map in paint(self.held_out.to_paint(pairs)):
                    masks.append(codec.decode(color_map).mask)
                    unsure.append(codec.unsure(color_map).mean())
        distances = nearest_distances(np.stack([thumbnail(mask) for mask in masks]), self.training())
        share, distance = float(np.mean(unsure)), float(abs(self._shares(masks) - self.shares).sum() / 2)
        return {"unsure": share, "histogram_distance": distance, "misfit": share + distance,
                "nearest": float(distances.min()), "nearest_median": float(np.median(distances)),
                "copies": self._copies(distances), "copies_real": self.copies_real}

    def _shares(self, masks: Sequence[Mask]) -> np.ndarray:
        """``(N + 1,)``: the share of pixels of each category, and unlabelled, over all masks."""
        categories = self.held_out.source.categories
        counts = [np.append(own := histogram(labels, categories), labels.size - own.sum()) / labels.size for labels in (m.labels() for m in masks)]
        return np.mean(counts, axis=0)

    def _copies(self, distances: np.ndarray) -> float:
        return float((distances < self.held_out.options.copy_distance).mean())


def _compare(matrix: ConfusionMatrix, predicted: Iterable[np.ndarray], labels: Iterable[np.ndarray]) -> None:
    for ours, true in zip(predicted, labels, strict=True):
        matrix.update(ours, true)


@contextmanager
def painting(pipeline: DiffusionPipeline, options: SamplerOptions,
             autocast: torch.dtype | None = None) -> Iterator[Callable[[SampleBatch], np.ndarray]]:
    """A function that paints batches with a pipeline in the middle of its training.

    The pipeline's other networks come to the UNet's device meanwhile, text encoders in the half precision of ``autocast``:
    memory is scarcer here than anywhere else in a training. Afterwards all are where, what and how they were.
    """
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    device, put_back = pipeline.unet.device, [_returning(network) for network in networks.values()]
    try:
        for name, network in networks.items():
            nn.Module.to(network, device, autocast if name.startswith("text_encoder") else None)
        sampler = Sampler(pipeline, options)

        def paint(batch: SampleBatch) -> np.ndarray:
            with torch.autocast(device.type, autocast or torch.bfloat16, enabled=autocast is not None):
                latents = sampler.latents(batch)
            return sampler.images(latents)

        yield paint
    finally:
        for back in put_back:
            back()


def _returning(network: nn.Module) -> Callable[[], None]:
    """A function that gives ``network`` the weights, buffers and modes that it has now: the very tensors, not copies."""
    weights = [(weight, weight.data) for weight in network.parameters()]  # each of its own type and place
    buffers = [(module, name, buffer) for module in network.modules() for name, buffer in module.named_buffers(recurse=False)]
    modes = {module: module.training for module in network.modules()}

    def back() -> None:
        for weight, data in weights:
            weight.data = data
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
        for module, mode in modes.items():
            module.training = mode

    return back

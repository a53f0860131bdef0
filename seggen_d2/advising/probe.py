"""One probe: a small segmenter trained on part of the real images, with a bank or without, and tested on the images held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seggen_d2.engine.checkpoint import load_backbone
from seggen_d2.engine.loader import train_loader
from seggen_d2.engine.optimizer import build_adamw, learning_rate_factor, parameter_groups
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.mapping import DatasetMapper, test_augmentations, training_augmentations
from seggen_d2.mixing import NumberedSampler, SwapMapper
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.confusion import ConfusionMatrix

from .folds import Fold, PartOfBank
from .labels import ClassTargets
from .options import ProbeOptions
from .segmenter import PixelSegmenter

SCALES = (0.85, 1.0, 1.15, 1.3)  # of the shortest edge that a training image is brought to
LONGEST = 4  # times the shortest edge, at most
WARMUP = 0.05  # share of the iterations
CLIP = 1.0  # norm of the gradient, at most


@dataclass(frozen=True)
class Tested:
    """What a segmenter said of some images.

    Attributes:
        sums: ``(I, N, 3)`` int64, of each image the pixels of each class predicted right, in the labels, and predicted.
        confusion: ``(N, N)`` int64 over all images, labels by prediction.
    """

    sums: np.ndarray
    confusion: np.ndarray


class Prober:
    """Trains and tests probes of one dataset.

    Args:
        categories: of :func:`.labels.probe_categories`. task: of the data.
        options: resolved.
    """

    def __init__(self, categories: Categories, task: str, options: ProbeOptions):
        self.categories, self.options = categories, options
        self.targets = ClassTargets(categories, task)
        self.device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def model(self, seed: int) -> PixelSegmenter:
        """With random weights of ``seed``, and the backbone's own where they are named."""
        torch.manual_seed(seed)
        model = PixelSegmenter(len(self.categories), self.options.backbone)
        if self.options.weights:
            load_backbone(model, self.options.weights)
        return model.to(self.device)

    def train(self, fold: Fold, p_aug: float, banks: Sequence[PartOfBank], seed: int, tick: Callable[[], Any]) -> PixelSegmenter:
        """A trained segmenter; ``tick`` is called after each iteration.

        Raises:
            SegGenError: the loss is not finite, or a real image cannot be read.
        """
        options, seed = self.options, derive_seed("probe", fold.number, seed) % 2**31
        model, batches = self.model(seed).train(), iter(self._loader(fold, p_aug, banks, seed))
        groups = parameter_groups(model, base_lr=options.base_lr, backbone_multiplier=0.1 if options.weights else 1.0)
        optimizer = build_adamw(groups)
        factor = learning_rate_factor(options.iterations, warmup_iterations=math.ceil(WARMUP * options.iterations), warmup_factor=0.01)
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        for iteration in range(options.iterations):
            loss = self._loss(model, next(batches)["samples"])
            if not torch.isfinite(loss):
                raise SegGenError(f"the probe's loss is not finite at iteration {iteration}", found=str(loss.item()), remedy="give a lower --lr")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            rates.step()
            tick()
        return model.eval()

    def _loader(self, fold: Fold, p_aug: float, banks: Sequence[PartOfBank], seed: int) -> Iterable[dict[str, Any]]:
        size, crop = self.options.size, (self.options.crop, self.options.crop)
        lengths = [round(scale * size) for scale in SCALES]
        steps = training_augmentations(lengths, LONGEST * size, crop=crop, color_jitter=True, flip=True)
        mapper = SwapMapper(DatasetMapper(steps, self.targets, seed=seed), list(banks), p_aug, seed=seed)
        sampler = NumberedSampler(len(fold.train), seed=seed)
        return train_loader(fold.train, mapper, sampler, batch_size=self.options.batch, workers=self.options.workers)

    def _loss(self, model: PixelSegmenter, samples: Sequence[dict[str, Any]]) -> Tensor:
        """Cross-entropy, the mean over the batch's labelled pixels."""
        images, labels = (torch.stack([sample[key] for sample in samples]).to(self.device) for key in ("image", "sem_seg"))
        scores, ignore = model(images), self.categories.ignore_id
        return F.cross_entropy(scores, labels, ignore_index=ignore, reduction="sum") / (labels != ignore).sum().clamp(min=1)

    def weights(self, model: PixelSegmenter) -> dict[str, np.ndarray]:
        """A segmenter's, by name."""
        return {name: value.cpu().numpy() for name, value in model.state_dict().items()}

    def fill(self, model: PixelSegmenter, weights: Mapping[str, np.ndarray]) -> None:
        """Give a segmenter what :meth:`weights` told."""
        model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})

    @torch.no_grad()
    def test(self, model: PixelSegmenter, records: Iterable[dict[str, Any]]) -> Tested:
        """The segmenter's word on records against their labels, at the files' own size.

        Raises:
            SegGenError: an image or its labels cannot be read.
        """
        mapper = DatasetMapper(test_augmentations(self.options.size, LONGEST * self.options.size))
        model.eval()
        sums, total = [], ConfusionMatrix(self.categories)
        for record in records:
            sample, one = mapper(record), ConfusionMatrix(self.categories)
            size = sample["height"], sample["width"]
            scores = F.interpolate(model(sample["image"][None].to(self.device)), size, mode="bilinear")
            one.update(scores[0].argmax(0).cpu().numpy(), self.targets.read(record, size), str(record["image_id"]))
            sums.append(one.sums())
            total += one
        return Tested(np.stack(sums) if sums else np.zeros((0, len(self.categories), 3), np.int64), total.counts[:, :-1])

"""Mask2Former on transformers' ``Mask2FormerForUniversalSegmentation``: a list of dicts in, losses or scores out.

Shapes: B images, Q queries, K categories; (H, W) the size of an image, (h, w) of its mask logits (H / 4, W / 4).
Source: Cheng et al., arXiv 2112.01527; the input and output convention is Detectron2's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import Mask2FormerForUniversalSegmentation

from .backbones import freeze
from .criterion import SetCriterion
from .inference import upsample
from .outputs import Outputs

PIXEL_MEAN = (123.675, 116.280, 103.530)  # of ImageNet, RGB, in [0, 255]
PIXEL_STD = (58.395, 57.120, 57.375)


class Mask2Former(nn.Module):
    """Detectron2's convention around a transformers network.

    Args:
        network: its parts predict class and mask logits of every decoder layer.
        criterion: the losses, one value per sample.
        pixel_mean, pixel_std: of RGB in [0, 255]; images are normalised here, not in the mapper.
        size_divisibility: images are padded (right, bottom, with the mean) to multiples of it; below 1 is 1.
        test_size: pixels of the shortest edge that images are brought to for testing (0 keeps them), and of the longest at
            most. Whoever maps images reads it; it is kept in checkpoints.
        freeze_norm: keep the backbone's batch norms as they are (for pre-trained ones and small batches).
        freeze_at: stages of a ResNet that are not trained; 1 is the stem, 2 adds the first stage.
        outputs: the results given outside of training.
    """

    def __init__(
        self,
        network: Mask2FormerForUniversalSegmentation,
        criterion: SetCriterion,
        *,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
        size_divisibility: int = 32,
        test_size: tuple[int, int] = (0, 2048),
        freeze_norm: bool = False,
        freeze_at: int = 0,
        outputs: Outputs | None = None,
    ):
        super().__init__()
        self.network, self.criterion, self.outputs = network, criterion, outputs or Outputs()
        self.size_divisibility, self.test_size = max(1, size_divisibility), tuple(test_size)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)
        freeze(self.backbone, stages=freeze_at, norms=freeze_norm)
        self.train(self.training)

    def train(self, mode: bool = True) -> Mask2Former:
        """Batch norms that are not trained keep their statistics, too."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, _BatchNorm) and not module.weight.requires_grad:
                module.eval()
        return self

    @property
    def backbone(self) -> nn.Module:
        return self.network.model.pixel_level_module.encoder

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of its K categories, by their ids."""
        return tuple(name for _, name in sorted(self.network.config.id2label.items()))

    def forward(
        self, samples: list[dict[str, Any]], per_sample: bool = False
    ) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training mode, else results.

        Args:
            samples: dicts with ``image`` (3, H, W), RGB in [0, 255]; in training also ``mask_labels`` (N, H, W) and
                ``class_labels`` (N,); else optional ``height`` and ``width`` (pixels) of the wanted results.
            per_sample: leave the losses per sample, (B,), instead of the batch's means.

        Returns:
            Training: weighted losses by name; their sum is what is minimised.
            Else: a dict a sample, as ``Outputs.read`` tells.
        """
        images = self.batch_images([sample["image"] for sample in samples])
        predictions = self.predict(images)
        if self.training:
            masks = self.batch_masks([sample["mask_labels"] for sample in samples], images.shape[-2:])
            classes = [sample["class_labels"].to(images.device) for sample in samples]
            losses = self.criterion(predictions, masks, classes)
            return losses if per_sample else {name: values.mean() for name, values in losses.items()}
        class_logits, mask_logits = predictions[-1]
        masks = upsample(mask_logits, images.shape[-2:])
        return [self.outputs.read(*item) for item in zip(class_logits, masks, samples, strict=True)]

    def predict(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(class logits (B, Q, K + 1), mask logits (B, Q, h, w)) of each layer for normalised images (B, 3, H, W).

        The pixel decoder computes in float32 under autocast, too: deformable attention suffers in half precision.
        """
        parts = self.network.model
        features = self.backbone(images).feature_maps
        with torch.autocast(images.device.type, enabled=False):
            pixels = parts.pixel_level_module.decoder([feature.float() for feature in features])
        decoded = parts.transformer_module(pixels.multi_scale_features, pixels.mask_features)
        queries = [layer.transpose(0, 1) for layer in decoded.intermediate_hidden_states]
        return list(zip(map(self.network.class_predictor, queries), decoded.masks_queries_logits, strict=True))

    def batch_images(self, images: list[Tensor]) -> Tensor:
        """(3, H_i, W_i) images in [0, 255] to one normalised (B, 3, H, W) batch, padded with zeros."""
        unit = self.size_divisibility
        height, width = (-(-max(image.shape[axis] for image in images) // unit) * unit for axis in (1, 2))
        images = [(image.to(self.pixel_mean.device).float() - self.pixel_mean) / self.pixel_std for image in images]
        return torch.stack([_pad(image, height, width) for image in images])

    def batch_masks(self, masks: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """(N_i, H_i, W_i) masks padded with 0 to (N_i, H, W), the ``size`` of the padded images."""
        return [_pad(mask.to(self.pixel_mean.device), *size) for mask in masks]


def _pad(tensor: Tensor, height: int, width: int) -> Tensor:
    return F.pad(tensor, (0, width - tensor.shape[-1], 0, height - tensor.shape[-2]))

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
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation
from transformers.utils import logging as transformers_logging

from seggen_d2.foundation.errors import check_range

from .backbones import backbone_config
from .criterion import SetCriterion

PIXEL_MEAN = (123.675, 116.280, 103.530)  # of ImageNet, RGB, in [0, 255]
PIXEL_STD = (58.395, 57.120, 57.375)


class Mask2Former(nn.Module):
    """Detectron2's convention around a transformers network.

    Args:
        network: predicts class and mask logits of every decoder layer.
        criterion: the losses, one value per sample.
        pixel_mean, pixel_std: of RGB in [0, 255]; images are normalised here, not in the mapper.
        size_divisibility: images are padded (right, bottom, with the mean) to multiples of it.
        freeze_norm: keep the backbone's batch norms as they are (for pre-trained ones and small batches).
    """

    def __init__(
        self,
        network: Mask2FormerForUniversalSegmentation,
        criterion: SetCriterion,
        *,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
        size_divisibility: int = 32,
        freeze_norm: bool = False,
    ):
        super().__init__()
        self.network, self.criterion = network, criterion
        self.size_divisibility, self.freeze_norm = size_divisibility, freeze_norm
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Mask2Former:
        super().train(mode)
        if self.freeze_norm:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval().requires_grad_(False)
        return self

    @property
    def backbone(self) -> nn.Module:
        return self.network.model.pixel_level_module.encoder

    def forward(
        self, samples: list[dict[str, Any]], per_sample: bool = False
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, else scores.

        Args:
            samples: dicts with ``image`` (3, H, W), RGB in [0, 255]; in training also ``mask_labels`` (N, H, W) and
                ``class_labels`` (N,); else optional ``height`` and ``width`` (pixels) of the wanted scores.
            per_sample: leave the losses per sample, (B,), instead of the batch's means.

        Returns:
            Training: weighted losses by name; their sum is what is minimised.
            Else: a dict a sample with ``sem_seg``, (K, height, width) scores, 0 or more.
        """
        images = self.batch_images([sample["image"] for sample in samples])
        predictions = self.predict(images)
        if self.training:
            losses = self.criterion(predictions, *self._targets(samples, images.shape[-2:]))
            return losses if per_sample else {name: values.mean() for name, values in losses.items()}
        class_logits, mask_logits = predictions[-1]
        masks = F.interpolate(mask_logits.float(), images.shape[-2:], mode="bilinear", align_corners=False)
        return [{"sem_seg": _scores(*item)} for item in zip(class_logits, masks, samples, strict=True)]

    def predict(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(class logits (B, Q, K + 1), mask logits (B, Q, h, w)) of each layer for normalised images (B, 3, H, W)."""
        out = self.network(pixel_values=images, output_auxiliary_logits=True)
        layers = [(layer["class_queries_logits"], layer["masks_queries_logits"]) for layer in out.auxiliary_logits]
        return [*layers, (out.class_queries_logits, out.masks_queries_logits)]

    def batch_images(self, images: list[Tensor]) -> Tensor:
        """(3, H_i, W_i) images in [0, 255] to one normalised (B, 3, H, W) batch, padded with zeros."""
        unit = self.size_divisibility
        height, width = (-(-max(image.shape[axis] for image in images) // unit) * unit for axis in (1, 2))
        images = [(image.to(self.pixel_mean.device).float() - self.pixel_mean) / self.pixel_std for image in images]
        return torch.stack([_pad(image, height, width) for image in images])

    def _targets(self, samples: list[dict[str, Any]], size: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
        device = self.pixel_mean.device
        masks = [_pad(sample["mask_labels"].to(device), *size) for sample in samples]
        return masks, [sample["class_labels"].to(device) for sample in samples]


def _pad(tensor: Tensor, height: int, width: int) -> Tensor:
    return F.pad(tensor, (0, width - tensor.shape[-1], 0, height - tensor.shape[-2]))


def _scores(class_logits: Tensor, masks: Tensor, sample: dict[str, Any]) -> Tensor:
    height, width = sample["image"].shape[-2:]
    scores = semantic_inference(class_logits, masks[:, :height, :width])
    wanted = (sample.get("height", height), sample.get("width", width))
    if wanted == (height, width):
        return scores
    return F.interpolate(scores[None], wanted, mode="bilinear", align_corners=False)[0]


def semantic_inference(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """(Q, K + 1) class logits and (Q, H, W) mask logits to (K, H, W) scores: sum over q of p(class) p(mask).

    Source: Cheng et al., "Per-Pixel Classification is Not All You Need", arXiv 2107.06278, section 3.4.
    """
    return torch.einsum("qc,qhw->chw", class_logits.float().softmax(-1)[:, :-1], mask_logits.float().sigmoid())


def build_mask2former(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    backbone_options: dict[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    queries: int = 100,
    encoder_layers: int = 6,
    decoder_layers: int = 9,
    feature_size: int = 256,
    mask_feature_size: int = 256,
    heads: int = 8,
    feedforward_size: int = 2048,
    encoder_feedforward_size: int = 1024,
    dropout: float = 0.0,
    class_weight: float = 2.0,
    mask_weight: float = 5.0,
    dice_weight: float = 5.0,
    no_object_weight: float = 0.1,
    points: int = 12544,
    oversample_ratio: float = 3.0,
    importance_sample_ratio: float = 0.75,
    **wrapping: Any,
) -> Mask2Former:
    """A Mask2Former with random weights; every default is the paper's for ADE20K with ResNet-50.

    Args:
        num_classes: categories, 1 or more. class_names: written into the network's config.
        backbone: a key of ``backbones.BACKBONES``; ``backbone_options``: fields of its config that differ.
        decoder_layers: layers with masked attention; the queries themselves are supervised too, as layer 0.
        feature_size, mask_feature_size: channels, multiples of 32 (group norm) and of ``heads``.
        wrapping: ``pixel_mean``, ``pixel_std``, ``size_divisibility``, ``freeze_norm`` of ``Mask2Former``.

    Raises:
        SegGenError: a number is out of range, or the backbone is unknown.
    """
    for name, value in (
        ("num_classes", num_classes),
        ("queries", queries),
        ("points", points),
        ("decoder_layers", decoder_layers),
    ):
        check_range(name, value, 1, 10**6)
    losses = {
        "class_weight": class_weight,
        "mask_weight": mask_weight,
        "dice_weight": dice_weight,
        "no_object_weight": no_object_weight,
        "oversample_ratio": oversample_ratio,
        "importance_sample_ratio": importance_sample_ratio,
    }
    names = list(class_names or map(str, range(num_classes)))
    with _quiet_about_backbones():
        config = Mask2FormerConfig(
            backbone_config=backbone_config(backbone, **(backbone_options or {})),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            num_queries=queries,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers + 1,
            feature_size=feature_size,
            hidden_dim=feature_size,
            mask_feature_size=mask_feature_size,
            num_attention_heads=heads,
            dim_feedforward=feedforward_size,
            encoder_feedforward_dim=encoder_feedforward_size,
            dropout=dropout,
            train_num_points=points,
            **losses,
        )
        network = Mask2FormerForUniversalSegmentation(config)
    network.model.transformer_module.decoder.layerdrop = (
        0.0  # transformers sets it to ``dropout``, and fails when a layer is dropped
    )
    return Mask2Former(network, SetCriterion(num_classes, num_points=points, **losses), **wrapping)


class _quiet_about_backbones:
    """transformers warns of every backbone but Swin; ResNets are the paper's too."""

    def __enter__(self) -> None:
        self.level = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()

    def __exit__(self, *_: object) -> None:
        transformers_logging.set_verbosity(self.level)

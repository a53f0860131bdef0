"""A small segmenter that learns in minutes: an encoder, and a U-Net's way back up.

Source of the decoder: Ronneberger et al., U-Net, arXiv 1505.04597, with one convolution a level and nearest neighbours as up-sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoBackbone

from seggen_d2.modeling.backbones import backbone_config
from seggen_d2.modeling.mask2former import PIXEL_MEAN, PIXEL_STD

PLAIN = "plain"  # the encoder of this file; all others are backbones of ``modeling``
PLAIN_CHANNELS = (16, 32, 64, 64)  # at strides 2, 4, 8 and 16
WIDEST = 128  # channels of a level of the decoder, at most


class PixelSegmenter(nn.Module):
    """Class scores a pixel.

    Args:
        classes: N. encoder: ``plain``, or a name of ``modeling.backbones``.
    """

    def __init__(self, classes: int, encoder: str = PLAIN):
        super().__init__()
        self.backbone = PlainEncoder() if encoder == PLAIN else AutoBackbone.from_config(backbone_config(encoder))
        channels = list(self.backbone.channels)
        widths = [min(width, WIDEST) for width in channels]
        inputs = [low + own for low, own in zip([*widths[1:-1], channels[-1]], channels[:-1], strict=True)]
        self.ups = nn.ModuleList(_block(i, o) for i, o in zip(inputs, widths[:-1], strict=True))
        self.head = nn.Conv2d(widths[0], classes, 1)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, N, H, W) scores of (B, 3, H, W) images, RGB in [0, 255]."""
        features = self._features((images.float() - self.mean) / self.std)
        low = features[-1]
        for up, own in zip(reversed(self.ups), reversed(features[:-1]), strict=True):
            low = up(torch.cat([F.interpolate(low, own.shape[-2:]), own], 1))
        return F.interpolate(self.head(low), images.shape[-2:], mode="bilinear")

    def _features(self, images: Tensor) -> Sequence[Tensor]:
        found = self.backbone(images)
        return found if isinstance(found, list) else found.feature_maps


class PlainEncoder(nn.Module):
    """Four levels of two convolutions, each at half the size of the one before."""

    channels = PLAIN_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        sides = zip((3, *self.channels[:-1]), self.channels, strict=True)
        self.stages = nn.ModuleList(nn.Sequential(_block(i, o, 2, 5 if i == 3 else 3), _block(o, o)) for i, o in sides)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The levels' (B, C, h, w), the finest first."""
        found = []
        for stage in self.stages:
            found.append(stage(found[-1] if found else images))
        return found


def _block(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

"""Networks that turn an image into a vector: a segmenter's backbone, or any image model in a transformers folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import read_json
from seggen_d2.mapping import DatasetMapper, test_augmentations
from seggen_d2.mapping.images import read_upright
from seggen_d2.modeling import Mask2Former
from seggen_d2.modeling.checkpoint import PROCESSOR
from seggen_d2.modeling.mask2former import PIXEL_MEAN, PIXEL_STD
from seggen_d2.modeling.quiet import quiet_transformers

SIDE = 224  # pixels, where a folder tells none


class FeatureModel(Protocol):
    """Turns images into vectors of one length."""

    def __call__(self, records: Sequence[dict[str, Any]]) -> np.ndarray:
        """``(B, D)`` float32 of records' images (``file_name``, a file's or a ``bank://`` path)."""


class BackboneFeatures:
    """A segmenter's backbone: the mean of its last feature map over the image (padding left out), at the segmenter's test size."""

    def __init__(self, model: Mask2Former):
        self.model = model.eval()
        self.mapper = DatasetMapper(test_augmentations(*model.test_size))

    @torch.no_grad()
    def __call__(self, records: Sequence[dict[str, Any]]) -> np.ndarray:
        images = [self.mapper(record)["image"] for record in records]
        batch = self.model.batch_images(images)
        maps = self.model.backbone(batch).feature_maps[-1].float()
        steps = [batch.shape[axis] / maps.shape[axis] for axis in (2, 3)]
        sizes = [[max(1, round(length / step)) for length, step in zip(image.shape[1:], steps, strict=True)] for image in images]
        return torch.stack([one[:, :height, :width].mean((1, 2)) for one, (height, width) in zip(maps, sizes, strict=True)]).cpu().numpy()


class ImageModelFeatures:
    """An image model of transformers' (DINOv2, CLIP, ViT, ResNet): its pooled output, else the mean of its tokens or cells.

    The whole image is brought to a square (bicubic, as its processor tells the side) and normalised by the processor's statistics.

    Args:
        model: takes ``pixel_values``.
        processor: transformers' ``preprocessor_config.json``.
    """

    def __init__(self, model: nn.Module, processor: dict[str, Any]):
        self.model, self.side = model.eval().requires_grad_(False), side_of(processor)
        told = processor.get("image_mean", [v / 255 for v in PIXEL_MEAN]), processor.get("image_std", [v / 255 for v in PIXEL_STD])
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in told)

    @torch.no_grad()
    def __call__(self, records: Sequence[dict[str, Any]]) -> np.ndarray:
        pixels = torch.stack([self._pixels(record["file_name"]) for record in records])
        return pooled(self.model(pixel_values=pixels.to(next(self.model.parameters()).device))).float().cpu().numpy()

    def _pixels(self, where: str) -> Tensor:
        planes = torch.from_numpy(np.array(read_upright(where))).permute(2, 0, 1)[None].float() / 255
        planes = F.interpolate(planes, (self.side, self.side), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        return (planes[0] - self.mean) / self.std


def pooled(output: Any) -> Tensor:
    """``(B, D)`` of a model's output."""
    found = getattr(output, "pooler_output", None)
    found = output.last_hidden_state if found is None else found
    return found.mean(1) if found.ndim == 3 else found.flatten(2).mean(2) if found.ndim == 4 else found


def side_of(processor: dict[str, Any]) -> int:
    """Pixels a side that a processor brings images to."""
    told = processor.get("crop_size") or processor.get("size") or SIDE
    side = (told.get("height") or told.get("shortest_edge") or SIDE) if isinstance(told, dict) else told
    return int(check_range("the side of the feature model's images", side, 1, 10_000))


def load_image_model(folder: str | os.PathLike) -> ImageModelFeatures:
    """Open an image model; of one of images and texts (CLIP) the image part.

    Raises:
        SegGenError: there is none, or it takes no images.
    """
    path = Path(folder)
    try:
        with quiet_transformers():
            model = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise SegGenError(f"feature model {folder} cannot be opened", expected="a transformers folder (config.json, model.safetensors)",
                          found=str(error).splitlines()[0][:200], remedy="check the path; download a model such as DINOv2 whole") from error
    model = getattr(model, "vision_model", model)
    if getattr(model, "main_input_name", "") != "pixel_values":
        raise SegGenError(f"feature model {folder} takes no images", expected="a model of pixel_values", found=type(model).__name__,
                          remedy="name an image model such as DINOv2, CLIP or ViT")
    return ImageModelFeatures(model, read_json(path / PROCESSOR, "image processor") if (path / PROCESSOR).is_file() else {})

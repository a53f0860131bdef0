"""A trained segmenter as judge: does it see in a painted image what the mask asked for?

Any model that transformers' Auto classes open for semantic or universal segmentation serves; a training of this package
leaves such a folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING, MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
from transformers.utils import cached_file

from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.files import read_json
from seggen_d2.segmentation import Categories

from ..images import to_unit

IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}  # of RGB in [0, 1]
DIVISOR = 32  # images are padded to multiples of it
PROCESSOR = "preprocessor_config.json"


class Segmenter:
    """Predicts label maps in a dataset's own ids.

    Args:
        model: its outputs are class logits a pixel, or class and mask logits a query.
        columns: for each of the dataset's K categories, the model's class of that name.
        processor: how images are brought to the model: ``size``, ``image_mean``, ``image_std`` as in transformers' files.
    """

    def __init__(self, model: PreTrainedModel, columns: Sequence[int], processor: dict[str, Any]):
        self.model, self.columns = model.eval().requires_grad_(False), torch.tensor(columns)
        self.short_side = _short_side(processor.get("size"))
        self.mean, self.std = (torch.tensor(processor.get(name, IMAGENET[name])).view(1, 3, 1, 1) for name in IMAGENET)

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """``(B, H, W, 3)`` uint8 RGB to ``(B, H, W)`` int64 category ids; each pixel gets one."""
        height, width = size = images.shape[1:3]
        pixels = (to_unit(images) - self.mean) / self.std
        if self.short_side:
            scale = self.short_side / min(size)
            size = max(1, round(height * scale)), max(1, round(width * scale))
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        padded = F.pad(pixels, (0, -size[1] % DIVISOR, 0, -size[0] % DIVISOR)).to(self.model.device)
        scores = _scores(self.model(pixel_values=padded), padded.shape[-2:])[:, self.columns.to(padded.device), : size[0], : size[1]]
        return F.interpolate(scores, (height, width), mode="bilinear", align_corners=False).argmax(1).cpu().numpy()


def _scores(output: Any, size: tuple[int, int]) -> torch.Tensor:
    """``(B, classes, H, W)`` at ``size``. Of queries, p(class) p(mask) summed (Cheng et al., arXiv 2107.06278, section 3.4)."""
    if getattr(output, "logits", None) is not None and output.logits.ndim == 4:
        return F.interpolate(output.logits.float(), size, mode="bilinear", align_corners=False)
    masks = F.interpolate(output.masks_queries_logits.float(), size, mode="bilinear", align_corners=False)
    return torch.einsum("bqc,bqhw->bchw", output.class_queries_logits.float().softmax(-1)[..., :-1], masks.sigmoid())


def load_segmenter(name: str | os.PathLike, categories: Categories, device: str | torch.device = "cpu") -> Segmenter:
    """Open a segmenter.

    Without a ``preprocessor_config.json`` images keep their size and are normalised by ImageNet's statistics, which is how
    this package's trainings see them.

    Args:
        name: a folder in transformers' layout, or a hub name.
        categories: the dataset's; each must be one of the model's classes, by name.
        device: where it runs.

    Raises:
        SegGenError: it is not there, is no segmenter of a known kind, or lacks a category.
    """
    config = _opened(name, lambda: AutoConfig.from_pretrained(name))
    auto = _auto_class(config, name)
    columns = match_classes(categories, config.id2label, str(name))
    model = _opened(name, lambda: auto.from_pretrained(name, use_safetensors=True))
    return Segmenter(model.to(device), columns, _processor(name))


def _opened(name: str | os.PathLike, load: Any) -> Any:
    try:
        return load()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SegGenError(f"segmenter {name} cannot be opened", expected="a transformers folder (config.json, model.safetensors) or a hub name",
                          found=str(error).splitlines()[0][:200],
                          remedy="check the path; a training of this package leaves one as OUTPUT_DIR/model_final") from error


def _auto_class(config: PreTrainedConfig, name: str | os.PathLike) -> type:
    for auto, known in ((AutoModelForUniversalSegmentation, MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING),
                        (AutoModelForSemanticSegmentation, MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING)):
        if type(config) in known and config.model_type not in ("oneformer", "detr", "videomt"):  # other inputs or outputs
            return auto
    raise SegGenError(f"{name} is no segmenter that can judge images", expected="a model for semantic or universal segmentation",
                      found=f"model_type {config.model_type}", remedy="use SegFormer, UPerNet, MaskFormer, Mask2Former or the like")


def _processor(name: str | os.PathLike) -> dict[str, Any]:
    path = cached_file(name, PROCESSOR, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False)
    return read_json(Path(path), "image processor") if path else {}


def _short_side(size: Any) -> int:
    """Pixels that a processor brings the short side to; 0 leaves images as they are."""
    if isinstance(size, dict):
        return int(size.get("shortest_edge") or min(size.get("height", 0), size.get("width", 0)))
    return int(size or 0)


def match_classes(categories: Categories, classes: dict[int, str], where: str) -> list[int]:
    """For each category the number of the model's class of that name; case and synonyms after a comma do not matter.

    Raises:
        SegGenError: some categories are none of the model's classes.
    """
    labels = [(number, _words(label)) for number, label in sorted(classes.items(), reverse=True)]
    known = {word: int(number) for number, words in labels for word in words} | {words[0]: int(number) for number, words in labels}
    found = [next((known[word] for word in _words(name) if word in known), None) for name in categories.names]
    missing = [name for name, number in zip(categories.names, found, strict=True) if number is None]
    if missing:
        raise SegGenError(f"segmenter {where} does not know {len(missing)} of the dataset's {len(categories)} categories",
                          expected=f"a class for each of {', '.join(missing[:8])}{', ...' if len(missing) > 8 else ''}",
                          found=f"{len(classes)} classes: {', '.join(list(classes.values())[:8])}{', ...' if len(classes) > 8 else ''}",
                          remedy=f"use one trained on this dataset's categories ({missing[0]!r}: {nearest(missing[0], known)})")
    return found


def _words(label: str) -> list[str]:
    """The whole label, then its synonyms."""
    whole = label.strip().lower()
    return list(dict.fromkeys([whole, *(part.strip() for part in whole.split(",") if part.strip())]))

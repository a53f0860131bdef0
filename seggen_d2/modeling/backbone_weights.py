"""Weights of a backbone alone: transformers folders, such as ``tools/train_backbone.py`` writes, into a segmenter's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor
from transformers import ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_json

from .checkpoint import CONFIG, PROCESSOR, shares
from .finished import final_model
from .mask2former import Mask2Former
from .mismatch import brief
from .quiet import quiet_transformers
from .word_classifier import WordClassifier

KINDS = {ResNetConfig.model_type: ResNetBackbone, SwinConfig.model_type: SwinBackbone}
_FAULTS = (OSError, RuntimeError, ValueError, SafetensorError)  # RuntimeError: shapes that differ


def holds_backbone(weights: str | os.PathLike) -> bool:
    """Whether a folder's ``config.json`` is of a backbone, or of a classifier on one, and not of a segmenter."""
    return _kind(weights) in KINDS


def whole_model(weights: str, engine: str = "transformers") -> str:
    """``final_model`` of ``weights``, or "" where that is a backbone, which a training starts from and nobody evaluates.

    Raises:
        SegGenError: see :func:`~.finished.final_model`.
    """
    found = final_model(weights, engine) if weights else ""
    return "" if found and holds_backbone(found) else found


def _kind(weights: str | os.PathLike) -> str:
    file = Path(weights) / CONFIG
    told = read_json(file, "model config") if file.is_file() else None
    return str(told.get("model_type")) if isinstance(told, dict) else ""


def save_backbone(model: WordClassifier, folder: str | os.PathLike, side: int) -> None:
    """Write the backbone as a transformers folder (``ResNetBackbone.from_pretrained`` or ``SwinBackbone``'s opens it); the words' layer is left out.

    Args:
        side: pixels of the pictures that it has seen; ``preprocessor_config.json`` tells it, and how pixels are normalised.
    """
    with quiet_transformers():
        model.backbone.save_pretrained(folder)
    size = {"height": side, "width": side}
    write_json(Path(folder) / PROCESSOR, {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": size, "resample": 2,
                                          "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                                          "image_mean": shares(model.pixel_mean), "image_std": shares(model.pixel_std)})


def load_backbone(model: Mask2Former, weights: str | os.PathLike) -> None:
    """Load a transformers backbone or classifier into the model's backbone, statistics of batch norms included.

    Norms of Swin's outputs stay as they are where the weights, a classifier's, have none.

    Args:
        weights: a folder, a hub id (``microsoft/resnet-50``), or a name of ``finished.SHIPPED``.

    Raises:
        SegGenError: it cannot be opened, or is of another backbone.
    """
    own, where = model.backbone, final_model(weights)
    try:
        with quiet_transformers():
            loaded, report = type(own).from_pretrained(where, config=own.config, output_loading_info=True, dtype=own.dtype)
    except _FAULTS as error:
        raise _unfit(weights, type(own).__name__, str(error).splitlines()[0]) from error
    missing = [key for key in report["missing_keys"] if "hidden_states_norms" not in key]
    if missing:
        raise _unfit(weights, type(own).__name__, brief("missing", sorted(missing)))
    own.load_state_dict(loaded.state_dict())


def backbone_state(folder: str | os.PathLike) -> dict[str, Tensor]:
    """The weights of a folder that :func:`holds_backbone`, in the names of the segmenter's network.

    Raises:
        SegGenError: it cannot be read.
    """
    try:
        with quiet_transformers():
            network, report = KINDS[_kind(folder)].from_pretrained(folder, output_loading_info=True, local_files_only=True)
    except _FAULTS as error:
        raise _unfit(folder, "backbone", str(error).splitlines()[0]) from error
    absent = set(report["missing_keys"])
    return {f"model.pixel_level_module.encoder.{name}": value for name, value in network.state_dict().items() if name not in absent}


def _unfit(weights: Any, kind: str, found: str) -> SegGenError:
    return SegGenError(f"MODEL.WEIGHTS or MODEL.BACKBONE.WEIGHTS: {weights} cannot be loaded into the backbone",
                       expected=f"a transformers folder or a hub id of a {kind}, as configured", found=found,
                       remedy="name weights of the backbone in MODEL.BACKBONE.NAME (and its MODEL.BACKBONE.OPTIONS)")

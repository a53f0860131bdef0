"""Models on disk: plain transformers folders (``config.json``, ``model.safetensors``) that open without this package.

Beside them ``preprocessor_config.json``, transformers' own form too, tells what is done to images.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_json
from seggen_d2.segmentation import Categories, check_same_categories

from .build import mask2former_of
from .finished import final_model
from .mask2former import Mask2Former
from .mismatch import Mismatch
from .outputs import Outputs
from .quiet import quiet_transformers

logger = logging.getLogger(__name__)
_ENGINE = "transformers"  # whose folders these are
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_KIND = Mask2FormerConfig.model_type


def save_network(model: Mask2Former, folder: str | os.PathLike) -> None:
    """Write the model; ``Mask2FormerForUniversalSegmentation.from_pretrained(folder)`` reads its network."""
    with quiet_transformers():
        model.network.save_pretrained(folder)
    write_json(Path(folder) / PROCESSOR, _processor(model))


def load_weights(model: Mask2Former, weights: str | os.PathLike) -> None:
    """Load a checkpoint folder, a run's folder, a file of safetensors, or (where there is no such thing) a hub id into ``model``.

    Raises:
        SegGenError: there is none, or it is of another model: keys missing, unexpected, or of another shape.
    """
    where = final_model(weights, _ENGINE)
    model.network.load_state_dict(_fitting(model.network, _read_weights(where), where))


def load_mask2former(
    folder: str | os.PathLike, categories: Categories | None = None, outputs: Outputs | None = None
) -> Mask2Former:
    """The model of a finished run (its folder) or of a checkpoint (a transformers folder), in evaluation mode, on the CPU.

    Args:
        categories: the label space that it must have; None takes its own.
        outputs: the results that it gives; by default semantic ones.

    Raises:
        SegGenError: there is no model, it is of another architecture, damaged, or of other categories.
    """
    path = model_folder(folder)
    config = _read_config(path)
    if categories is not None:
        names = tuple(name for _, name in sorted(config.id2label.items()))
        check_same_categories(categories, Categories.from_names(names, categories.ignore_id), a_is="the dataset", b_is=f"the model {path}", things=False)
    model = mask2former_of(config, outputs=outputs, **_wrapping(path))
    load_weights(model, path)
    return model.eval()


def model_folder(folder: str | os.PathLike) -> Path:
    """The transformers folder of a finished run, or ``folder`` itself.

    Raises:
        SegGenError: it is a run that did not finish, or one that left no such folder.
    """
    try:
        return Path(final_model(folder, _ENGINE))
    except SegGenError as error:
        raise SegGenError(f"{folder} holds no model that can be opened by itself", expected="a finished run of the transformers engine, or a transformers "
                          "folder of a Mask2Former", found=error.found, remedy="let the training finish; Detectron2's weights do not tell what model they "
                          "are of: train the segmenter with SEGGEN.ENGINE transformers") from error


def check_weights(weights: str | os.PathLike) -> list[Path]:
    """The files of a checkpoint, before they are needed; none for a hub id, which is not asked.

    Raises:
        SegGenError: it is no hub id, and there is no checkpoint.
    """
    path = Path(final_model(weights, _ENGINE))
    single = path.suffix == ".safetensors" and path.is_file()
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path] * single
    if not files and (path.exists() or not _HUB_ID.fullmatch(str(weights))):
        found = "a folder without one" if path.is_dir() else "a file of another kind" if path.exists() else "nothing"
        raise SegGenError(f"there is no checkpoint at {weights}", expected="a run's folder, or one with model.safetensors", found=found,
                          remedy="check MODEL.WEIGHTS or START_WEIGHTS")
    return files


def _processor(model: Mask2Former) -> dict[str, Any]:
    """In the terms of transformers' ``Mask2FormerImageProcessor``, which has pixels in [0, 1]."""
    shortest, longest = model.test_size
    size = {"size": {"shortest_edge": shortest, "longest_edge": longest}} if shortest else {}
    return {"image_processor_type": "Mask2FormerImageProcessor", "do_resize": bool(shortest), **size, "resample": 2,
            "size_divisor": model.size_divisibility, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": shares(model.pixel_mean), "image_std": shares(model.pixel_std)}


def shares(values: Tensor) -> list[float]:
    """Pixel statistics in [0, 255] as transformers' processors have them: of 1."""
    return [round(value / 255, 7) for value in values.flatten().tolist()]


def _wrapping(path: Path) -> dict[str, Any]:
    """The arguments of :class:`Mask2Former` that a folder tells; where it tells none, they are ImageNet's, and the log says so."""
    if not (path / PROCESSOR).is_file():
        logger.warning("%s has no %s: images keep their size and are normalised by ImageNet's statistics", path, PROCESSOR)
        return {}
    told = read_json(path / PROCESSOR, "image processor")
    size = told.get("size") or {}
    shortest = size.get("shortest_edge", 0) if told.get("do_resize", True) else 0
    pixels = {name: [255 * value for value in told[key]] for name, key in (("pixel_mean", "image_mean"), ("pixel_std", "image_std")) if key in told}
    return {**pixels, "size_divisibility": told.get("size_divisor", 32), "test_size": (shortest, size.get("longest_edge", 2048))}


def _read_config(path: Path) -> Mask2FormerConfig:
    """A folder's config.

    Raises:
        SegGenError: there is none, or it is of another architecture.
    """
    if not (path / CONFIG).is_file():
        raise SegGenError(f"there is no model at {path}", expected=f"a finished run's folder, or a transformers folder ({CONFIG}, model.safetensors)",
                          found="a folder without one" if path.is_dir() else "a file of another kind" if path.exists() else "nothing",
                          remedy="check the path; let the training finish first")
    told = read_json(path / CONFIG, "model config")
    kind = told.get("model_type") if isinstance(told, dict) else None
    if kind != _KIND:
        raise SegGenError(f"the model {path} is of another architecture", expected=f"model_type {_KIND}", found=f"model_type {kind}",
                          remedy="name a Mask2Former: a run of this package, or one of transformers'")
    try:
        with quiet_transformers():
            return Mask2FormerConfig.from_dict(told)
    except (TypeError, ValueError, KeyError) as error:
        raise SegGenError(f"{path / CONFIG} describes no model that can be built", found=str(error).splitlines()[0]) from error


def _read_weights(weights: str) -> Mapping[str, Tensor]:
    files = check_weights(weights)
    if files:
        return {key: value for file in files for key, value in _load_file(file).items()}
    try:
        return Mask2FormerForUniversalSegmentation.from_pretrained(weights).state_dict()
    except OSError as error:
        raise SegGenError(f"{weights} is no folder here and cannot be had from the hub", expected="a checkpoint folder, or a hub id",
                          found=str(error).splitlines()[0]) from error


def _load_file(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except Exception as error:  # safetensors raises its own error type
        raise SegGenError(f"checkpoint {file} cannot be read", expected="a safetensors file", found=str(error),
                          remedy="it may be truncated: copy it again, or take the checkpoint before it") from error


def _fitting(network: nn.Module, loaded: Mapping[str, Tensor], where: str) -> Mapping[str, Tensor]:
    """``loaded`` in the names of ``network``: transformers writes some names (Swin's) as earlier releases had them.

    Raises:
        SegGenError: it is of another model.
    """
    with quiet_transformers():
        read, told = type(network).from_pretrained(None, config=network.config, state_dict=dict(loaded), output_loading_info=True,
                                                   ignore_mismatched_sizes=True)
    shapes = {key: (tuple(found), tuple(wanted)) for key, found, wanted in sorted(told["mismatched_keys"])}
    mismatch = Mismatch(tuple(sorted(told["missing_keys"])), tuple(sorted(told["unexpected_keys"])), shapes)
    if mismatch:
        raise SegGenError(f"{where} is a checkpoint of another model", expected=f"the {len(network.state_dict())} keys of the configured model",
                          found=str(mismatch), remedy="use the config it was trained with, or start from other weights")
    return read.state_dict()

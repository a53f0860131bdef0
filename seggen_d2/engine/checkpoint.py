"""Checkpoints: plain transformers folders (``config.json``, ``model.safetensors``) that open without this package."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation
from transformers.utils import logging as transformers_logging

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.modeling import Mask2Former
from seggen_d2.modeling.mismatch import brief, compare
from seggen_d2.modeling.upstream_checkpoint import load_upstream

logger = logging.getLogger(__name__)
_DETECTRON2_FILES = "https://dl.fbaipublicfiles.com/detectron2/"  # what Detectron2 reads as detectron2://
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def save_network(model: Mask2Former, folder: str | os.PathLike) -> None:
    """Write the network; ``Mask2FormerForUniversalSegmentation.from_pretrained(folder)`` reads it."""
    with _no_progress_bar():
        model.network.save_pretrained(folder)


def load_network(model: Mask2Former, weights: str | os.PathLike) -> None:
    """Load a checkpoint folder (or a hub id, where there is no such folder) into ``model``.

    A file of upstream Mask2Former (``.pkl``, ``.pth``) serves too, also a backbone's alone.

    Raises:
        SegGenError: there is none, or it is of another model: keys missing, unexpected, or of another shape.
    """
    if str(weights).endswith((".pkl", ".pth")):
        logger.info("%s", load_upstream(model, _here(str(weights))))
        return
    model.network.load_state_dict(_same_keys(model.network, _read_weights(weights), str(weights)))


def check_weights(weights: str) -> None:
    """Whether there is something to load at ``weights``, before it is needed; a hub is not asked.

    Raises:
        SegGenError: it is an address, or there is neither a file nor a checkpoint folder.
    """
    if weights.endswith((".pkl", ".pth")):
        _here(weights)
    elif weights:
        _files(weights)


def _here(weights: str) -> str:
    """A file on this machine.

    Raises:
        SegGenError: it is an address, or not there.
    """
    if Path(weights).is_file():
        return weights
    if "://" not in weights:
        raise SegGenError(
            f"checkpoint {weights} does not exist",
            expected="a .pth or .pkl file, or a folder with model.safetensors",
            found="nothing",
            remedy="check MODEL.WEIGHTS or START_WEIGHTS",
        )
    address = weights.replace("detectron2://", _DETECTRON2_FILES)
    raise SegGenError(
        f"MODEL.WEIGHTS: the transformers engine downloads no {weights}",
        expected="a file or a checkpoint folder",
        found=weights,
        remedy=f"download {address} and name the file, or name MODEL.BACKBONE.WEIGHTS with MODEL.WEIGHTS ''",
    )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers draws a bar a file over ours."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def load_backbone(model: Mask2Former, weights: str) -> None:
    """Load a transformers backbone or classifier (folder or hub id, such as ``microsoft/resnet-50``) into the model's.

    Raises:
        SegGenError: it cannot be opened, or is of another backbone.
    """
    own = model.backbone
    try:
        loaded, report = type(own).from_pretrained(weights, config=own.config, output_loading_info=True)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: shapes that differ
        raise SegGenError(
            f"MODEL.BACKBONE.WEIGHTS: {weights} cannot be loaded",
            expected=f"a transformers folder or a hub id of a {type(own).__name__}",
            found=str(error).splitlines()[0],
            remedy="name weights of the backbone in MODEL.BACKBONE.NAME",
        ) from error
    missing = [
        key for key in report["missing_keys"] if "hidden_states_norms" not in key
    ]  # classifiers have no norm per stage
    if missing:
        raise SegGenError(
            f"MODEL.BACKBONE.WEIGHTS: {weights} is of another backbone",
            found=brief("missing", sorted(missing)),
            remedy="name weights of the backbone in MODEL.BACKBONE.NAME",
        )
    own.load_state_dict(loaded.state_dict())


def last_checkpoint(folder: str | os.PathLike) -> Path | None:
    """The ``checkpoint-N`` of the highest N that was written to its end, or None."""
    found = sorted(Path(folder).glob("checkpoint-*"), key=iteration_of, reverse=True)
    return next((path for path in found if _is_whole(path)), None)


def iteration_of(checkpoint: Path) -> int:
    """N of ``checkpoint-N``; -1 for another name."""
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def _is_whole(checkpoint: Path) -> bool:
    """The trainer's state is written last; cut short it is no JSON."""
    try:
        return bool(read_json(checkpoint / "trainer_state.json"))
    except SegGenError:
        return False


def _files(weights: str | os.PathLike) -> list[Path]:
    """The files of a checkpoint; none for a hub id.

    Raises:
        SegGenError: it is no hub id, and there is no checkpoint.
    """
    path = Path(weights)
    files = (
        sorted(path.glob("*.safetensors"))
        if path.is_dir()
        else [path]
        if path.suffix == ".safetensors" and path.is_file()
        else []
    )
    if not files and (path.exists() or not _HUB_ID.fullmatch(str(weights))):
        raise SegGenError(
            f"there is no checkpoint at {weights}",
            expected="a folder with model.safetensors",
            found="a folder without one"
            if path.is_dir()
            else "nothing"
            if not path.exists()
            else "a file of another kind",
            remedy="check MODEL.WEIGHTS or START_WEIGHTS",
        )
    return files


def _read_weights(weights: str | os.PathLike) -> Mapping[str, Tensor]:
    files = _files(weights)
    if files:
        return {key: value for file in files for key, value in _load_file(file).items()}
    try:
        return Mask2FormerForUniversalSegmentation.from_pretrained(str(weights)).state_dict()
    except OSError as error:
        raise SegGenError(
            f"{weights} is no folder here and cannot be had from the hub",
            expected="a checkpoint folder, or a hub id",
            found=str(error).splitlines()[0],
        ) from error


def _load_file(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except Exception as error:  # safetensors raises its own error type
        raise SegGenError(
            f"checkpoint {file} cannot be read",
            expected="a safetensors file",
            found=str(error),
            remedy="it may be truncated: copy it again, or take the checkpoint before it",
        ) from error


def _same_keys(module: nn.Module, loaded: Mapping[str, Tensor], where: str) -> Mapping[str, Tensor]:
    own = module.state_dict()
    mismatch = compare(own, loaded)
    if mismatch:
        raise SegGenError(
            f"{where} is a checkpoint of another model",
            expected=f"the {len(own)} keys of the configured model",
            found=str(mismatch),
            remedy="use the config it was trained with, or start from other weights",
        )
    return loaded

"""Checkpoints as the engine reads them: weights of any kind into a configured model, backbones, and where a stage goes on."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.modeling import Mask2Former, checkpoint
from seggen_d2.modeling.backbone_weights import holds_backbone, load_backbone
from seggen_d2.modeling.checkpoint import load_weights, save_network
from seggen_d2.modeling.finished import final_model
from seggen_d2.modeling.upstream_checkpoint import load_upstream

__all__ = ["check_weights", "iteration_of", "last_checkpoint", "load_backbone", "load_network", "save_network"]

logger = logging.getLogger(__name__)
_DETECTRON2_FILES = "https://dl.fbaipublicfiles.com/detectron2/"  # what Detectron2 reads as detectron2://


def load_network(model: Mask2Former, weights: str | os.PathLike) -> None:
    """Load a finished run (its folder), a checkpoint folder, or a hub id (where there is no such folder) into ``model``.

    A file of upstream Mask2Former (``.pkl``, ``.pth``) serves too. Where there is but a backbone (a file, or a transformers folder)
    the rest stays as it was drawn, and the log says so.

    Raises:
        SegGenError: there is none, or it is of another model: keys missing, unexpected, or of another shape.
    """
    weights = final_model(weights, "transformers")
    if weights.endswith((".pkl", ".pth")):
        logger.info("%s", load_upstream(model, _here(weights)))
    elif holds_backbone(weights):
        load_backbone(model, weights)
        logger.info("%s: a backbone; the rest is drawn at random", weights)
    else:
        load_weights(model, weights)


def check_weights(weights: str) -> None:
    """Whether there is something to load at ``weights``, before it is needed; a hub is not asked.

    Raises:
        SegGenError: it is an address, or there is neither a file nor a checkpoint folder.
    """
    weights = final_model(weights, "transformers") if weights else ""
    if weights.endswith((".pkl", ".pth")):
        _here(weights)
    elif weights:
        checkpoint.check_weights(weights)


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

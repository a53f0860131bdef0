"""Weights of upstream Mask2Former, or of its backbone alone, into this package's model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seggen_d2.foundation.errors import SegGenError

from .mask2former import Mask2Former
from .mismatch import Mismatch, brief, compare
from .pickled import read_pickled_weights
from .upstream_names import from_upstream, modern_name, own_names, to_upstream

# Weights that follow the number of categories, in Mask2Former and Mask DINO.
_CLASS_HEAD = re.compile(r"(^|\.)(class_embed|label_enc)\.|(^|\.)criterion\.empty_weight$")
# What a file may lack or hold beside the weights: constants, counters of batches, and in files of Swin alone its norms
# of the four outputs, which classifiers do not have.
_CONSTANT = re.compile(r"(^|\.)(pixel_mean|pixel_std|num_batches_tracked|relative_position_index|attn_mask"
                       r"|criterion\.empty_weight)$|cell_anchors")
_OUTPUT_NORM = re.compile(r"(^|\.)backbone\.norm\d\.")


@dataclass(frozen=True)
class LoadReport:
    """What was taken from a checkpoint.

    Args:
        backbone_only: the file holds a backbone and no more.
        loaded: tensors taken. reinitialised: weights of the class head, drawn anew for another number of categories.
        ignored: keys that the model has no use for (a classifier's head).
    """

    path: str
    backbone_only: bool
    loaded: int
    reinitialised: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.path}: {self.loaded} tensors of {'a backbone' if self.backbone_only else 'a whole model'}"]
        parts += [brief("re-initialised for another number of categories", self.reinitialised)] * bool(self.reinitialised)
        parts += [brief("not used", self.ignored)] * bool(self.ignored)
        return "; ".join(parts)


def load_upstream(model: Mask2Former, path: str | os.PathLike) -> LoadReport:
    """Load a checkpoint in upstream's names: ``.pkl`` of the model zoo, or ``.pth``; a backbone's alone serves too.

    Where the number of categories differs the class head is drawn anew, and the report says so.

    Raises:
        SegGenError: the file cannot be read, holds more than weights, or is of another architecture.
    """
    state = {modern_name(name): value for name, value in read_weights(path).items()}
    backbone_only = not any(name.startswith(("backbone.", "sem_seg_head.")) for name in state)
    own = to_upstream(model.network.state_dict())
    if backbone_only:
        state = {f"backbone.{name}": value for name, value in state.items()}
        own = {name: value for name, value in own.items() if name.startswith("backbone.")}
    mismatch = compare(own, state)
    head = class_head(mismatch)
    check_architecture(mismatch, str(path), backbone_only=backbone_only)
    taken = {name: state[name] for name in own.keys() & state.keys() - set(head)}
    model.network.load_state_dict(from_upstream(taken), strict=False)
    if head:
        model.network.class_predictor.reset_parameters()
    return LoadReport(str(path), backbone_only, len(taken), head, mismatch.unexpected)


def class_head(mismatch: Mismatch) -> tuple[str, ...]:
    """Keys whose shapes differ in the number of categories alone."""
    return tuple(name for name, (found, wanted) in mismatch.shapes.items()
                 if _CLASS_HEAD.search(name) and found[1:] == wanted[1:])


def check_architecture(mismatch: Mismatch, path: str, *, backbone_only: bool) -> None:
    """Pass over what does not matter: constants, the class head, and what a backbone's file has or lacks by nature.

    Raises:
        SegGenError: anything else is missing, unexpected, or of another shape.
    """
    head = class_head(mismatch)
    rest = Mismatch(
        _without(mismatch.missing, _OUTPUT_NORM if backbone_only else None),
        tuple(name for name in _without(mismatch.unexpected) if not backbone_only or own_names(name)),
        {name: shapes for name, shapes in mismatch.shapes.items() if name not in head},
    )
    if rest:
        raise SegGenError(f"{path} is a checkpoint of another {'backbone' if backbone_only else 'architecture'}",
                          expected="the keys and shapes of the configured model", found=str(rest),
                          remedy="use the config it was trained with, or other weights")


def _without(names: Iterable[str], also: re.Pattern[str] | None = None) -> tuple[str, ...]:
    return tuple(name for name in names if not _CONSTANT.search(name) and not (also and also.search(name)))


def read_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the prefix of distributed training.

    Raises:
        SegGenError: the file cannot be read, or holds no tensors by name.
    """
    content = read_checkpoint(path)
    state = content.get("model", content.get("state_dict", content))
    named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    if not named or not any(isinstance(value, (Tensor, np.ndarray)) for value in state.values()):
        raise SegGenError(f"checkpoint {path} holds no weights", expected="tensors by name, maybe under 'model'",
                          found=f"keys: {', '.join(map(str, list(content)[:5]))}", remedy="check the path")
    return {name.removeprefix("module."): torch.as_tensor(value) for name, value in state.items()
            if isinstance(value, (Tensor, np.ndarray))}


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a ``.pkl`` (by a reader that runs nothing) or ``.pth`` file (weights only), on the CPU.

    Raises:
        SegGenError: it cannot be read, or holds more than weights and plain values.
    """
    content = read_pickled_weights(path) if Path(path).suffix == ".pkl" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise SegGenError(f"checkpoint {path} is no dict", expected="weights by name", found=type(content).__name__)
    return dict(content)


def _read_torch(path: str | os.PathLike) -> Any:
    if not Path(path).is_file():
        raise SegGenError(f"checkpoint {path} does not exist", expected="a file", found="nothing", remedy="check the path")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the damage makes of it
        raise SegGenError(f"checkpoint {path} cannot be read with weights only", expected="tensors and plain values",
                          found=str(error).splitlines()[0],
                          remedy="it may be truncated, or hold objects: save its state dict alone") from error

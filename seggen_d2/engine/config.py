"""Configs: YAML files with ``_BASE_`` on top of the defaults, then ``KEY VALUE`` pairs; every value checked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range, nearest
from seggen_d2.foundation.files import write_bytes
from seggen_d2.foundation.options import literal, load_yaml, merge, parse_overrides

from .defaults import ONLY_DETECTRON2, get_defaults
from .dialects import (
    DETECTRON2_DEFAULTS,
    backbone_keys,
    check_model,
    detectron2_keys,
    is_of_other_models,
    names_architecture,
    not_done,
)
from .multi_scale import check_sizes
from .tasks import MAPPERS

_MANY = 10**9
_RANGES: dict[str, tuple[float, float]] = {
    "SEGGEN.P_AUG": (0, 1),
    "SEGGEN.P_AUG_END": (0, 1),
    "SEGGEN.SYNTHETIC_WEIGHT": (0, 1000),
    "SEGGEN.EMA": (0, 1),
    "SOLVER.BASE_LR": (0, 10),
    "SOLVER.MAX_ITER": (1, _MANY),
    "SOLVER.IMS_PER_BATCH": (1, 10**6),
    "SOLVER.ACCUMULATE": (1, 10**6),
    "SOLVER.BACKBONE_MULTIPLIER": (0, 100),
    "SOLVER.WEIGHT_DECAY": (0, 10),
    "SOLVER.GAMMA": (0, 1),
    "SOLVER.WARMUP_FACTOR": (0, 1),
    "SOLVER.WARMUP_ITERS": (0, _MANY),
    "SOLVER.CHECKPOINT_PERIOD": (1, _MANY),
    "SOLVER.CHECKPOINTS_KEPT": (1, _MANY),
    "SOLVER.LOG_PERIOD": (1, _MANY),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": (0, _MANY),
    "TEST.EVAL_PERIOD": (0, _MANY),
    "TEST.DETECTIONS_PER_IMAGE": (1, 10**6),
    "TEST.IMS_PER_BATCH": (1, 10**6),
    "TEST.AUG.MAX_SIZE": (1, _MANY),
    "DATALOADER.NUM_WORKERS": (0, 1024),
    "SEED": (0, 2**32 - 1),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": (0, 1),
    "INPUT.IMAGE_SIZE": (1, 10**5),
    "INPUT.MIN_SCALE": (0.001, 1000),
    "INPUT.MAX_SCALE": (0.001, 1000),
    "INPUT.MIN_SIZE_TEST": (0, 10**5),
    "MODEL.MASK_FORMER.DROPOUT": (0, 1),
    "MODEL.MASK_FORMER.DEC_LAYERS": (2, 1000),
    "MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD": (0, 1),
    "MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD": (0, 1),
    "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": (1, 10**5),
    "MODEL.MASK_FORMER.TRAIN_NUM_POINTS": (1, 10**7),
    "MODEL.MASK_FORMER.OVERSAMPLE_RATIO": (1, 1000),
    "MODEL.MASK_FORMER.IMPORTANCE_SAMPLE_RATIO": (0, 1),
    "MODEL.MASK_FORMER.SIZE_DIVISIBILITY": (1, 1024),
    "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": (1, 1000),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "SEGGEN.ENGINE": ("auto", "transformers", "detectron2"),
    "SEGGEN.SAMPLING": ("uniform", "paired", "weighted"),
    "SEGGEN.P_AUG_SCHEDULE": ("constant", "linear", "cosine"),
    "SEGGEN.P_AUG_BY": ("", "rarity"),
    "SEGGEN.MAPPER": ("seggen", "host"),
    "SOLVER.AMP.DTYPE": ("bf16", "fp16"),
    "SOLVER.LR_SCHEDULER_NAME": ("WarmupPolyLR", "WarmupMultiStepLR"),
    "INPUT.RANDOM_FLIP": ("horizontal", "none"),
    "INPUT.DATASET_MAPPER_NAME": tuple(MAPPERS),
    "MODEL.DEVICE": ("", "cpu", "cuda"),
}


def load_config(path: str | os.PathLike | None, overrides: Sequence[str] = ()) -> tuple[CfgNode, list[str]]:
    """The resolved config, and the keys given that this engine does not honour.

    A Detectron2 config serves too (``dialects.py`` says which files are): what it leaves out has Detectron2's defaults.

    Args:
        path: a YAML file; None takes the defaults.
        overrides: ``KEY VALUE KEY VALUE ...``.

    Raises:
        SegGenError: a key is unknown (the nearest is suggested), a value of another type or out of range, or the file
            is of a task or model that this engine does not have.
    """
    file, cfg = load_yaml(path) if path else {}, get_defaults()
    given = dict(flatten(merge(file, parse_overrides(list(overrides))), stop=nodes(cfg)))
    known = {key for key, _ in flatten(cfg)}
    if names_architecture(file):
        given = {**DETECTRON2_DEFAULTS, **given}
    check_model(given)
    _check_known(given, known, path)
    for key in known.intersection(given):
        _set(cfg, key, convert(_get(cfg, key), given[key], key))
    found, ignored = backbone_keys(given, cfg.MODEL.BACKBONE.NAME)
    for key, value in found.items():
        if f"MODEL.BACKBONE.{key}" not in given or key == "NAME":
            _set(cfg, f"MODEL.BACKBONE.{key}", CfgNode(value) if isinstance(value, dict) else value)
    check_config(cfg)
    cfg.freeze()
    return cfg, sorted([*not_done(given, cfg), *ONLY_DETECTRON2.intersection(given), *ignored])


def _check_known(given: Mapping[str, Any], known: set[str], path: str | os.PathLike | None) -> None:
    everything = known | detectron2_keys()
    for key in given:
        if key not in everything and not is_of_other_models(key):
            raise SegGenError(
                f"unknown config key {key!r}" + (f" (in {path} or the pairs after it)" if path else ""),
                remedy=nearest(key, everything),
            )


def nodes(cfg: CfgNode) -> set[str]:
    """Keys whose value is a mapping of free keys: leaves, to ``flatten``."""
    return {key for key, value in flatten(cfg) if isinstance(value, CfgNode)}


def check_config(cfg: CfgNode) -> None:
    """Every value that has a range or a list of choices.

    Raises:
        SegGenError: naming key, range and value.
    """
    check_values(cfg)
    if cfg.INPUT.CROP.ENABLED and (len(cfg.INPUT.CROP.SIZE) != 2 or min(cfg.INPUT.CROP.SIZE) < 1):
        raise SegGenError(
            "INPUT.CROP.SIZE is no size", expected="[height, width] in pixels", found=repr(cfg.INPUT.CROP.SIZE)
        )
    if cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM != cfg.MODEL.MASK_FORMER.HIDDEN_DIM:
        raise SegGenError(
            "MODEL.SEM_SEG_HEAD.CONVS_DIM and MODEL.MASK_FORMER.HIDDEN_DIM differ",
            expected="one number of channels",
            found=f"{cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM} and {cfg.MODEL.MASK_FORMER.HIDDEN_DIM}",
        )


def check_values(cfg: CfgNode, under: str | tuple[str, ...] = "") -> None:
    """The ranges and choices of single values, of keys that begin with ``under``.

    Raises:
        SegGenError: naming key, range and value.
    """
    for key, (low, high) in _RANGES.items():
        if key.startswith(under):
            check_range(key, _get(cfg, key), low, high)
    for key, choices in _CHOICES.items():
        if key.startswith(under):
            check_choice(key, _get(cfg, key), choices)
    if cfg.SOLVER.IMS_PER_BATCH % cfg.SOLVER.ACCUMULATE:
        raise SegGenError(
            "SOLVER.ACCUMULATE does not divide SOLVER.IMS_PER_BATCH",
            expected="parts of equal size",
            found=f"{cfg.SOLVER.IMS_PER_BATCH} images in {cfg.SOLVER.ACCUMULATE} parts",
        )
    check_sizes(cfg.TEST.AUG.MIN_SIZES)


def to_dict(node: Any) -> Any:
    """A config as plain mappings and lists."""
    return {key: to_dict(value) for key, value in node.items()} if isinstance(node, dict) else node


def save_config(cfg: CfgNode, path: str | os.PathLike) -> None:
    """Write the resolved config as YAML that ``yaml.safe_load`` reads."""
    write_bytes(Path(path), yaml.safe_dump(to_dict(cfg), sort_keys=False).encode())


def differences(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """``KEY: old -> new`` for every key whose value differs."""
    new_values, old_values = dict(flatten(new)), dict(flatten(old))
    keys = sorted({*new_values, *old_values})
    return [
        f"{key}: {old_values.get(key)} -> {new_values.get(key)}"
        for key in keys
        if old_values.get(key) != new_values.get(key)
    ]


def flatten(
    values: dict[str, Any], prefix: str = "", stop: frozenset[str] | set[str] = frozenset()
) -> Iterator[tuple[str, Any]]:
    """``("A.B", value)`` for every leaf of nested mappings; an empty mapping, and any key of ``stop``, is a leaf."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value and key not in stop:
            yield from flatten(value, f"{key}.", stop)
        else:
            yield key, value


def _get(cfg: CfgNode, key: str) -> Any:
    node: Any = cfg
    for part in filter(None, key.split(".")):
        node = node[part]
    return node


def _set(cfg: CfgNode, key: str, value: Any) -> None:
    path, _, last = key.rpartition(".")
    _get(cfg, path)[last] = value


def convert(default: Any, value: Any, key: str) -> Any:
    """``value`` in the type of ``default``.

    Whole floats are integers, texts may be numbers (YAML reads 1e-4 as text), one item makes a list.
    """
    kind = type(default)
    if isinstance(default, CfgNode) and isinstance(value, dict):
        return CfgNode(value)
    if isinstance(value, str) and isinstance(default, (list, tuple)):  # YAML reads ("a", "b") as text, Detectron2 does not
        value = literal(value)
    if isinstance(default, list) and not isinstance(value, dict):
        return list(value) if isinstance(value, (list, tuple)) else [value]
    if isinstance(value, str) and kind in (int, float):
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is kind:
        return value
    raise SegGenError(
        f"config key {key} has the wrong type", expected=kind.__name__, found=f"{value!r} ({type(value).__name__})"
    )

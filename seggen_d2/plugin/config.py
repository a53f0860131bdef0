"""Configs for Detectron2: this package's keys on any host's config, and files of either dialect loaded and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from seggen_d2.engine.backbone_keys import RESNET, RESNET_FIXED, SWIN, detectron2_backbone
from seggen_d2.engine.config import check_values, convert, flatten, nodes, to_dict
from seggen_d2.engine.defaults import OURS, get_defaults
from seggen_d2.engine.dialects import ALWAYS, ARCHITECTURE, always, names_architecture, plain
from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.options import load_yaml, merge, parse_overrides

from .config_keys import add_keys, add_mask2former_keys

# What the trainer does whatever these keys say.
_TRAINER: dict[str, Any] = {
    "VIS_PERIOD": 0,
    "DATALOADER.ASPECT_RATIO_GROUPING": False,
    "MODEL.BACKBONE.WEIGHTS": "",
    "SOLVER.REFERENCE_WORLD_SIZE": 0,
    "SOLVER.TENSORBOARD": True,
    "TEST.PRECISE_BN.ENABLED": False,
}
# Beginnings of the keys whose ranges are both engines'; of the rest Detectron2 allows other values.
_CHECKED = (
    "SEGGEN.",
    "TEST.",
    "DATALOADER.",
    *(f"SOLVER.{key}" for key in ("ACCUMULATE", "AMP.", "BASE_LR", "CHECKPOINT", "IMS_PER", "LOG_", "MAX_ITER", "WARMUP_")),
)


def add_seggen_config(cfg: Any) -> None:
    """Add the keys of this package to a Detectron2 config, in place; their meaning: ``seggen_d2/engine/defaults.py``.

    Keys that are there already, a host's or from an earlier call, keep their values; the order of calls with a
    project's own ``add_..._config`` is free. A frozen config stays frozen.

    Args:
        cfg: a ``CfgNode`` of ``detectron2.config.get_cfg()``.
    """
    frozen = cfg.is_frozen()
    cfg.defrost()
    defaults = get_defaults()
    for key in OURS:
        value: Any = defaults
        for part in key.split("."):
            value = value[part]
        add_keys(cfg, nested({key: value}))
    if frozen:
        cfg.freeze()


def load_config(path: str | os.PathLike | None, overrides: Sequence[str] = ()) -> tuple[Any, list[str]]:
    """The resolved Detectron2 config of a file, frozen, and the keys given that are not honoured.

    A file that names no MODEL.META_ARCHITECTURE is this package's own (``seggen_d2/engine/dialects.py``): its model is
    SegGenMask2Former, and what it leaves out has this package's defaults. ``MODEL.SEM_SEG_HEAD.NUM_CLASSES`` may then
    be 0 until :func:`complete` has seen the dataset.

    Args:
        path: a YAML file; None takes this package's defaults.
        overrides: ``KEY VALUE KEY VALUE ...``.

    Raises:
        SegGenError: a key is unknown (the nearest is suggested) or a value of another type; or the file needs Mask DINO
            and that is not installed.
    """
    file = load_yaml(path) if path else {}
    values, own = merge(file, parse_overrides(list(overrides))), not names_architecture(file)
    architecture = values.get("MODEL", {}).get("META_ARCHITECTURE", ARCHITECTURE)
    cfg = host_config(architecture)
    if own:
        _set_all(cfg, {**dict(flatten(to_dict(get_defaults()))), **ALWAYS}, path)
    given = dict(flatten(values, stop=nodes(cfg)))
    _set_all(cfg, given, path)
    if own:
        _follow(cfg, given)
    if not cfg.MODEL.DEVICE or "MODEL.DEVICE" not in given:
        cfg.MODEL.DEVICE = _device()
    check_values(cfg, _CHECKED)
    cfg.freeze()
    return cfg, _not_honoured(cfg, given)


def host_config(architecture: str) -> Any:
    """Detectron2's defaults with DeepLab's, this package's, and Mask2Former's or Mask DINO's keys.

    Raises:
        SegGenError: ``architecture`` is MaskDINO, and the maskdino package is not installed.
    """
    from detectron2.config import get_cfg
    from detectron2.projects.deeplab import add_deeplab_config

    cfg = get_cfg()
    add_deeplab_config(cfg)
    if architecture == "MaskDINO":
        from .hosts import import_host

        import_host(architecture).add_maskdino_config(cfg)
    else:
        add_mask2former_keys(cfg)
    add_seggen_config(cfg)
    return cfg


def complete(cfg: Any) -> None:
    """Fill ``MODEL.SEM_SEG_HEAD.NUM_CLASSES`` of 0 from the metadata of ``DATASETS.TRAIN[0]``, once it is registered.

    Panoptic data has a class a segment category, semantic data a stuff class each, instance data a thing class each.
    """
    from detectron2.data import MetadataCatalog

    head = cfg.MODEL.SEM_SEG_HEAD
    if head.NUM_CLASSES or not cfg.DATASETS.TRAIN:
        return
    metadata, frozen = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]), cfg.is_frozen()
    cfg.defrost()
    head.NUM_CLASSES = len(metadata.get("stuff_classes") or metadata.get("thing_classes") or ())
    if frozen:
        cfg.freeze()


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"A.B": 1}`` to ``{"A": {"B": 1}}``."""
    values: dict[str, Any] = {}
    for key, value in flat.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def _set_all(cfg: Any, flat: Mapping[str, Any], path: Any) -> None:
    known = {key for key, _ in flatten(cfg)}
    for key, value in flat.items():
        if key not in known:
            raise SegGenError(
                f"unknown config key {key!r}" + (f" (in {path} or the pairs after it)" if path else ""),
                remedy=nearest(key, known),
            )
        _set(cfg, key, _as(_get(cfg, key), value, key))


def _as(default: Any, value: Any, key: str) -> Any:
    """``value`` in the type of ``default``; lists and tuples serve each other, and None stands for anything."""
    if isinstance(default, dict) and isinstance(value, dict):
        return type(default)(value, new_allowed=True)
    if default is None or value is None:
        return value
    if isinstance(default, tuple):
        return tuple(convert(list(default), value, key))
    return convert(default, value, key)


def _follow(cfg: Any, given: Mapping[str, Any]) -> None:
    """What follows from a file of this package's own: values of other keys, and a stock model's backbone."""
    for key, value in always(cfg).items():
        if key not in ALWAYS and key not in given:
            _set(cfg, key, value)
    steps, whole = cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER
    cfg.SOLVER.STEPS = tuple(round(step * whole) if 0 < step < 1 else step for step in steps)
    if cfg.MODEL.META_ARCHITECTURE != ARCHITECTURE and cfg.MODEL.BACKBONE.NAME not in (RESNET, SWIN):
        _set_all(cfg, dict(flatten({"MODEL": detectron2_backbone(cfg.MODEL.BACKBONE.NAME)})), None)


def _not_honoured(cfg: Any, given: Mapping[str, Any]) -> list[str]:
    """Keys given whose value nothing reads.

    A stock model knows none of this package's keys, and SegGenMask2Former not all of stock's.
    """
    done = dict(_TRAINER)
    if cfg.MODEL.META_ARCHITECTURE != ARCHITECTURE:
        done.update((key, None) for key in OURS if key.startswith("MODEL."))
    else:
        from .model.architecture import UNHONOURED_KEYS

        fixed = {f"MODEL.RESNETS.{key}": value for key, value in RESNET_FIXED.items()}
        # Without APE the images' size at pre-training has no bearing, upstream neither.
        fixed["MODEL.SWIN.PRETRAIN_IMG_SIZE"] = cfg.MODEL.SWIN.PRETRAIN_IMG_SIZE
        done.update((key, {**always(cfg), **fixed}.get(key)) for key in UNHONOURED_KEYS)
    if cfg.INPUT.DATASET_MAPPER_NAME.startswith("mask_former_"):
        done["INPUT.RANDOM_FLIP"] = "horizontal"  # of Mask2Former's mappers, in either version
    return sorted(key for key, value in done.items() if key in given and plain(_get(cfg, key)) != value)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _get(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node[part]
    return node


def _set(cfg: Any, key: str, value: Any) -> None:
    path, _, last = key.rpartition(".")
    node = _get(cfg, path) if path else cfg
    node[last] = value

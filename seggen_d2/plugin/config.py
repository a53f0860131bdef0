"""Configs for Detectron2: this package's keys on any host's config."""

from __future__ import annotations

from typing import Any

from seggen_d2.engine.defaults import OURS, get_defaults


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
        parts = key.split(".")
        ours, node = defaults, cfg
        for part in parts[:-1]:
            ours = ours[part]
            node = _add(node, part, type(cfg)())
        _add_all(node, parts[-1], ours[parts[-1]])
    if frozen:
        cfg.freeze()


def _add_all(node: Any, name: str, default: Any) -> None:
    """``default`` under ``name``; of a node that is there already, the keys that it lacks."""
    if not isinstance(default, dict):
        _add(node, name, default)
        return
    inner = _add(node, name, type(node)(new_allowed=default.is_new_allowed()))
    for key, value in default.items():
        _add_all(inner, key, value)


def _add(node: Any, name: str, value: Any) -> Any:
    if name not in node:
        node[name] = value
    return node[name]

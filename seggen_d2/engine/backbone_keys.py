"""A backbone as Detectron2 configs name it (``build_resnet_backbone``, ``D2SwinTransformer``), in this package's names.

Source of the keys: detectron2/modeling/backbone/resnet.py; Mask2Former's swin.py. Imports no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from seggen_d2.foundation.errors import SegGenError

RESNET, SWIN = "build_resnet_backbone", "D2SwinTransformer"

# Detectron2's defaults (with DeepLab's and Mask2Former's keys), and the value that is built here where only one is.
RESNET_DEFAULTS: dict[str, Any] = {
    "DEPTH": 50,
    "NORM": "FrozenBN",
    "STRIDE_IN_1X1": True,
    "STEM_OUT_CHANNELS": 64,
    "RES2_OUT_CHANNELS": 256,
}
RESNET_FIXED: dict[str, Any] = {
    "NUM_GROUPS": 1,
    "WIDTH_PER_GROUP": 64,
    "RES4_DILATION": 1,
    "RES5_DILATION": 1,
    "RES5_MULTI_GRID": [1, 1, 1],
    "STEM_TYPE": "basic",
    "DEFORM_ON_PER_STAGE": [False] * 4,
    "DEFORM_MODULATED": False,
    "DEFORM_NUM_GROUPS": 1,
}
SWIN_DEFAULTS: dict[str, Any] = {
    "PRETRAIN_IMG_SIZE": 224,
    "PATCH_SIZE": 4,
    "EMBED_DIM": 96,
    "DEPTHS": [2, 2, 6, 2],
    "NUM_HEADS": [3, 6, 12, 24],
    "WINDOW_SIZE": 7,
    "MLP_RATIO": 4.0,
    "QKV_BIAS": True,
    "DROP_RATE": 0.0,
    "ATTN_DROP_RATE": 0.0,
    "DROP_PATH_RATE": 0.3,
}
SWIN_FIXED: dict[str, Any] = {"APE": False, "PATCH_NORM": True, "QK_SCALE": None, "USE_CHECKPOINT": False}

_RESNETS = {  # depth: name here, blocks of each stage
    18: ("resnet18", [2, 2, 2, 2]),
    34: ("resnet34", [3, 4, 6, 3]),
    50: ("resnet50", [3, 4, 6, 3]),
    101: ("resnet101", [3, 4, 23, 3]),
    152: ("resnet152", [3, 8, 36, 3]),
}
_SWINS = {  # name here: channels, blocks, heads, window
    "swin-tiny": (96, [2, 2, 6, 2], [3, 6, 12, 24], 7),
    "swin-small": (96, [2, 2, 18, 2], [3, 6, 12, 24], 7),
    "swin-base": (128, [2, 2, 18, 2], [4, 8, 16, 32], 12),
    "swin-large": (192, [2, 2, 18, 2], [6, 12, 24, 48], 12),
}
_SWIN_OPTIONS = {  # Mask2Former's key: the field of transformers' SwinConfig
    "PRETRAIN_IMG_SIZE": "image_size",
    "PATCH_SIZE": "patch_size",
    "EMBED_DIM": "embed_dim",
    "DEPTHS": "depths",
    "NUM_HEADS": "num_heads",
    "WINDOW_SIZE": "window_size",
    "MLP_RATIO": "mlp_ratio",
    "QKV_BIAS": "qkv_bias",
    "DROP_RATE": "hidden_dropout_prob",
    "ATTN_DROP_RATE": "attention_probs_dropout_prob",
    "DROP_PATH_RATE": "drop_path_rate",
}


class Backbone(NamedTuple):
    """What ``build_mask2former`` is to be told.

    Attributes:
        name: a key of ``modeling.backbones.BACKBONES``.
        options: fields of its transformers config that differ.
        freeze_norm: batch norms are fixed (``FrozenBN``).
        unmet: keys whose value is not built here (``RESNETS.NUM_GROUPS``).
    """

    name: str
    options: dict[str, Any]
    freeze_norm: bool
    unmet: list[str]


def backbone_from(name: str, resnets: Mapping[str, Any], swin: Mapping[str, Any]) -> Backbone:
    """The backbone of a Detectron2 config, for this package's model.

    Args:
        name: MODEL.BACKBONE.NAME, one of ``RESNET`` and ``SWIN``.
        resnets: keys of MODEL.RESNETS, those left out being Detectron2's defaults. swin: likewise of MODEL.SWIN.

    Raises:
        SegGenError: another name, or a depth that has no network.
    """
    if name == RESNET:
        return _resnet({**RESNET_DEFAULTS, **resnets})
    if name == SWIN:
        return _swin({**SWIN_DEFAULTS, **swin})
    raise SegGenError(f"MODEL.BACKBONE.NAME {name} is not built here", expected=f"{RESNET} | {SWIN}", found=name)


def _resnet(keys: dict[str, Any]) -> Backbone:
    if keys["DEPTH"] not in _RESNETS:
        raise SegGenError(
            "MODEL.RESNETS.DEPTH has no network", expected=" | ".join(map(str, _RESNETS)), found=repr(keys["DEPTH"])
        )
    name, blocks = _RESNETS[keys["DEPTH"]]
    width = keys["RES2_OUT_CHANNELS"] if keys["DEPTH"] > 34 else 64
    options = {
        "depths": list(blocks),
        "embedding_size": keys["STEM_OUT_CHANNELS"],
        "hidden_sizes": [width * 2**stage for stage in range(4)],
    }
    if keys["DEPTH"] > 34:
        options["downsample_in_bottleneck"] = bool(keys["STRIDE_IN_1X1"])
    unmet = _unmet("RESNETS", keys, RESNET_FIXED) + (["RESNETS.NORM"] if keys["NORM"] not in ("FrozenBN", "BN") else [])
    return Backbone(name, options, keys["NORM"] == "FrozenBN", unmet)


def _swin(keys: dict[str, Any]) -> Backbone:
    shape = (keys["EMBED_DIM"], list(keys["DEPTHS"]))
    name = next((name for name, (dim, depths, *_) in _SWINS.items() if (dim, depths) == shape), "swin-tiny")
    options = {field: _plain(keys[key]) for key, field in _SWIN_OPTIONS.items()}
    return Backbone(name, options, False, _unmet("SWIN", keys, SWIN_FIXED))


def detectron2_backbone(name: str) -> dict[str, Any]:
    """The other way: the keys of MODEL by which a stock Detectron2 model builds the backbone ``name``.

    Raises:
        SegGenError: Detectron2 has no such backbone.
    """
    depth = {known: depth for depth, (known, _) in _RESNETS.items()}.get(name)
    if depth:
        widths = {"RES2_OUT_CHANNELS": 256 if depth > 34 else 64, "STRIDE_IN_1X1": False, "STEM_TYPE": "basic"}
        outputs = {"OUT_FEATURES": ["res2", "res3", "res4", "res5"], "RES5_MULTI_GRID": [1, 1, 1]}
        return {"BACKBONE": {"NAME": RESNET}, "RESNETS": {"DEPTH": depth, **widths, **outputs}}
    if name not in _SWINS:
        raise SegGenError(
            f"backbone {name} is this package's own: a stock Detectron2 model cannot build it",
            expected=" | ".join([*(known for known, _ in _RESNETS.values()), *_SWINS]),
            found=name,
            remedy="leave MODEL.META_ARCHITECTURE at SegGenMask2Former, or name another MODEL.BACKBONE.NAME",
        )
    dim, depths, heads, window = _SWINS[name]
    sizes = {"EMBED_DIM": dim, "DEPTHS": list(depths), "NUM_HEADS": list(heads), "WINDOW_SIZE": window}
    return {"BACKBONE": {"NAME": SWIN}, "SWIN": sizes}


def _unmet(node: str, keys: Mapping[str, Any], fixed: Mapping[str, Any]) -> list[str]:
    return [f"{node}.{key}" for key, value in fixed.items() if _plain(keys.get(key, value)) != value]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

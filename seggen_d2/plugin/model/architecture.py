"""A Detectron2 config of Mask2Former to the arguments of ``build_mask2former``: the keys are stock Mask2Former's."""

from __future__ import annotations

from typing import Any

from seggen_d2.engine.backbone_keys import RESNET, SWIN, backbone_from
from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.modeling import BACKBONES

# What the network is made of; another value names a part that is not here.
FIXED: dict[str, Any] = {
    "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": "MSDeformAttnPixelDecoder",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.NORM": "GN",
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": 4,
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME": "MultiScaleMaskedTransformerDecoder",
    "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": "multi_scale_pixel_decoder",
}
_FIXED_RESNET = {"NUM_GROUPS": 1, "RES5_DILATION": 1, "DEFORM_ON_PER_STAGE": [False] * 4}
_FIXED_SWIN = {"PATCH_SIZE": 4, "QK_SCALE": None, "APE": False, "PATCH_NORM": True, "DROP_RATE": 0.0}
# Keys of a Mask2Former config that change nothing here (most of them change nothing in stock Mask2Former either).
UNHONOURED_KEYS = (
    "MODEL.SEM_SEG_HEAD.NAME",
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT",
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE",
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS",
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS",
    "MODEL.MASK_FORMER.ENC_LAYERS",
    "MODEL.RESNETS.STEM_TYPE",
    "MODEL.RESNETS.RES5_MULTI_GRID",
    "MODEL.RESNETS.DEFORM_MODULATED",
    "MODEL.RESNETS.DEFORM_NUM_GROUPS",
    "MODEL.SWIN.PRETRAIN_IMG_SIZE",
)
_NORMS = ("FrozenBN", "BN", "SyncBN", "nnSyncBN")


def model_options(cfg: Any) -> dict[str, Any]:
    """Keyword arguments of ``build_mask2former``.

    Raises:
        SegGenError: the config asks for a part that this network does not have, or for an unknown backbone.
    """
    for key, value in FIXED.items():
        _check_fixed(cfg, key, value)
    head, former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
    name, options = _backbone(cfg)
    return {
        "num_classes": head.NUM_CLASSES,
        "backbone": name,
        "backbone_options": options,
        "queries": former.NUM_OBJECT_QUERIES,
        "encoder_layers": head.TRANSFORMER_ENC_LAYERS,
        "decoder_layers": former.DEC_LAYERS - 1,
        "feature_size": head.CONVS_DIM,
        "hidden_size": former.HIDDEN_DIM,
        "mask_feature_size": head.MASK_DIM,
        "heads": former.NHEADS,
        "feedforward_size": former.DIM_FEEDFORWARD,
        "encoder_feedforward_size": head.get("ENC_FEEDFORWARD_DIM", 1024),  # upstream has no key for it
        "dropout": former.DROPOUT,
        "pre_norm": former.PRE_NORM,
        "project_input": former.ENFORCE_INPUT_PROJ,
        "class_weight": former.CLASS_WEIGHT,
        "mask_weight": former.MASK_WEIGHT,
        "dice_weight": former.DICE_WEIGHT,
        "no_object_weight": former.NO_OBJECT_WEIGHT,
        "points": former.TRAIN_NUM_POINTS,
        "oversample_ratio": former.OVERSAMPLE_RATIO,
        "importance_sample_ratio": former.IMPORTANCE_SAMPLE_RATIO,
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
        "size_divisibility": _size_divisibility(former.SIZE_DIVISIBILITY, name),
        "freeze_norm": norm_of(cfg) == "FrozenBN",
        "freeze_at": 0 if _is_swin(name) else cfg.MODEL.BACKBONE.FREEZE_AT,
    }


def norm_of(cfg: Any) -> str:
    """The backbone's batch norms: ``FrozenBN``, ``BN`` or ``SyncBN`` (either spelling).

    Stock's backbones go by RESNETS.NORM; this package's own go by BACKBONE.FREEZE_NORM where the config has it.
    """
    own = cfg.MODEL.BACKBONE.NAME in BACKBONES and "FREEZE_NORM" in cfg.MODEL.BACKBONE
    if own:
        return "FrozenBN" if cfg.MODEL.BACKBONE.FREEZE_NORM else "BN"
    norm = check_choice("MODEL.RESNETS.NORM", cfg.MODEL.RESNETS.NORM, _NORMS)
    return "SyncBN" if norm == "nnSyncBN" else norm


def _backbone(cfg: Any) -> tuple[str, dict[str, Any]]:
    name = cfg.MODEL.BACKBONE.NAME
    check_choice("MODEL.BACKBONE.NAME", name, [RESNET, SWIN, *BACKBONES])
    if name not in (RESNET, SWIN):
        return name, dict(cfg.MODEL.BACKBONE.get("OPTIONS", {}))
    for key, value in _fixed(cfg, name).items():
        _check_fixed(cfg, key, value)
    built = backbone_from(name, dict(cfg.MODEL.RESNETS), dict(cfg.MODEL.SWIN))
    return built.name, built.options


def _fixed(cfg: Any, name: str) -> dict[str, Any]:
    """Keys of the backbone that have one value here."""
    if name == SWIN:
        return {f"MODEL.SWIN.{key}": value for key, value in _FIXED_SWIN.items()}
    width = {"WIDTH_PER_GROUP": cfg.MODEL.RESNETS.RES2_OUT_CHANNELS // 4} if cfg.MODEL.RESNETS.DEPTH >= 50 else {}
    return {f"MODEL.RESNETS.{key}": value for key, value in {**_FIXED_RESNET, **width}.items()}


def _size_divisibility(configured: int, backbone: str) -> int:
    """Below 0 it is the backbone's own: 32 of a Swin, none of a ResNet."""
    return configured if configured >= 0 else 32 if _is_swin(backbone) else 1


def _is_swin(backbone: str) -> bool:
    return "swin" in backbone.split("-")


def _check_fixed(cfg: Any, key: str, value: Any) -> None:
    node = cfg
    for part in key.split("."):
        node = node[part]
    found = list(node) if isinstance(node, (tuple, list)) else node
    if found != value:
        raise SegGenError(f"SegGenMask2Former has no {key} of this value", expected=repr(value), found=repr(found),
                          remedy="use the value it has, or META_ARCHITECTURE: MaskFormer of the mask2former package")

"""Two ways of writing a config, told apart by one key.

A file that names MODEL.META_ARCHITECTURE (itself or through ``_BASE_``) is a Detectron2 config: what it leaves out has
Detectron2's defaults, with DeepLab's and Mask2Former's keys. A file that names none is this package's own: what it leaves
out has the defaults of ``defaults.py``, and its model is SegGenMask2Former. Either engine reads both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seggen_d2.foundation.errors import SegGenError

from .backbone_keys import RESNET, RESNET_DEFAULTS, RESNET_FIXED, SWIN, SWIN_DEFAULTS, SWIN_FIXED, backbone_from

ARCHITECTURE = "SegGenMask2Former"

# Detectron2's default of each key of defaults.py, or of ALWAYS, for which it has another one; a test compares them.
DETECTRON2_DEFAULTS: dict[str, Any] = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.PIXEL_MEAN": [103.530, 116.280, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.BACKBONE.NAME": RESNET,
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.SEM_SEG_HEAD.NAME": "SemSegFPNHead",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": "BasePixelDecoder",
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 54,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 128,
    "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": 0,
    "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": "res5",
    "MODEL.MASK_FORMER.CLASS_WEIGHT": 1.0,
    "MODEL.MASK_FORMER.MASK_WEIGHT": 20.0,
    "MODEL.MASK_FORMER.DICE_WEIGHT": 1.0,
    "MODEL.MASK_FORMER.DEC_LAYERS": 6,
    "MODEL.MASK_FORMER.DROPOUT": 0.1,
    "MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD": 0.0,
    "MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD": 0.0,
    "DATALOADER.ASPECT_RATIO_GROUPING": True,
    "INPUT.FORMAT": "BGR",
    "INPUT.MIN_SIZE_TRAIN": [800],
    "INPUT.MAX_SIZE_TRAIN": 1333,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.CROP.ENABLED": False,
    "INPUT.CROP.TYPE": "relative_range",
    "INPUT.CROP.SIZE": [0.9, 0.9],
    "INPUT.COLOR_AUG_SSD": False,
    "SOLVER.MAX_ITER": 40000,
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.WEIGHT_DECAY": 0.0001,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "SOLVER.STEPS": [30000],
    "SOLVER.WARMUP_FACTOR": 0.001,
    "SOLVER.WARMUP_ITERS": 1000,
    "SOLVER.CLIP_GRADIENTS.ENABLED": False,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "value",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 1.0,
}

# What the transformers engine does by itself, in Detectron2's keys: with these values a file says nothing new.
# Beside these, always() has two that depend on others.
ALWAYS: dict[str, Any] = {
    "VERSION": 2,
    "CUDNN_BENCHMARK": False,
    "FLOAT32_PRECISION": "",
    "VIS_PERIOD": 0,
    "MODEL.META_ARCHITECTURE": ARCHITECTURE,
    "MODEL.MASK_ON": False,
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.SEM_SEG_HEAD.NAME": "MaskFormerHead",
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": 255,
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": 1.0,
    "MODEL.SEM_SEG_HEAD.NORM": "GN",
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": 4,
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": "MSDeformAttnPixelDecoder",
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS": 4,
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME": "MultiScaleMaskedTransformerDecoder",
    "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": "multi_scale_pixel_decoder",
    "MODEL.MASK_FORMER.DEEP_SUPERVISION": True,
    "MODEL.MASK_FORMER.ENC_LAYERS": 0,
    "MODEL.MASK_FORMER.PRE_NORM": False,
    "MODEL.MASK_FORMER.ENFORCE_INPUT_PROJ": False,
    "DATALOADER.ASPECT_RATIO_GROUPING": False,
    "DATALOADER.SAMPLER_TRAIN": "TrainingSampler",
    "INPUT.FORMAT": "RGB",
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "choice",
    "INPUT.CROP.TYPE": "absolute",
    "SOLVER.OPTIMIZER": "ADAMW",
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "full_model",
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": 2.0,
    "SOLVER.WARMUP_METHOD": "linear",
    "SOLVER.BIAS_LR_FACTOR": 1.0,
    "SOLVER.WEIGHT_DECAY_BIAS": None,
    "SOLVER.BASE_LR_END": 0.0,
    "SOLVER.RESCALE_INTERVAL": False,
    "SOLVER.POLY_LR_CONSTANT_ENDING": 0.0,
    "TEST.PRECISE_BN.ENABLED": False,
}

# Of these another value would be another model or input: an error, not a line in a list.
_NEEDED = {
    "MODEL.META_ARCHITECTURE": (ARCHITECTURE, "MaskFormer"),
    "INPUT.FORMAT": ("RGB",),
}

_PROPOSALS = ("PROPOSAL_FILES", "PRECOMPUTED_PROPOSAL_TOPK")
# Keys of Detectron2 that have no bearing on segmentation by Mask2Former.
_NO_BEARING = frozenset(
    f"{node}.{name}"
    for node, names in {
        "MODEL": ["KEYPOINT_ON", "LOAD_PROPOSALS"],
        "MODEL.SEM_SEG_HEAD": ["LOSS_TYPE"],
        "MODEL.RESNETS": ["OUT_FEATURES"],
        "MODEL.SWIN": ["OUT_FEATURES"],
        "INPUT": ["MASK_FORMAT"],
        "SOLVER": ["MOMENTUM", "NESTEROV", "NUM_DECAYS", "REFERENCE_WORLD_SIZE"],
        "DATALOADER": ["REPEAT_THRESHOLD", "REPEAT_SQRT"],
        "DATASETS": [f"{kind}_{part}" for kind in _PROPOSALS for part in ("TRAIN", "TEST")],
        "TEST": ["EXPECTED_RESULTS", "KEYPOINT_OKS_SIGMAS"],
        "TEST.PRECISE_BN": ["NUM_ITER"],
    }.items()
    for name in names
)
_FOLLOWING = ("MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS", "INPUT.SIZE_DIVISIBILITY")
_OTHER_MODELS = ("PROPOSAL_GENERATOR", "ANCHOR_GENERATOR", "RPN", "ROI_", "FPN", "PANOPTIC_FPN", "RETINANET")
_OTHER_PARTS = ("ASPP_", "PROJECT_", "USE_DEPTHWISE")


def names_architecture(file: Mapping[str, Any]) -> bool:
    """Whether a file's keys (``_BASE_`` merged in) are a Detectron2 config's."""
    model = file.get("MODEL")
    return isinstance(model, Mapping) and "META_ARCHITECTURE" in model


def detectron2_keys() -> set[str]:
    """Every key, beside those of ``defaults.py``, that the transformers engine accepts; nodes of other models apart."""
    backbones = {f"MODEL.RESNETS.{key}" for key in (*RESNET_DEFAULTS, *RESNET_FIXED)}
    backbones |= {f"MODEL.SWIN.{key}" for key in (*SWIN_DEFAULTS, *SWIN_FIXED)}
    return {*ALWAYS, *_FOLLOWING, *_NO_BEARING, *backbones}


def is_of_other_models(key: str) -> bool:
    """Whether a Detectron2 key belongs to detectors, or to DeepLab's head."""
    head = "MODEL.SEM_SEG_HEAD."
    return key.startswith(tuple(f"MODEL.{name}" for name in _OTHER_MODELS)) or key.startswith(
        tuple(head + name for name in _OTHER_PARTS)
    )


def always(cfg: Any) -> dict[str, Any]:
    """``ALWAYS``, with the keys that follow from a resolved config: one number of heads, images padded to the crop."""
    crop = cfg.INPUT.CROP
    return {
        **ALWAYS,
        "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS": cfg.MODEL.MASK_FORMER.NHEADS,
        "INPUT.SIZE_DIVISIBILITY": crop.SIZE[0] if crop.ENABLED and crop.SIZE[0] == crop.SIZE[-1] else -1,
    }


def not_done(given: Mapping[str, Any], cfg: Any) -> list[str]:
    """Keys of ``given`` whose value is not what is ``always`` done; those of what is switched off have no bearing."""
    switches = {"INPUT.CROP.": cfg.INPUT.CROP.ENABLED, "SOLVER.CLIP_GRADIENTS.": cfg.SOLVER.CLIP_GRADIENTS.ENABLED}
    off = tuple(node for node, on in switches.items() if not on)
    return [
        key
        for key, value in always(cfg).items()
        if key in given and plain(given[key]) != value and not key.startswith(off)
    ]


def check_model(given: Mapping[str, Any]) -> None:
    """The transformers engine does segmentation by Mask2Former, on RGB images.

    Raises:
        SegGenError: the file is of another model or channel order.
    """
    for key, values in _NEEDED.items():
        if key in given and given[key] not in values:
            raise SegGenError(
                f"{key}: {given[key]} is not what the transformers engine does",
                expected=" | ".join(map(str, values)) + " (Mask2Former, on RGB images)",
                found=f"{given[key]!r}",
                remedy="install Detectron2 and set SEGGEN.ENGINE to detectron2, or take a config of Mask2Former",
            )


def backbone_keys(given: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """What MODEL.BACKBONE of ``defaults.py`` is by Detectron2's keys in ``given``, and those that are not honoured.

    Args:
        given: flat keys and values. name: MODEL.BACKBONE.NAME.
    """
    nodes = {node: _under(f"MODEL.{node}.", given) for node in ("RESNETS", "SWIN")}
    if name not in (RESNET, SWIN):
        return {}, sorted(f"MODEL.{node}.{key}" for node, keys in nodes.items() for key in keys)
    found = backbone_from(name, nodes["RESNETS"], nodes["SWIN"])
    keys = {"NAME": found.name, "OPTIONS": found.options, "FREEZE_NORM": found.freeze_norm}
    return keys, [f"MODEL.{key}" for key in found.unmet]


def plain(value: Any) -> Any:
    """Tuples as lists, so that YAML's and Detectron2's values compare."""
    return list(value) if isinstance(value, tuple) else value


def _under(prefix: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}

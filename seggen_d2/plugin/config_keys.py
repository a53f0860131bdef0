"""Mask2Former's config keys and their defaults, so that its configs load without the mask2former package.

A test compares them with the package's own. Their meaning: ``seggen_d2/engine/defaults.py``, or the papers
(arXiv 2112.01527; Swin Transformer: 2103.14030).
"""

from __future__ import annotations

import copy
from typing import Any

from seggen_d2.engine.backbone_keys import SWIN_DEFAULTS, SWIN_FIXED

MASK2FORMER: dict[str, Any] = {
    "INPUT": {
        "DATASET_MAPPER_NAME": "mask_former_semantic",
        "COLOR_AUG_SSD": False,
        "CROP": {"SINGLE_CATEGORY_MAX_AREA": 1.0},
        "SIZE_DIVISIBILITY": -1,  # side in pixels to which training images are padded; below 0 they are not
        "IMAGE_SIZE": 1024,  # large-scale jitter: side of the crop, smallest and largest scale of the image in it
        "MIN_SCALE": 0.1,
        "MAX_SCALE": 2.0,
    },
    "SOLVER": {"OPTIMIZER": "ADAMW", "BACKBONE_MULTIPLIER": 0.1, "WEIGHT_DECAY_EMBED": 0.0},
    "MODEL": {
        "MASK_FORMER": {
            "DEEP_SUPERVISION": True,
            "CLASS_WEIGHT": 1.0,
            "MASK_WEIGHT": 20.0,
            "DICE_WEIGHT": 1.0,
            "NO_OBJECT_WEIGHT": 0.1,
            "TRANSFORMER_DECODER_NAME": "MultiScaleMaskedTransformerDecoder",
            "TRANSFORMER_IN_FEATURE": "res5",
            "ENFORCE_INPUT_PROJ": False,
            "HIDDEN_DIM": 256,
            "NUM_OBJECT_QUERIES": 100,
            "NHEADS": 8,
            "DIM_FEEDFORWARD": 2048,
            "DROPOUT": 0.1,
            "ENC_LAYERS": 0,
            "DEC_LAYERS": 6,
            "PRE_NORM": False,
            "TRAIN_NUM_POINTS": 112 * 112,
            "OVERSAMPLE_RATIO": 3.0,
            "IMPORTANCE_SAMPLE_RATIO": 0.75,
            "SIZE_DIVISIBILITY": 32,
            "TEST": {
                "SEMANTIC_ON": True,
                "INSTANCE_ON": False,
                "PANOPTIC_ON": False,
                "OBJECT_MASK_THRESHOLD": 0.0,
                "OVERLAP_THRESHOLD": 0.0,
                "SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE": False,
            },
        },
        "SEM_SEG_HEAD": {
            "MASK_DIM": 256,
            "TRANSFORMER_ENC_LAYERS": 0,
            "PIXEL_DECODER_NAME": "BasePixelDecoder",
            "DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES": ["res3", "res4", "res5"],
            "DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS": 4,
            "DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS": 8,
        },
        "SWIN": {**SWIN_DEFAULTS, **SWIN_FIXED, "OUT_FEATURES": ["res2", "res3", "res4", "res5"]},
    },
}


def add_mask2former_keys(cfg: Any) -> None:
    """Add Mask2Former's keys to a Detectron2 config, in place."""
    add_keys(cfg, MASK2FORMER)


def add_keys(node: Any, values: dict[str, Any]) -> None:
    """Add nested ``values`` to a ``CfgNode``; a key that is there already keeps its value."""
    for name, value in values.items():
        if isinstance(value, dict):
            if name not in node:
                allowed = getattr(value, "is_new_allowed", bool)()
                node[name] = type(node)(new_allowed=allowed)
            add_keys(node[name], value)
        elif name not in node:
            node[name] = copy.deepcopy(value)

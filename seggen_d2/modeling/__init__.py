"""The compiled-op-free Mask2Former behind Detectron2's input and output convention. Both engines use it."""

from .backbones import BACKBONES, backbone_config
from .criterion import SetCriterion
from .mask2former import Mask2Former, build_mask2former, semantic_inference
from .matching import match, point_sample

__all__ = [
    "BACKBONES",
    "Mask2Former",
    "SetCriterion",
    "backbone_config",
    "build_mask2former",
    "match",
    "point_sample",
    "semantic_inference",
]

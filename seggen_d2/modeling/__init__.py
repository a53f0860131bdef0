"""The compiled-op-free Mask2Former behind Detectron2's input and output convention. Both engines use it."""

from .backbones import BACKBONES, backbone_config
from .build import build_mask2former
from .checkpoint import load_mask2former
from .criterion import SetCriterion
from .inference import instance_inference, panoptic_inference, semantic_inference
from .mask2former import Mask2Former
from .matching import match, point_sample
from .outputs import Outputs
from .predicting import predict

__all__ = [
    "BACKBONES",
    "Mask2Former",
    "Outputs",
    "SetCriterion",
    "backbone_config",
    "build_mask2former",
    "instance_inference",
    "load_mask2former",
    "match",
    "panoptic_inference",
    "point_sample",
    "predict",
    "semantic_inference",
]

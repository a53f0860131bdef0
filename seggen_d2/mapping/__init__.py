"""One dataset mapper: augmentation drawn as a plan, image and labels rendered by it, target generators handed in."""

from .augmentations import (
    ColorJitter,
    FixedSizePad,
    HorizontalFlip,
    ResizeScale,
    ResizeShortestEdge,
    VerticalFlip,
    large_scale_jitter,
    test_augmentations,
    training_augmentations,
)
from .crops import FixedSizeCrop, RandomCrop
from .images import render_image
from .instances import InstanceTargets
from .mapper import DatasetMapper
from .panoptic import PanopticTargets
from .plan import Augmentation, Plan, centres, corners
from .targets import SemanticTargets, TargetGenerator

__all__ = [
    "Augmentation",
    "ColorJitter",
    "DatasetMapper",
    "FixedSizeCrop",
    "FixedSizePad",
    "HorizontalFlip",
    "InstanceTargets",
    "PanopticTargets",
    "Plan",
    "RandomCrop",
    "ResizeScale",
    "ResizeShortestEdge",
    "SemanticTargets",
    "TargetGenerator",
    "VerticalFlip",
    "centres",
    "corners",
    "large_scale_jitter",
    "render_image",
    "test_augmentations",
    "training_augmentations",
]

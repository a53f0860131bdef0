"""One dataset mapper: reading, augmentation, and a target generator that is handed in."""

from .augmentations import (
    Augmentation,
    ColorJitter,
    FixedSizePad,
    HorizontalFlip,
    RandomCrop,
    ResizeShortestEdge,
    test_augmentations,
    training_augmentations,
)
from .mapper import DatasetMapper
from .targets import SemanticTargets, TargetGenerator

__all__ = [
    "Augmentation",
    "ColorJitter",
    "DatasetMapper",
    "FixedSizePad",
    "HorizontalFlip",
    "RandomCrop",
    "ResizeShortestEdge",
    "SemanticTargets",
    "TargetGenerator",
    "test_augmentations",
    "training_augmentations",
]

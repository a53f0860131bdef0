"""A small labelled world and tiny models for the training tests with Detectron2."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_world import CATEGORIES, TINY, write_bank, write_dataset

from seggen_d2.foundation.options import merge
from seggen_d2.segmentation import Categories

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
STUFF = Categories.from_names(CATEGORIES.names)
# Stock MaskFormer on a ResNet-50 of a quarter of the channels.
STOCK = {
    "MODEL.META_ARCHITECTURE": "MaskFormer",
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 16,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 16,
    "MODEL.RESNETS.OUT_FEATURES": "['res2', 'res3', 'res4', 'res5']",
}


def write_toy(root: Path, prefix: str, **keys: Any) -> Path:
    """``config.yaml`` of toy scenes: PREFIX_train (4, all with as many segments), PREFIX_test (2) and a bank of 4.

    Args:
        prefix: of the datasets' names, which Detectron2 keeps for the whole process.
        keys: sections of the config that differ.
    """
    datasets = [
        write_dataset(root / "train", f"{prefix}_train", range(4), STUFF),
        write_dataset(root / "test", f"{prefix}_test", range(100, 102), STUFF),
    ]
    bank = write_bank(root / "bank", range(10, 14), sources=["scene0", "scene1"])
    own = {
        "OUTPUT_DIR": str(root / "out"),
        "DATASETS": {"TRAIN": [f"{prefix}_train"], "TEST": [f"{prefix}_test"]},
        "INPUT": {"MIN_SIZE_TEST": 64},
        "SEGGEN": {"ENGINE": "detectron2", "DATASETS": datasets, "BANKS": [bank]},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(merge(merge(TINY, own), keys)))
    return root / "config.yaml"


def config_of(path: Path, **overrides: Any) -> Any:
    """The config of a file, with its datasets registered and its model known; ``_`` in a keyword stands for a dot."""
    return keyed(path, {key.replace("__", "."): value for key, value in overrides.items()})


def keyed(path: Path, overrides: dict[str, Any]) -> Any:
    """Likewise, with the overrides by their own names."""
    from seggen_d2.plugin.training.command import Arguments, prepare

    words = tuple(str(word) for pair in overrides.items() for word in pair)
    return prepare(Arguments(str(path), words))[0]


def upstream_tool() -> Any:
    """Mask2Former's own train_net.py as a module."""
    mask2former = pytest.importorskip("mask2former")
    file = Path(mask2former.__file__).parents[1] / "train_net.py"
    spec = importlib.util.spec_from_file_location("mask2former_train_net", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

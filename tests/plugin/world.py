"""A small labelled world for the tests against Detectron2: toy scenes registered as a dataset, a bank, a host's config."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toy_world import write_bank, write_dataset

from seggen_d2.plugin import add_seggen_config, register_folder
from seggen_d2.segmentation import Categories
from seggen_d2.sources.toy import CATEGORIES

STUFF = Categories.from_names(CATEGORIES.names)


@dataclass
class World:
    """``train`` and ``test`` are registered names, ``bank`` is a folder; banks' samples come from ``scene0`` and ``scene1``."""

    root: Path
    train: str
    test: str
    bank: str

    def config(self, **seggen: Any) -> Any:
        """A config of Detectron2 with this package's keys: 2 images a step, no workers."""
        from detectron2.config import get_cfg

        cfg = get_cfg()
        add_seggen_config(cfg)
        cfg.MODEL.DEVICE = "cpu"
        cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (self.train,), (self.test,)
        cfg.DATALOADER.NUM_WORKERS = 0
        cfg.DATALOADER.ASPECT_RATIO_GROUPING = False
        cfg.INPUT.CROP.ENABLED = False
        cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = (28, 32), "choice"
        cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.LOG_PERIOD = 2, 1
        cfg.OUTPUT_DIR = str(self.root / "out")
        cfg.SEED = 7
        cfg.SEGGEN.BANKS = [self.bank]
        for key, value in seggen.items():
            cfg.SEGGEN[key] = value
        return cfg


def make_world(root: Path) -> World:
    """4 scenes to train on, 2 to test on, a bank of 6."""
    mark = uuid.uuid4().hex[:8]  # names stay registered for the whole process
    names = []
    for split, numbers in (("train", range(4)), ("test", range(100, 102))):
        name = f"toy_{split}_{mark}"
        write_dataset(root / split, name, numbers, STUFF)
        register_folder(name, root / split / "images", root / split / "masks", STUFF)
        names.append(name)
    bank = write_bank(root / f"bank_{mark}", range(10, 16), sources=["scene0", "scene1"])
    return World(root, *names, bank)

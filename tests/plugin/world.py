"""A small labelled world for the tests against Detectron2: toy scenes as a dataset, a bank, a host's config and a model."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.engine import SimpleTrainer, hooks
from detectron2.utils.events import JSONWriter
from torch import nn
from toy_world import write_bank, write_dataset

from seggen_d2.plugin import SegGenHook, add_seggen_config, build_detection_train_loader, register_folder
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


def real_records(world):
    return DatasetCatalog.get(world.train)


def seed_all(seed=0):
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


class Criterion(nn.Module):
    """DETR's kind, in small: draws points, weighs by the number of targets, asks whether there are other processes."""

    weight_dict = {"loss_mask": 2.0, "loss_mask_0": 2.0}

    def forward(self, outputs, targets):
        assert len(outputs["pred"]) == len(targets)
        if torch.distributed.is_initialized():
            raise AssertionError("asked other processes")
        count = sum(len(target["labels"]) for target in targets)
        points = torch.rand(4, device=outputs["pred"].device)

        def loss(pred):
            return sum((row * (1 + points)).sum() for row in pred) / count

        aux = {f"loss_mask_{i}": loss(layer["pred"]) for i, layer in enumerate(outputs["aux_outputs"])}
        return {"loss_mask": loss(outputs["pred"]), **aux, "loss_unused": loss(outputs["pred"])}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.criterion = nn.Linear(3, 4), Criterion()

    def forward(self, batch):
        colors = torch.stack([sample["image"].float().mean((1, 2)) / 255 for sample in batch])
        pred = self.layer(colors)
        outputs = {"pred": pred, "aux_outputs": [{"pred": pred * 2}]}
        targets = [{"labels": torch.unique(sample["sem_seg"])} for sample in batch]
        losses = self.criterion(outputs, targets)
        return {name: losses[name] * weight for name, weight in self.criterion.weight_dict.items()}


def train(cfg, folder, model=None, *, hook=True, iterations=6, loader=None):
    """Train a small model by Detectron2's own trainer; the rows of its metrics.json, the model, the hook."""
    folder.mkdir(parents=True, exist_ok=True)
    seed_all()
    model = model or Model()
    loader = build_detection_train_loader(cfg) if loader is None else loader
    trainer = SimpleTrainer(model, loader, torch.optim.SGD(model.parameters(), 0.01))
    watch = SegGenHook(cfg)
    writer = JSONWriter(str(folder / "metrics.json"))
    trainer.register_hooks([hooks.PeriodicWriter([writer], period=1), watch if hook else None])  # the hook comes last
    trainer.train(0, iterations)
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return rows, model, watch

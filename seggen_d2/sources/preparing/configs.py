"""Configs of one's own dataset: the segmenter in all settings, both generators, the pilot synthesis."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.options import merge

from .prepared import Prepared, shown, write_yaml
from .settings import SETTINGS

# Mask2Former's own schedules at batch 16: 90K iterations for Cityscapes' 2,975 photos, 160K for ADE20K's 20,210, 368,750
# for COCO's 118,287. They grow about as the square root of the photos; each task's own reference gives the factor.
REFERENCE_BATCH, REFERENCE_RATE = 16, 1e-4
REFERENCES = {  # task: the folder of configs/ with upstream's settings, its photos and its iterations
    "semantic": ("ade20k/semantic-segmentation", 20_210, 160_000),
    "panoptic": ("coco/panoptic-segmentation", 118_287, 368_750),
    "instance": ("coco/instance-segmentation", 118_287, 368_750),
}
BACKBONES = {"R50": "microsoft/resnet-50", "swin-large": "microsoft/swin-large-patch4-window12-384-in22k"}
GENERATORS = ("text2mask", "mask2img")
_FEW = {"steps": 4, "guidance": 2.0}
SMALL: dict[str, dict[str, Any]] = {  # values of ``ConfigOptions.small``, by kind of file
    "segmenter": {
        "MODEL": {"WEIGHTS": "", "RESNETS": {"DEPTH": 18, "RES2_OUT_CHANNELS": 64}, "MASK_FORMER": {"DEC_LAYERS": 3, "TRAIN_NUM_POINTS": 256}},
        "INPUT": {"MIN_SIZE_TRAIN": [64], "MIN_SIZE_TEST": 64, "CROP": {"SIZE": [64, 64]}, "SIZE_DIVISIBILITY": 64, "IMAGE_SIZE": 64},
        "SOLVER": {"IMS_PER_BATCH": 2, "MAX_ITER": 10, "CHECKPOINT_PERIOD": 5, "AMP": {"ENABLED": False}},
        "TEST": {"EVAL_PERIOD": 0},
        "DATALOADER": {"NUM_WORKERS": 0},
    },
    "generator": {
        "base": "toy",
        "geometry": {"height": 48, "width": 64},
        "training": {"steps": 10, "batch": 4, "learning_rate": 4.0e-4, "warmup_steps": 2, "mixed_precision": "no", "checkpoint_every": 5},
        "validation": {"every": 5, "pictures": 4, "sampler": {"steps": 2}},
    },
    "synthesis": {
        "replicas": 1, "batch": 4, "dtype": "float32", "masks": _FEW, "images": _FEW,
        "quality": {"max_unsure": 1.0, "min_labelled": 0.0, "min_categories": 1, "min_named": 0.0, "max_dropped": 1.0, "max_lost": 1.0},
    },
}
_KINDS = {"real": "segmenter", "synthesis": "synthesis", "synthesis-full": "synthesis"}


@dataclass(frozen=True)
class ConfigOptions:
    """What the configs depend on, beside the dataset.

    Attributes:
        name: of the dataset; results go to ``output/NAME``.
        configs: this package's folder of configs, which the written ones start from.
        batch: images an optimiser step of the segmenter.
        backbone: ``R50`` or ``swin-large``.
        generators: the first word of the configs of generators and full synthesis to start from: ``own``, ``ade20k``,
            ``coco-panoptic`` or ``coco-instance``.
        small: sizes at which every step takes a minute on a CPU, from the shipped toy base and untrained backbones: to
            see the commands run, not to gain anything.
    """

    name: str
    configs: str
    batch: int = 16
    backbone: str = "R50"
    generators: str = "own"
    small: bool = False

    def __post_init__(self) -> None:
        check_choice("backbone", self.backbone, BACKBONES)
        check_range("batch", self.batch, 1, 4096)


def iterations(task: str, photos: int, batch: int) -> int:
    """The segmenter's optimiser steps: as many samples as upstream's schedules see at this many photos."""
    _, known, steps = REFERENCES[task]
    steps = steps * math.sqrt(photos / known) * REFERENCE_BATCH / batch
    return max(round(steps / 10), 1) * 10


def write_configs(made: Prepared, options: ConfigOptions) -> list[Path]:
    """Write ``real.yaml`` and each of :data:`SETTINGS`, ``text2mask.yaml``, ``mask2img.yaml``, their 24 GB forms,
    ``synthesis.yaml`` (the pilot) and ``synthesis-full.yaml``.

    Files that are there already are left: they may have been edited.

    Returns:
        Those that were written.

    Raises:
        SegGenError: ``options.configs`` is not this package's folder of configs.
    """
    base = Path(options.configs) / REFERENCES[made.task][0] / f"mask2former_{options.backbone}_real.yaml"
    if not base.is_file():
        raise SegGenError(f"{options.configs} is not this package's folder of configs", expected=str(base), found="no such file",
                          remedy="run the script from the repository's datasets/ folder")
    files = {
        "real": _real(made, options, base),
        "synthesis": _synthesis(made, options, "synthesis", "own-pilot", "banks"),
        "synthesis-full": _synthesis(made, options, "synthesis-full", options.generators, "full"),
    }
    for kind in GENERATORS:
        for size in ("", "-24gb"):
            files[kind + size] = _generator(made, options, kind, size)
    if options.small:
        files = {name: (header, _smaller(name, values, made.photos["train"])) for name, (header, values) in files.items()}
    files |= {name: _setting(made, options, name, files["real"][1]["SOLVER"]) for name in SETTINGS}
    paths = []
    for name, (header, values) in files.items():
        header = [*header, "Written by --small: a few iterations at a small size, to show that the command runs, no more."] if options.small else header
        path = made.output / f"{name}.yaml"
        if not path.exists():
            write_yaml(path, values, header)
            paths.append(path)
    return paths


def _smaller(name: str, values: dict[str, Any], photos: int) -> dict[str, Any]:
    """Of ``ConfigOptions.small``; generators hold half of a few photos out, and of fewer than four none."""
    kind = _KINDS.get(name, "generator")
    few = {"validation": {"every": 0}} if kind == "generator" and photos < 4 else {}
    return merge(merge(values, SMALL[kind]), few)


def _real(made: Prepared, options: ConfigOptions, base: Path) -> tuple[list[str], dict[str, Any]]:
    photos, steps = made.photos["train"], iterations(made.task, made.photos["train"], options.batch)
    file = shown(made.output / "real.yaml")
    every = max(steps // 20, 1)
    header = [
        f"python tools/train_net.py --config-file {file} --num-gpus 2",
        f"The baseline: {photos:,} photos, {len(made.categories)} categories, {made.task}. {steps:,} iterations of {options.batch}: upstream's schedules",
        f"grow about as the square root of the photos ({REFERENCES[made.task][2]:,} of 16 for {REFERENCES[made.task][1]:,}).",
    ]
    if not options.small:
        header.append(f"Without Detectron2: torchrun --nproc-per-node 2 tools/train_net.py --config-file {file} "
                      f"MODEL.WEIGHTS \"''\" MODEL.BACKBONE.WEIGHTS {BACKBONES[options.backbone]}")
    solver: dict[str, Any] = {"IMS_PER_BATCH": options.batch, "MAX_ITER": steps, "CHECKPOINT_PERIOD": every,
                              "BASE_LR": REFERENCE_RATE * options.batch / REFERENCE_BATCH}
    if made.task != "semantic":
        solver["STEPS"] = [round(steps * share) for share in (0.88889, 0.96296)]
    values = {
        "_BASE_": _from(base, made.output, options.configs),
        "OUTPUT_DIR": f"output/{options.name}/runs/real-seed0",
        "MODEL": {"SEM_SEG_HEAD": {"NUM_CLASSES": len(made.categories), "IGNORE_VALUE": made.categories.ignore_id}},
        "DATASETS": {"TRAIN": [f"{options.name}_train"], "TEST": [f"{options.name}_val"]},
        "SOLVER": solver,
        "TEST": {"EVAL_PERIOD": every},
        "SEGGEN": {"DATASETS": [shown(made.file("train")), shown(made.file("val"))]},
    }
    return header, values


def _setting(made: Prepared, options: ConfigOptions, name: str, solver: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    header = [f"python tools/train_net.py --config-file {shown(made.output / f'{name}.yaml')} --num-gpus 2",
              f"{SETTINGS[name].words} All else is as in real.yaml."]
    keys = SETTINGS[name].keys(options.name, solver["MAX_ITER"], solver["BASE_LR"])
    return header, {"_BASE_": "real.yaml", "OUTPUT_DIR": f"output/{options.name}/runs/{name}-seed0", "SEGGEN": keys}


def _generator(made: Prepared, options: ConfigOptions, kind: str, size: str) -> tuple[list[str], dict[str, Any]]:
    file = shown(made.output / f"{kind}{size}.yaml")
    header = [f"python tools/train_generator.py --kind {kind} --config-file {file} --output output/{options.name}/{kind}   # --dry-run first"]
    base = Path(options.configs) / "generators" / f"{options.generators}-{kind}{size}.yaml"
    return header, {"_BASE_": _from(base, made.output, options.configs), **_inputs(made, options), "exclude": [shown(made.file("val"))]}


def _synthesis(made: Prepared, options: ConfigOptions, name: str, base: str, banks: str) -> tuple[list[str], dict[str, Any]]:
    file = shown(made.output / f"{name}.yaml")
    header = [f"python tools/synthesize.py --strategy {strategy} --config-file {file} --output output/{options.name}/{banks}/{strategy} --workers 2"
              for strategy in ("masksyn", "imgsyn")]
    place = Path(options.configs) / "synthesis" / f"{base}.yaml"
    folders = {kind: f"output/{options.name}/{kind}/model" for kind in GENERATORS}
    return header, {"_BASE_": _from(place, made.output, options.configs), **_inputs(made, options), **folders}


def _inputs(made: Prepared, options: ConfigOptions) -> dict[str, str]:
    return {"dataset": shown(made.file("train")), "captions": f"output/{options.name}/captions/captions.parquet"}


def _from(base: Path, output: Path, configs: str) -> str:
    """``_BASE_`` of a file in ``output``: relative where both lie in the repository, so that it may be moved."""
    base, output = base.resolve(), output.resolve()
    near = output.is_relative_to(Path(configs).resolve().parent)
    return Path(os.path.relpath(base, output)).as_posix() if near else str(base)

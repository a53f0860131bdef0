"""Other people's projects, adopted at test time: copies of their train_net.py with the lines that the docs show."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
# What a project adds to its train_net.py, each line after the line of its own that is named; both projects have them.
LINES = {
    "from detectron2.utils.logger import setup_logger": (
        "from seggen_d2.plugin import SegGenHook, add_seggen_config, build_detection_train_loader"
    ),
    "    add_deeplab_config(cfg)": "    add_seggen_config(cfg)",
    "    trainer = Trainer(cfg)": "    trainer.register_hooks([SegGenHook(cfg)])",
}


@dataclass(frozen=True)
class Host:
    """A project: its package, and what makes its ADE20K config small."""

    package: str
    config: str
    node: str  # of its keys, under MODEL
    width: str  # channels
    small: tuple[str, ...]

    @property
    def repository(self) -> Path | None:
        found = importlib.util.find_spec(self.package)
        return Path(found.origin).parents[1] if found and found.origin else None

    def options(self) -> list[str]:
        """Overrides for seconds on a CPU."""
        node = f"MODEL.{self.node}"
        return [
            *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "SEED", "3", "SOLVER.AMP.ENABLED", "False"),
            *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.RESNETS.NORM", "FrozenBN"),
            *("MODEL.SEM_SEG_HEAD.CONVS_DIM", self.width, "MODEL.SEM_SEG_HEAD.MASK_DIM", self.width),
            *("MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS", "1", f"{node}.DIM_FEEDFORWARD", "32"),
            *(f"{node}.HIDDEN_DIM", self.width, f"{node}.NHEADS", "8", f"{node}.NUM_OBJECT_QUERIES", "10"),
            *(f"{node}.DEC_LAYERS", "2", f"{node}.TRAIN_NUM_POINTS", "64"),
            *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.LOG_PERIOD", "1", "TEST.EVAL_PERIOD", "0"),
            *("INPUT.CROP.SIZE", "(64, 64)", "INPUT.SIZE_DIVISIBILITY", "64", "INPUT.MIN_SIZE_TRAIN", "[64]"),
            *("INPUT.MIN_SIZE_TEST", "64", "DATALOADER.NUM_WORKERS", "1"),
            *self.small,
        ]


MASK2FORMER = Host(
    "mask2former", "configs/ade20k/semantic-segmentation/maskformer2_R50_bs16_160k.yaml", "MASK_FORMER", "32", ()
)
MASK_DINO = Host(
    "maskdino",
    "configs/ade20k/semantic-segmentation/maskdino_R50_bs16_160k_steplr.yaml",
    "MaskDINO",
    "256",  # what its position embedding is made for
    ("MODEL.MaskDINO.DN", "no", "MODEL.SEM_SEG_HEAD.DIM_FEEDFORWARD", "32"),  # denoising calls .cuda()
)


def adopt(train_net: str) -> str:
    """``train_net`` with :data:`LINES`."""
    for anchor, line in LINES.items():
        assert train_net.count(anchor + "\n") == 1, anchor
        train_net = train_net.replace(anchor + "\n", f"{anchor}\n{line}\n")
    return train_net


def write_ade20k(root: Path, samples: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    """Detectron2's tree of ADE20K: all samples but the last to train on, that one to test on. ``(image, labels)`` each."""
    base = root / "ADEChallengeData2016"
    for number, (image, labels) in enumerate(samples):
        split = "training" if number + 1 < len(samples) else "validation"
        for kind, array, ending in (("images", image, "jpg"), ("annotations_detectron2", labels, "png")):
            (base / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(base / kind / split / f"ADE_{split}_{number:08d}.{ending}")
    return root


def run(host: Host, folder: Path, *options: str) -> subprocess.CompletedProcess:
    """The adopted train_net.py, as its users give it, in a process of its own."""
    script = folder / f"train_net_{host.package}.py"
    script.write_text(adopt((host.repository / "train_net.py").read_text()))
    op = folder / "no_compiled_op"
    op.mkdir(exist_ok=True)
    (op / "MultiScaleDeformableAttention.py").touch()  # its calls fail, and the pure torch path serves
    paths = [str(ROOT), str(host.repository), str(op), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "DETECTRON2_DATASETS": str(folder / "datasets"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "ignore", str(script), "--config-file", str(host.repository / host.config)]
    command += [*[o for o in options if o.startswith("--")], *host.options(), *[o for o in options if not o.startswith("--")]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]

"""Where a finished run keeps its final model: a run's folder stands for it wherever weights are named."""

from __future__ import annotations

import os
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError

FINALS = {"transformers": "model_final", "detectron2": "model_final.pth"}  # by engine
SHIPPED = ("toy_backbone",)  # backbones that come with the package, by name: folders beside this file
_BEGUN = ("stage-*", "checkpoint-*", "model_*.pth", "last_checkpoint", "metrics.json", "metrics_final.json")


def final_model(weights: str | os.PathLike, engine: str = "transformers") -> str:
    """What ``MODEL.WEIGHTS`` stands for: of a finished run's folder its final model, of anything else itself.

    Args:
        weights: a file, an address, a checkpoint's folder, a run's (``OUTPUT_DIR`` of a training), or a name of ``SHIPPED``.
        engine: a key of ``FINALS``, which is to read it.

    Raises:
        SegGenError: the folder is of a run that did not finish, or of another engine's.
    """
    if str(weights) in SHIPPED:
        return str(Path(__file__).parent / weights)
    folder = Path(weights)
    if not weights or not folder.is_dir() or any(folder.glob("*.safetensors")):
        return str(weights)
    if (folder / FINALS[engine]).exists():
        return str(folder / FINALS[engine])
    for other, name in FINALS.items():
        if (folder / name).exists():
            raise SegGenError(
                f"{folder} holds a run of the {other} engine",
                expected=f"a run of the {engine} engine, which ends with {FINALS[engine]}",
                found=name,
                remedy=f"set SEGGEN.ENGINE {other}, or train it with the {engine} engine; tools/train_net.py reads {folder / name} itself, too",
            )
    begun = sorted({path.name for pattern in _BEGUN for path in folder.glob(pattern)})
    if begun:
        raise SegGenError(
            f"{folder} holds no finished run",
            expected=f"{FINALS[engine]} in it, which is written at the end of a training",
            found=", ".join(begun[-8:]),
            remedy="let its training finish (its own command goes on), or name one of its checkpoints",
        )
    return str(weights)

"""States of a training on disk: folders of safetensors and a JSON file, each whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_aside, write_json

from .optimizers import tensor_bytes

Tensors = Mapping[str, torch.Tensor]
SPARE = 1 << 20  # bytes for JSON and headers


class States:
    """``FOLDER/step-N``, of which the newest few are kept.

    Args:
        folder: where they lie.
        keep: how many stay; one more has room beside them while it is written.
    """

    def __init__(self, folder: Path, keep: int):
        self.folder, self.keep = Path(folder), keep

    def all(self) -> list[Path]:
        """The states, the newest last."""
        return sorted(self.folder.glob("step-*"))

    def newest(self) -> Path | None:
        """The state of the most steps; None where there is none."""
        return next(reversed(self.all()), None)

    def write(self, step: int, parts: Mapping[str, Tensors], progress: dict[str, Any]) -> Path:
        """Write the state of ``step`` aside, rename it into place, then drop the oldest of the others.

        Args:
            parts: ``{"NAME": tensors}`` becomes ``NAME.safetensors``.
            progress: goes into ``progress.json``, with ``step``.

        Raises:
            SegGenError: it cannot be written, or there is no space for it; earlier states are kept.
        """
        final, aside = self.folder / f"step-{step:08d}", self.folder / f".step-{step:08d}.part"
        if final.exists():
            return final
        for left in self.folder.glob(".step-*.part"):  # of a run that was killed while it wrote
            shutil.rmtree(left)
        aside.mkdir(parents=True)
        try:
            self._check_space(final, sum(tensor_bytes(part.values()) for part in parts.values()))
            for name, part in parts.items():
                with write_aside(aside / f"{name}.safetensors") as file:
                    save_file({key: tensor.detach().contiguous() for key, tensor in part.items()}, file)
            write_json(aside / "progress.json", {**progress, "step": step})
        except (OSError, RuntimeError, SafetensorError, SegGenError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise SegGenError(f"the state {final} cannot be written", found=str(error)[:300],
                              remedy="free some space and give the same command again; earlier states are kept") from error
        aside.rename(final)
        others = [state for state in self.all() if state != final]  # a resumed run may write below what it wrote before
        for old in others[: len(others) + 1 - self.keep]:
            shutil.rmtree(old)
        return final

    def _check_space(self, final: Path, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed + SPARE:
            raise SegGenError(f"no space for {final.name}", expected=f"{(needed + SPARE) / 1e6:.0f} MB", found=f"{free / 1e6:.0f} MB")


def read_progress(state: Path) -> dict[str, Any]:
    """What a state tells of itself."""
    return read_json(state / "progress.json", "training state")


def read_part(state: Path, name: str) -> dict[str, torch.Tensor]:
    """The tensors of one part of a state, on the CPU.

    Raises:
        SegGenError: the file is missing or cut.
    """
    file = state / f"{name}.safetensors"
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise SegGenError(f"{file} cannot be read", expected="a whole safetensors file", found=str(error)[:200],
                          remedy=f"remove {state}: the training then goes on from the state before it") from error

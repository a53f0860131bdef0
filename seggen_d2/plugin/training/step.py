"""One optimiser step: accumulated parts, mixed precision, clipping, and random numbers that follow from the step."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import nullcontext
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seggen_d2.foundation.errors import check_choice

from ..randomness import seed_all

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class StepTrainer(SimpleTrainer):
    """Runs the steps of :class:`seggen_d2.plugin.training.trainer.Trainer`.

    What a step draws (loss points, dropped paths) is a function of seed, process and iteration, so that a run that was
    resumed equals one that was not.

    Args:
        model: gives a mapping of losses for a list of samples; on its device.
        loader: endless, of lists of samples. optimizer: of the model's parameters.
        parts: the batch is computed in so many parts whose gradients are averaged.
        precision: ``""`` (float32), ``"bf16"`` or ``"fp16"`` (with scaled losses); on GPUs and CPUs.
        clip_norm: largest norm of the whole gradient; 0 leaves it.
        seed: of the run. iterations_before: those of earlier stages.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        parts: int = 1,
        precision: str = "",
        clip_norm: float = 0.0,
        seed: int = 0,
        iterations_before: int = 0,
    ):
        super().__init__(model, loader, optimizer)
        self.parts, self.clip_norm, self.seed, self.iterations_before = parts, clip_norm, seed, iterations_before
        self.kind = next(model.parameters()).device.type
        self.dtype = PRECISIONS[check_choice("SOLVER.AMP.DTYPE", precision, PRECISIONS)] if precision else None
        self.scaler = torch.amp.GradScaler(self.kind, enabled=self.dtype is torch.float16)

    def run_step(self) -> None:
        began = time.perf_counter()
        batch = next(self._data_loader_iter)
        waited = time.perf_counter() - began
        self.optimizer.zero_grad()
        seed_all("step", self.seed, comm.get_rank(), self.iterations_before + self.iter)
        losses = self._gradients(batch)
        self.after_backward()
        self.scaler.unscale_(self.optimizer)
        if self.clip_norm:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self._write_metrics(losses, waited)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _gradients(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Backward through all parts; the mean of each loss over them."""
        size, means = len(batch) // self.parts, defaultdict(float)
        for part in range(self.parts):
            last = part == self.parts - 1
            with nullcontext() if last else self._unsynced():
                with torch.autocast(self.kind, self.dtype, enabled=self.dtype is not None):
                    losses = self.model(batch[part * size : (part + 1) * size])
                self.scaler.scale(sum(losses.values()) / self.parts).backward()
            for name, value in losses.items():
                means[name] += value.detach() / self.parts
        return dict(means)

    def _unsynced(self) -> Any:
        """Processes exchange gradients once a step."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "grad_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.scaler.load_state_dict(state.get("grad_scaler", {}) if self.scaler.is_enabled() else {})

"""One stage of training: Hugging Face's ``Trainer`` with Mask2Former's optimiser and losses logged by origin."""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments

from seggen_d2.foundation.errors import SegGenError, check_installed
from seggen_d2.modeling import Mask2Former

from .checkpoint import load_network, save_network
from .optimizer import build_adamw, learning_rate_factor, parameter_groups


@dataclass(frozen=True)
class SolverOptions:
    """How a stage is optimised. Sizes in images, lengths in iterations (optimiser steps)."""

    batch_size: int = 16
    accumulate: int = 1
    groups: Mapping[str, float] = field(default_factory=dict)  # keywords of parameter_groups
    schedule: Mapping[str, Any] = field(default_factory=dict)  # keywords of learning_rate_factor
    clip_norm: float = 0.01
    precision: str = ""  # "" | bf16 | fp16
    checkpoint_period: int = 5000
    checkpoints_kept: int = 2
    log_period: int = 20
    eval_period: int = 0
    workers: int = 0
    tensorboard: bool = False
    seed: int = 0
    device: str = ""  # "" | cpu | cuda
    synthetic_weight: float = 1.0  # of the loss terms of synthetic samples


class SegmentationTrainer(Trainer):
    """Trains a ``Mask2Former`` on the batches of ``loader``.

    Args:
        model: in Detectron2's convention.
        loader: endless, and already at the right sample number; the trainer skips nothing on resume.
        folder: of this stage's checkpoints.
        base_lr: learning rate of all but the backbone. iterations: optimiser steps of this stage.
        options: all else.
        on_log: called with one mapping every ``log_period`` iterations.
        callbacks: further watchers.
    """

    def __init__(
        self,
        model: Mask2Former,
        loader: DataLoader,
        *,
        folder: Path,
        base_lr: float,
        iterations: int,
        options: SolverOptions,
        on_log: Callable[[dict[str, Any]], None],
        callbacks: list[TrainerCallback] | None = None,
    ):
        self.loader, self.options, self.base_lr, self.on_log = loader, options, base_lr, on_log
        self.loss_sums: dict[str, Tensor | float] = defaultdict(float)
        self.loss_counts: dict[str, int] = defaultdict(int)
        self.last_log = time.perf_counter()
        super().__init__(
            model=model,
            args=training_arguments(folder, iterations, options),
            train_dataset=loader.dataset,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader:
        return self.loader

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = build_adamw(parameter_groups(self.model, base_lr=self.base_lr, **self.options.groups))
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        if self.lr_scheduler is None:
            factor = learning_rate_factor(num_training_steps, **self.options.schedule)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        """The sum of the batch's losses, its synthetic samples' terms weighted; what is logged by origin is not."""
        samples = inputs["samples"]
        losses = model(samples, per_sample=True)
        totals = torch.stack(list(losses.values())).sum(0)
        synthetic = [bool(sample.get("is_synthetic")) for sample in samples]
        self._note(losses, totals.detach(), synthetic)
        weight = self.options.synthetic_weight
        return totals.mean() if weight == 1 else (totals * totals.new_tensor([weight if one else 1.0 for one in synthetic])).mean()

    def _note(self, losses: dict[str, Tensor], totals: Tensor, synthetic: list[bool]) -> None:
        for origin, wanted in (("loss_real", False), ("loss_synthetic", True)):
            rows = [row for row, value in enumerate(synthetic) if value is wanted]
            if rows:
                self.loss_sums[origin] += totals[rows].sum()
                self.loss_counts[origin] += len(rows)
        for name in ("loss_ce", "loss_mask", "loss_dice"):
            self.loss_sums[name] += losses[name].detach().sum()
            self.loss_counts[name] += len(synthetic)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" not in logs:  # the summary at the end
            return
        if not math.isfinite(logs["loss"]):
            raise SegGenError(
                f"the training loss is not finite at iteration {self.state.global_step}",
                found=str(logs["loss"]),
                remedy="lower SOLVER.BASE_LR, or turn SOLVER.AMP off; the last checkpoint is kept",
            )
        facts = {"lr": logs["learning_rate"], **({"grad_norm": logs["grad_norm"]} if "grad_norm" in logs else {})}
        means = self._drain()
        super().log({**logs, **means}, start_time)
        if self.is_world_process_zero():
            self.on_log({"iteration": self.state.global_step, "total_loss": logs["loss"], **means, **facts})

    def _drain(self) -> dict[str, float]:
        """The means since the last call, over this process's samples."""
        images, now = self.loss_counts["loss_ce"], time.perf_counter()
        iterations = images / (self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps)
        means = {name: float(self.loss_sums[name]) / count for name, count in self.loss_counts.items()}
        means["synthetic_share"] = self.loss_counts.get("loss_synthetic", 0) / images
        means["seconds_per_iteration"] = (now - self.last_log) / iterations
        self.loss_sums.clear()
        self.loss_counts.clear()
        self.last_log = now
        return means

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """The network as a transformers folder; no pickled arguments beside it."""
        if self.args.should_save:
            save_network(self.accelerator.unwrap_model(self.model), output_dir or self.args.output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        load_network(model or self.model, resume_from_checkpoint)


def training_arguments(folder: Path, iterations: int, options: SolverOptions) -> TrainingArguments:
    """Hugging Face's arguments for one stage; the batch is shared out over processes and accumulated parts.

    Raises:
        SegGenError: the batch cannot be shared out, or TensorBoard files are asked for and their package is not installed.
    """
    if options.tensorboard:
        check_installed("SOLVER.TENSORBOARD: True", "tensorboard", "leave the key out: metrics.json holds the same figures")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if options.batch_size % (processes * options.accumulate):
        raise SegGenError(
            "SOLVER.IMS_PER_BATCH cannot be shared out",
            expected="a multiple of processes x SOLVER.ACCUMULATE",
            found=f"{options.batch_size} images, {processes} processes, {options.accumulate} parts",
        )
    on_cpu = options.device == "cpu" or (processes > 1 and not torch.cuda.is_available())
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=iterations,
        per_device_train_batch_size=options.batch_size // (processes * options.accumulate),
        gradient_accumulation_steps=options.accumulate,
        max_grad_norm=options.clip_norm,
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        save_strategy="steps",
        save_steps=options.checkpoint_period,
        save_total_limit=options.checkpoints_kept,
        logging_strategy="steps",
        logging_steps=options.log_period,
        logging_nan_inf_filter=False,
        ignore_data_skip=True,
        remove_unused_columns=False,
        report_to=["tensorboard"] if options.tensorboard else [],
        seed=options.seed,
        disable_tqdm=True,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and processes > 1 else None,
        eval_strategy="no",
        ddp_find_unused_parameters=False,
    )
    if processes == 1 and arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several GPUs are used by torchrun, a process each; not by DataParallel
    return arguments

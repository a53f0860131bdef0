"""The training: Hugging Face's ``Trainer`` on cross-entropy of words, with this engine's optimiser and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside
from seggen_d2.modeling.word_classifier import WordClassifier

from ..optimizer import build_adamw, learning_rate_factor, parameter_groups
from ..trainer import SolverOptions, training_arguments
from .options import Solver

LOG_PERIOD = 50


class WordTrainer(Trainer):
    """Trains a ``WordClassifier`` on batches ``{"samples": [{"image": (3, H, W), "words": (W,)}, ...]}``.

    Args:
        loader: endless, and already at the right sample number.
        folder: of the states.
        on_log: called with one mapping every ``LOG_PERIOD`` steps.
    """

    def __init__(self, model: WordClassifier, loader: DataLoader, solver: Solver, folder: Path, *, on_log: Callable[[dict[str, Any]], None],
                 callbacks: list[TrainerCallback]):
        self.loader, self.on_log = loader, on_log
        options = SolverOptions(batch_size=solver.batch, clip_norm=0.0, checkpoint_period=solver.checkpoint_every, log_period=LOG_PERIOD,
                                workers=solver.workers, seed=solver.seed, device=solver.device)
        optimizer = build_adamw(parameter_groups(model, base_lr=solver.learning_rate, backbone_multiplier=1.0, weight_decay=solver.weight_decay))
        factor = learning_rate_factor(solver.steps, warmup_iterations=solver.warmup_steps, warmup_factor=0.01)
        super().__init__(model=model, args=training_arguments(folder, solver.steps, options), train_dataset=loader.dataset, callbacks=callbacks,
                         optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)))
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader:
        return self.loader

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        """The mean over pictures and words."""
        images, labels = stacked(inputs["samples"])
        logits = model(images)
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.device))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" not in logs:  # the summary at the end
            return
        if not math.isfinite(logs["loss"]):
            raise SegGenError(f"the training loss is not finite at step {self.state.global_step}", found=str(logs["loss"]),
                              remedy="lower solver.learning_rate; the last state is kept")
        super().log(logs, start_time)
        self.on_log({"iteration": self.state.global_step, "loss": logs["loss"], "lr": logs["learning_rate"]})

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """The weights; no pickled arguments beside them."""
        with write_aside(Path(output_dir or self.args.output_dir) / "model.safetensors") as aside:
            save_file({name: value.contiguous() for name, value in self.accelerator.unwrap_model(self.model).state_dict().items()}, aside)


def stacked(samples: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) uint8 and (B, W) float32."""
    return torch.stack([sample["image"] for sample in samples]), torch.stack([torch.from_numpy(sample["words"]) for sample in samples])

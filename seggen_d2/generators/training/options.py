"""What a training is given: an objective, examples, options, and what is measured along the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.seeds import derive_seed

from .optimizers import OPTIMIZERS, SCHEDULES

Batch = dict[str, torch.Tensor]


class Objective(Protocol):
    """What a run trains.

    Attributes:
        name: the word for it in logs.
        trainable: the module whose parameters are trained; calling it with ``(batch, generator)`` gives the scalar
            loss, drawing all randomness from the CPU generator.
    """

    name: str
    trainable: nn.Module


class Examples(Protocol):
    """Training examples by number.

    ``numbers`` is the batch of a draw, a function of its arguments; ``batch`` stacks examples along the first axis, and
    makes what it draws (a caption among several) a function of its arguments, too.
    """

    def __len__(self) -> int: ...

    def numbers(self, draw: int, batch: int, seed: int) -> np.ndarray: ...

    def batch(self, numbers: np.ndarray, *, draw: int = 0, seed: int = 0) -> Batch: ...


class Shuffled:
    """Examples of one size: every epoch shows each once, in an order of its own."""

    def __len__(self) -> int:
        raise NotImplementedError

    def numbers(self, draw: int, batch: int, seed: int) -> np.ndarray:
        """The examples of batch ``draw``: ``(batch,)``."""
        return example_numbers(len(self), batch, draw, seed)


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how to train.

    Attributes:
        steps: optimizer steps.
        batch: examples a process and accumulation step.
        learning_rate: peak rate of AdamW (the paper: 1e-5 for SDXL).
        optimizer: ``adamw``, or ``adamw8bit``, which needs bitsandbytes.
        warmup_steps: linear warm-up.
        schedule: ``constant`` or ``cosine`` (to zero at the last step).
        decay_steps: of ``constant``: its last steps fall to zero. Until they begin, a longer or shorter run may go on from the same states.
        weight_decay: of AdamW, times the rate at each step.
        max_grad_norm: longer gradients, all weights' together, are shortened to it; a large number shortens none.
        gradient_accumulation: batches an optimizer step.
        mixed_precision: ``no``, ``bf16`` or ``fp16``; weights that are trained stay in 32 bits.
        gradient_checkpointing: trade compute for memory.
        ema_decay: decay of the averaged weights that are saved in the end; 0 saves the last weights.
        ema_device: where the averages lie: "" for beside the weights, or ``cpu``, which spares a GPU 4 bytes a weight.
        ema_every: steps between updates of the averages.
        checkpoint_every: steps between states to resume from; the last ``keep`` stay.
        log_every: steps between lines of the log.
        tracker: ``""``, ``tensorboard`` or ``wandb``; losses always go to ``log.jsonl``.
        seed: of fresh weights, of the order of examples, and of noise.
    """

    steps: int
    batch: int
    learning_rate: float = 1e-5
    optimizer: str = "adamw"
    warmup_steps: int = 0
    schedule: str = "constant"
    decay_steps: int = 0
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    gradient_accumulation: int = 1
    mixed_precision: str = "no"
    gradient_checkpointing: bool = False
    ema_decay: float = 0.999
    ema_device: str = ""
    ema_every: int = 1
    checkpoint_every: int = 200
    keep: int = 2
    log_every: int = 20
    tracker: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("mixed_precision", self.mixed_precision, ("no", "bf16", "fp16"))
        check_choice("ema_device", self.ema_device, ("", "cpu"))
        check_choice("tracker", self.tracker, ("", "tensorboard", "wandb"))
        check_range("ema_decay", self.ema_decay, 0, 1)
        for name in ("steps", "batch", "gradient_accumulation", "ema_every", "checkpoint_every", "keep", "log_every"):
            check_range(name, getattr(self, name), 1, 10**9)
        if self.decay_steps and (self.schedule != "constant" or self.decay_steps + self.warmup_steps > self.steps):
            raise SegGenError("decay_steps do not go with the other options", expected="schedule: constant, and no more steps than warmup_steps leave",
                              found=f"schedule: {self.schedule}, steps: {self.steps}, warmup_steps: {self.warmup_steps}, decay_steps: {self.decay_steps}")
        for name, low, high in (("learning_rate", 0, 10), ("warmup_steps", 0, 10**9), ("decay_steps", 0, 10**9),
                                ("weight_decay", 0, 10), ("max_grad_norm", 1e-6, 1e9)):
            check_range(name, getattr(self, name), low, high)


@dataclass(frozen=True)
class Validation:
    """What is measured along the way, with the averaged weights in place.

    Attributes:
        measure: gives figures by name; only the first process calls it, the others wait.
        every: steps between measurements; the last step always has one.
        best: the figure by which the best weights are kept, and whether it should be ``max`` or ``min``.
        alarm: ``(step, figures)`` to a warning; "" where all is well.
    """

    measure: Callable[[], dict[str, float]]
    every: int
    best: tuple[str, str] = ("miou", "max")
    alarm: Callable[[int, dict[str, float]], str] = lambda step, figures: ""

    def __post_init__(self) -> None:
        check_range("validation: every", self.every, 1, 10**9)
        check_choice("validation: best", self.best[1], ("max", "min"))

    def is_better(self, figures: dict[str, float], than: dict[str, float] | None) -> bool:
        """Whether ``figures`` beat those of the best weights so far."""
        name, way = self.best
        if name not in figures:
            raise SegGenError(f"validation measures no {name}", expected=name, found=", ".join(figures))
        if than is None or not math.isfinite(than[name]):
            return than is None or math.isfinite(figures[name])
        if not math.isfinite(figures[name]):
            return False
        return figures[name] > than[name] if way == "max" else figures[name] < than[name]


def example_numbers(count: int, batch: int, draw: int, seed: int) -> np.ndarray:
    """The examples of batch ``draw``: ``(batch,)`` from an endless run of permutations of ``count``, each of its own seed."""
    positions = np.arange(draw * batch, (draw + 1) * batch)
    numbers = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(positions // count):
        here = positions // count == epoch
        order = np.random.default_rng(derive_seed("order", seed, int(epoch))).permutation(count)
        numbers[here] = order[positions[here] % count]
    return numbers

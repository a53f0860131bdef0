"""The one training loop: the base, its VAE, Text2Mask and Mask2Img all go through it.

What is trained is told by a small object, the :class:`Objective`. Which examples a step sees and which noise it draws
are functions of (seed, step, process), so that a resumed run continues the run that was stopped.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import read_json, write_json
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.foundation.stopping import stop_noted

log = logging.getLogger(__name__)
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
    """Training examples by number; ``batch(numbers)`` stacks them along the first axis."""

    def __len__(self) -> int: ...

    def batch(self, numbers: np.ndarray) -> Batch: ...


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how to train.

    Attributes:
        steps: optimizer steps.
        batch: examples a process and accumulation step.
        learning_rate: peak rate of AdamW (the paper: 1e-5 for SDXL).
        warmup_steps: linear warm-up.
        schedule: ``constant`` or ``cosine`` (to zero at the last step).
        gradient_accumulation: batches an optimizer step.
        mixed_precision: ``no``, ``bf16`` or ``fp16``.
        gradient_checkpointing: trade compute for memory.
        ema_decay: decay of the averaged weights that are saved in the end; 0 saves the last weights.
        checkpoint_every: steps between states to resume from; the last ``keep`` stay.
        tracker: ``""``, ``tensorboard`` or ``wandb``; losses always go to ``log.jsonl``.
    """

    steps: int
    batch: int
    learning_rate: float = 1e-5
    warmup_steps: int = 0
    schedule: str = "constant"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    gradient_accumulation: int = 1
    mixed_precision: str = "no"
    gradient_checkpointing: bool = False
    ema_decay: float = 0.999
    checkpoint_every: int = 200
    keep: int = 2
    log_every: int = 20
    tracker: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, ("constant", "cosine"))
        check_choice("mixed_precision", self.mixed_precision, ("no", "bf16", "fp16"))
        check_choice("tracker", self.tracker, ("", "tensorboard", "wandb"))
        check_range("ema_decay", self.ema_decay, 0, 1)
        for name in ("steps", "batch", "gradient_accumulation", "checkpoint_every", "keep", "log_every"):
            check_range(name, getattr(self, name), 1, 10**9)
        check_range("learning_rate", self.learning_rate, 0, 10)


def train(objective: Objective, examples: Examples, options: TrainingOptions, output: Path, *,
          identity: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train ``objective`` to the last step; a state found under ``output/state`` is continued.

    Args:
        objective: what is trained.
        examples: what it is trained on.
        options: how.
        output: folder of the states and the log.
        identity: JSON facts (base, dataset, size, ...) that a state must share to be continued.

    On return the trainable module holds the averaged weights (or the last, without averaging).

    Returns:
        Facts for the model card: steps, examples, seconds (of this call), final loss.

    Raises:
        SegGenError: the state was made with other options, or the loss is not finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the step was finished and a state written first.
    """
    run = _Run(objective, options, Path(output), {**(identity or {}), "objective": objective.name, "examples": len(examples)})
    step = run.resume()
    began = time.monotonic()
    with tqdm(total=options.steps, initial=step, desc=objective.name, unit="step", mininterval=1,
              disable=not run.accelerator.is_local_main_process) as bar, stop_noted() as stop:
        while step < options.steps:
            loss = run.step(step, examples)
            step += 1
            bar.update()
            bar.set_postfix(loss=f"{run.average(loss):.4f}", refresh=False)
            run.after(step)
            if stop.is_set() and step < options.steps:
                run.save(step)
                raise KeyboardInterrupt
    run.finish()
    return {"steps": options.steps, "examples": len(examples), "seconds": round(time.monotonic() - began, 1),
            "final_loss": run.loss_average, "options": asdict(options)}


class _Run:
    """Model, optimizer, averages and states of one call of :func:`train`."""

    def __init__(self, objective: Objective, options: TrainingOptions, output: Path, identity: dict[str, Any]):
        self.options, self.output, self.name = options, output, objective.name
        AcceleratorState._reset_state()  # a training before this one may have had another precision
        self.accelerator = Accelerator(gradient_accumulation_steps=options.gradient_accumulation,
                                       mixed_precision=options.mixed_precision, log_with=options.tracker or None,
                                       project_dir=str(output))
        self.module = objective.trainable
        if options.gradient_checkpointing:
            _for_networks(self.module, "enable_gradient_checkpointing")
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, options.learning_rate, weight_decay=options.weight_decay)
        # the schedule is stepped here, once an optimizer step, so it is not given to accelerate, which counts processes
        name = {"constant": "constant_with_warmup"}.get(options.schedule, options.schedule)
        self.schedule = get_scheduler(name, optimizer, num_warmup_steps=options.warmup_steps, num_training_steps=options.steps)
        self.model, self.optimizer = self.accelerator.prepare(self.module, optimizer)
        self.parameters = parameters
        self.ema = EMAModel(parameters, decay=options.ema_decay) if options.ema_decay else None
        if self.ema:
            self.ema.to(self.accelerator.device)
        self.loss_average: float | None = None
        self.facts = {**asdict(options), **identity, "processes": self.accelerator.num_processes}
        if options.tracker:
            self.accelerator.init_trackers(objective.name)

    # -- one step ------------------------------------------------------------------------------------------------

    def step(self, step: int, examples: Examples) -> float:
        options, total = self.options, 0.0
        for part in range(options.gradient_accumulation):
            draw = (step * options.gradient_accumulation + part) * self.accelerator.num_processes + self.accelerator.process_index
            numbers = example_numbers(len(examples), options.batch, draw, options.seed)
            batch = {name: value.to(self.accelerator.device) for name, value in examples.batch(numbers).items()}
            generator = torch.Generator().manual_seed(derive_seed("noise", options.seed, draw))
            with self.accelerator.accumulate(self.model), self.accelerator.autocast():
                loss = self.model(batch, generator)
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.parameters, options.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
            total += float(loss.detach()) / options.gradient_accumulation
        self.schedule.step()
        if self.ema:
            self.ema.step(self.parameters)
        return self._finite(total, step)

    def _finite(self, loss: float, step: int) -> float:
        if not math.isfinite(loss):
            raise SegGenError(f"the loss of {self.name} is {loss} at step {step}", expected="a finite number",
                              remedy=f"lower learning_rate ({self.options.learning_rate}); the last state is kept in {self.output / 'state'}")
        return loss

    def average(self, loss: float) -> float:
        self.loss_average = loss if self.loss_average is None else 0.98 * self.loss_average + 0.02 * loss
        return self.loss_average

    def after(self, step: int) -> None:
        if step % self.options.log_every == 0 and self.accelerator.is_main_process:
            rate = self.schedule.get_last_lr()[0]
            with open(self.output / "log.jsonl", "a") as file:
                file.write(json.dumps({"step": step, "loss": round(self.loss_average, 6), "learning_rate": rate}) + "\n")
            if self.options.tracker:
                self.accelerator.log({"loss": self.loss_average, "learning_rate": rate}, step=step)
        if step % self.options.checkpoint_every == 0 or step == self.options.steps:
            self.save(step)

    # -- states --------------------------------------------------------------------------------------------------

    def save(self, step: int) -> None:
        """Write ``state/step-N`` whole (aside, then renamed) and drop the oldest."""
        final, aside = self.output / "state" / f"step-{step:08d}", self.output / "state" / f".step-{step:08d}.part"
        self.accelerator.wait_for_everyone()
        if final.exists():
            return
        if self.accelerator.is_main_process:
            shutil.rmtree(aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            self._write_state(aside, step)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise SegGenError(f"the state {final} cannot be written", found=str(error)[:200],
                              remedy="free some space and give the same command again; earlier states are kept") from error
        if self.accelerator.is_main_process:
            aside.rename(final)
            for old in self._states()[: -self.options.keep]:
                shutil.rmtree(old)

    def _write_state(self, folder: Path, step: int) -> None:
        self.accelerator.save_state(str(folder))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            save_file(self._ema_weights(), folder / "ema.safetensors")
            write_json(folder / "progress.json", {"step": step, "loss": self.loss_average, "options": self.facts})

    def _ema_weights(self) -> dict[str, torch.Tensor]:
        averages = self.ema.shadow_params if self.ema else []
        return {str(i): p.detach().contiguous() for i, p in enumerate(averages)} or {"none": torch.zeros(0)}

    def _states(self) -> list[Path]:
        return sorted((self.output / "state").glob("step-*"))

    def resume(self) -> int:
        """Load the newest state; returns its step (0 where there is none)."""
        self.output.mkdir(parents=True, exist_ok=True)
        if not self._states():
            return 0
        newest = self._states()[-1]
        progress = read_json(newest / "progress.json", "training state")
        self._check_options(progress["options"], newest)
        self.accelerator.load_state(str(newest))
        if self.ema:
            shadow = load_file(newest / "ema.safetensors", device=str(self.accelerator.device))
            self.ema.shadow_params = [shadow[str(i)] for i in range(len(self.parameters))]
            self.ema.optimization_step = progress["step"]
        if progress["step"] > self.options.steps:
            raise SegGenError(f"{newest} is past the last step", expected=f"at most {self.options.steps} steps", found=str(progress["step"]),
                              remedy="give more steps, or remove the newer states")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the optimizer's own steps were taken before the stop
            for _ in range(progress["step"]):
                self.schedule.step()
        self.loss_average = progress["loss"]
        log.info("%s: going on from step %d (%s)", self.name, progress["step"], newest)
        return progress["step"]

    def _check_options(self, before: dict[str, Any], state: Path) -> None:
        free = {"checkpoint_every", "keep", "log_every", "tracker"} | ({"steps"} if self.options.schedule == "constant" else set())
        now = self.facts
        changed = {key: (before.get(key), now[key]) for key in now if key not in free and before.get(key) != now[key]}
        if changed:
            rows = "; ".join(f"{key}: {a} then, {b} now" for key, (a, b) in changed.items())
            raise SegGenError(f"the state {state} was made with other options: {rows}", remedy="use the same options, or another output folder")

    def finish(self) -> None:
        if self.ema:
            self.ema.copy_to(self.parameters)
        if self.options.tracker:
            self.accelerator.end_training()


def example_numbers(count: int, batch: int, draw: int, seed: int) -> np.ndarray:
    """The examples of batch ``draw``: ``(batch,)`` from an endless run of permutations of ``count``, each of its own seed."""
    positions = np.arange(draw * batch, (draw + 1) * batch)
    numbers = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(positions // count):
        here = positions // count == epoch
        order = np.random.default_rng(derive_seed("order", seed, int(epoch))).permutation(count)
        numbers[here] = order[positions[here] % count]
    return numbers


def _for_networks(module: nn.Module, method: str) -> None:
    """Call ``method`` on every network inside ``module`` that has it."""
    for network in module.modules():
        action: Callable[[], None] | None = getattr(network, method, None)
        if action is not None:  # gradients pass through frozen networks as well
            action()

"""One run of the training loop: model, optimizer, averages, states."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import derive_seed

from .devices import make_accelerator
from .optimizers import Average, copy_tensors, load_optimizer, make_optimizer, make_schedule, optimizer_tensors
from .options import Examples, Objective, TrainingOptions, Validation
from .states import States, read_part, read_progress

log = logging.getLogger(__name__)
DEFAULTS = {each.name: each.default for each in fields(TrainingOptions) if each.default is not MISSING}  # of options that came after a state was made
FREE = {"checkpoint_every", "keep", "log_every", "tracker", "ema_device"}  # options that a resumed run may change


class Run:
    """Model, optimizer, averages and states of one call of :func:`train`."""

    def __init__(self, objective: Objective, options: TrainingOptions, output: Path, identity: dict[str, Any], examples: int,
                 validation: Validation | None = None):
        self.options, self.output, self.name, self.validation = options, output, objective.name, validation
        self.accelerator = make_accelerator(options, output, leaves_unused=getattr(objective, "leaves_unused", False))
        self.module = objective.trainable
        if options.gradient_checkpointing:
            _for_networks(self.module, "enable_gradient_checkpointing")
        self.trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self.moments = make_optimizer(options.optimizer, self.trained.values(), learning_rate=options.learning_rate, weight_decay=options.weight_decay)
        # the schedule is stepped here, once an optimizer step, so it is not given to accelerate, which counts processes
        self.schedule = make_schedule(options.schedule, self.moments, warmup_steps=options.warmup_steps, steps=options.steps,
                                      decay_steps=options.decay_steps)
        self.model, self.optimizer = self.accelerator.prepare(self.module, self.moments)
        self.average = Average(self.trained, options.ema_decay, every=options.ema_every, device=options.ema_device) if options.ema_decay else None
        self.states, self.best = States(output / "state", options.keep), States(output / "best", 1)
        self.loss_average: float | None = None
        self.facts = {**asdict(options), **identity, "objective": objective.name, "examples": examples,
                      "processes": self.accelerator.num_processes}
        if options.tracker:
            self.accelerator.init_trackers(objective.name)

    # -- one step ------------------------------------------------------------------------------------------------

    def step(self, step: int, examples: Examples) -> float:
        """One optimizer step, numbered from 0; its loss in this process."""
        options, total = self.options, 0.0
        for part in range(options.gradient_accumulation):
            draw = (step * options.gradient_accumulation + part) * self.accelerator.num_processes + self.accelerator.process_index
            numbers = examples.numbers(draw, options.batch, options.seed)
            batch = {name: value.to(self.accelerator.device) for name, value in examples.batch(numbers, draw=draw, seed=options.seed).items()}
            generator = torch.Generator().manual_seed(derive_seed("noise", options.seed, draw))
            with self.accelerator.accumulate(self.model):
                loss = self.model(batch, generator)  # accelerate runs it, and not its gradients, in mixed precision
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.trained.values(), options.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=self.accelerator.num_processes == 1)  # of several, gradients lie in what is sent
            total += float(loss.detach()) / options.gradient_accumulation
        self.schedule.step()
        if self.average:
            self.average.update(step + 1)
        return self._finite(total, step)

    def _finite(self, loss: float, step: int) -> float:
        if not math.isfinite(loss):
            raise SegGenError(f"the loss of {self.name} is {loss} at step {step}", expected="a finite number",
                              remedy=f"lower learning_rate ({self.options.learning_rate}); the last state is kept in {self.states.folder}")
        return loss

    def average_loss(self, loss: float) -> float:
        """The running average of the loss, ``loss`` taken in."""
        self.loss_average = loss if self.loss_average is None else 0.98 * self.loss_average + 0.02 * loss
        return self.loss_average

    def agreed(self, stop: bool) -> bool:
        """Whether any process was told to stop: all then stop after the same step."""
        if self.accelerator.num_processes == 1:
            return stop
        return bool(self.accelerator.reduce(torch.tensor(int(stop), device=self.accelerator.device), "sum"))

    def after(self, step: int) -> None:
        """What is due after ``step`` steps: a line in the log, a validation, a state."""
        last = step == self.options.steps
        if step % self.options.log_every == 0:
            self._log(step, {"loss": round(self.loss_average, 6), "learning_rate": self.schedule.get_last_lr()[0]})
        if self.validation and (last or step % self.validation.every == 0):
            self._validate(step)
        if last or step % self.options.checkpoint_every == 0:
            self.save(step)

    def _log(self, step: int, figures: dict[str, Any]) -> None:
        if not self.accelerator.is_main_process:
            return
        with open(self.output / "log.jsonl", "a") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        if self.options.tracker:
            self.accelerator.log({name: value for name, value in figures.items() if isinstance(value, (int, float))}, step=step)

    # -- validation ----------------------------------------------------------------------------------------------

    def _validate(self, step: int) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            if self.average:
                with self.average.in_place():
                    self._measure(step)
            else:
                self._measure(step)
        self.accelerator.wait_for_everyone()

    def _measure(self, step: int) -> None:
        with torch.no_grad():
            figures = self.validation.measure()
        warning = self.validation.alarm(step, figures)
        self._log(step, {**figures, **({"alarm": warning} if warning else {})})
        log.info("%s at step %d: %s", self.name, step, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        if warning:
            log.warning("%s\nALARM at step %d: %s\n%s", "!" * 100, step, warning, "!" * 100)
        newest = self.best.newest()
        if self.validation.is_better(figures, read_progress(newest)["figures"] if newest else None):
            self.best.write(step, {"trained": self.trained}, {"figures": figures})

    # -- states --------------------------------------------------------------------------------------------------

    def save(self, step: int) -> None:
        """Write a state of ``step``: what is trained, its averages and its moments."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            parts = {"trained": self.trained, "optimizer": optimizer_tensors(self.moments),
                     **({"average": self.average.shadow} if self.average else {})}
            scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}
            self.states.write(step, parts, {"loss": self.loss_average, "scaler": scaler, "options": self.facts})
        self.accelerator.wait_for_everyone()

    def resume(self) -> int:
        """Load the newest state; returns its step (0 where there is none)."""
        self.output.mkdir(parents=True, exist_ok=True)
        newest = self.states.newest()
        if newest is None:
            return 0
        progress = read_progress(newest)
        self._check_options(progress["options"], progress["step"], newest)
        if progress["step"] > self.options.steps:
            raise SegGenError(f"{newest} is past the last step", expected=f"at most {self.options.steps} steps", found=str(progress["step"]),
                              remedy="give more steps, or remove the newer states")
        copy_tensors(self.trained, read_part(newest, "trained"))
        load_optimizer(self.moments, read_part(newest, "optimizer"))
        if self.average:
            self.average.load(read_part(newest, "average"))
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(progress["scaler"])
        self._set_schedule(progress["step"])
        self.loss_average = progress["loss"]
        log.info("%s: going on from step %d (%s)", self.name, progress["step"], newest)
        return progress["step"]

    def _set_schedule(self, step: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the optimizer's own steps were taken before the stop
            for _ in range(step):
                self.schedule.step()

    def _check_options(self, before: dict[str, Any], step: int, state: Path) -> None:
        before = {**DEFAULTS, **before}
        stable = self.options.schedule == "constant" and step <= before.get("steps", step) - before.get("decay_steps", 0)
        free = FREE | ({"steps", "decay_steps"} if stable else set())
        changed = {key: (before.get(key), now) for key, now in self.facts.items() if key not in free and before.get(key) != now}
        if changed:
            rows = "; ".join(f"{key}: {a} then, {b} now" for key, (a, b) in changed.items())
            raise SegGenError(f"the state {state} was made with other options: {rows}", remedy="use the same options, or another output folder")

    def finish(self) -> dict[str, Any]:
        """Put the weights to keep in place; returns the best step and its figures, where a validation chose one."""
        newest = self.best.newest() if self.validation else None
        if newest:
            copy_tensors(self.trained, read_part(newest, "trained"))
        elif self.average:
            self.average.swap()
        if self.options.tracker:
            self.accelerator.end_training()
        best = read_progress(newest) if newest else {}
        return {key: best[key] for key in ("step", "figures") if key in best}


def _for_networks(module: nn.Module, method: str) -> None:
    """Call ``method`` on every network inside ``module`` that has it."""
    for network in module.modules():
        action: Callable[[], None] | None = getattr(network, method, None)
        if action is not None:  # gradients pass through frozen networks as well
            action()

"""What watches a stage of training: the progress bar, the stop signals, the evaluations on the way."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState


class ProgressBar(TrainerCallback):
    """One bar a stage, with the last logged losses."""

    def __init__(self, description: str):
        self.description, self.bar = description, None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc=self.description,
                unit="it",
                file=sys.stderr,
                mininterval=1.0 if sys.stderr.isatty() else 15.0,
            )

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.update(1)

    def show(self, losses: dict[str, float]) -> None:
        """Put losses, by short names, behind the bar."""
        if self.bar is not None:
            self.bar.set_postfix({name: f"{value:.3g}" for name, value in losses.items()}, refresh=False)

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class StopOnSignal(TrainerCallback):
    """Ctrl-C and SIGTERM end the training after the iteration under way, with a checkpoint; a second one at once.

    Used as a context manager around the training; ``stopped`` tells afterwards whether it was cut short.
    """

    def __init__(self) -> None:
        self.stopped, self._previous = False, {}

    def __enter__(self) -> StopOnSignal:
        try:
            self._previous = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: the host keeps its own signals
            self._previous = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        print("\nstopping after this iteration (again: at once, without a checkpoint)", file=sys.stderr)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.stopped and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True


class EvaluateEvery(TrainerCallback):
    """Call ``evaluate(iteration)`` every ``period`` iterations of the stage, and not at its end."""

    def __init__(self, period: int, evaluate: Callable[[int], Any]):
        self.period, self.evaluate = period, evaluate

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.period and state.global_step % self.period == 0 and state.global_step < state.max_steps:
            self.evaluate(state.global_step)

"""One of two processes that train together; started by test_generators_two_processes.py with a launcher's variables."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch

from seggen_d2.foundation.options import build
from seggen_d2.generators.training.fine_tuning import GeneratorOptions, train_generator
from seggen_d2.generators.training.loop import Shuffled, TrainingOptions, start_processes, train


class Line(torch.nn.Module):
    name = "line"
    trainable = property(lambda self: self)

    def __init__(self):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch, generator):
        return (batch["x"] * self.weight + self.bias - 1).square().mean()


class Rows(Shuffled):
    def __init__(self, stop_at: int = -1):
        self.stop_at, self.draws = stop_at, []

    def __len__(self):
        return 8

    def batch(self, numbers, *, draw=0, seed=0):
        self.draws.append(draw)
        if draw == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"x": torch.tensor(numbers, dtype=torch.float32)}


def agree_to_stop(folder: Path) -> dict:
    """Only the process of draw 5 is told to stop; both must, after the same step, and go on to the same weight."""
    options = TrainingOptions(steps=6, batch=1, learning_rate=0.1, ema_decay=0.0, checkpoint_every=100)
    stopped, whole, resumed, rows = Line(), Line(), Line(), Rows(stop_at=5)
    try:
        train(stopped, rows, options, folder / "stopped")
        raise SystemExit("not stopped")
    except KeyboardInterrupt:
        pass
    train(resumed, Rows(), options, folder / "stopped")
    train(whole, Rows(), options, folder / "whole")
    grads = {parameter.grad.untyped_storage().data_ptr() for parameter in whole.parameters()}
    return {"draws": rows.draws, "equal": torch.equal(whole.weight, resumed.weight), "weight": whole.weight.item(), "gradients": len(grads)}


def main(folder: Path) -> None:
    options = build(GeneratorOptions, json.loads((folder / "options.json").read_text()), "options")
    state, report = start_processes(), agree_to_stop(folder)
    train_generator("mask2img", options, folder / "whole-model")
    train_generator("mask2img", replace(options, training=replace(options.training, steps=2)), folder / "resumed-model")
    state.wait_for_everyone()
    if state.is_main_process:
        (folder / "resumed-model" / "model" / "seggen.json").unlink()
    state.wait_for_everyone()
    train_generator("mask2img", options, folder / "resumed-model")
    (folder / f"report-{state.process_index}.json").write_text(json.dumps({**report, "processes": state.num_processes}))
    state.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

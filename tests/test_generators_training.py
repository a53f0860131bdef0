"""The training loop: what a state holds, what a resumed run is, averages, the best weights and the alarm."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import types
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.training import devices, states
from seggen_d2.generators.training.loop import Shuffled, TrainingOptions, Validation, example_numbers, train
from seggen_d2.generators.training.optimizers import Average, load_optimizer, make_optimizer, optimizer_tensors
from seggen_d2.generators.training.states import States, read_part


class Line(torch.nn.Module):
    """Fits ``y = x . w`` to ``y = 0``; a second weight is frozen."""

    name = "line"
    trainable = property(lambda self: self)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(1, 2, 3))
        self.frozen = torch.nn.Parameter(torch.ones(1000), requires_grad=False)

    def forward(self, batch, generator):
        noise = torch.randn(3, generator=generator)
        return (batch["x"] @ (self.weight + 0.01 * noise)).square().mean()


class Rows(Shuffled):
    """Eight rows of three numbers; ``at`` is called with each batch's draw."""

    def __init__(self, at=lambda draw: None):
        self.at = at

    def __len__(self):
        return 8

    def batch(self, numbers, *, draw=0, seed=0):
        self.at(draw)
        return {"x": torch.tensor(numbers, dtype=torch.float32)[:, None] + torch.arange(3.0)}


OPTIONS = TrainingOptions(steps=6, batch=2, learning_rate=0.05, ema_decay=0.9, checkpoint_every=2, log_every=1)


def fitted(folder, options=OPTIONS, **settings) -> torch.Tensor:
    line = Line()
    train(line, Rows(), options, folder, **settings)
    return line.weight.detach().clone()


def test_a_state_holds_what_is_trained_and_nothing_else(tmp_path):
    fitted(tmp_path)
    newest = States(tmp_path / "state", 2).newest()
    assert [path.name for path in sorted((tmp_path / "state").iterdir())] == ["step-00000004", "step-00000006"]  # the last two
    assert load_file(newest / "trained.safetensors").keys() == load_file(newest / "average.safetensors").keys() == {"weight"}
    assert {path.suffix for path in newest.iterdir()} == {".safetensors", ".json"}
    assert sum(path.stat().st_size for path in newest.iterdir()) < 4000  # the frozen weight alone has 4,000 bytes


@pytest.mark.parametrize("changes", [{}, {"schedule": "cosine", "warmup_steps": 2}, {"decay_steps": 3}, {"ema_decay": 0.0}, {"gradient_accumulation": 2},
                                     {"ema_device": "cpu", "ema_every": 2}, {"mixed_precision": "bf16"}])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, changes):
    options = replace(OPTIONS, **changes)
    whole, line = fitted(tmp_path / "whole", options), Line()

    def die(draw):
        if draw == 5:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(line, Rows(die), options, tmp_path / "killed")
    assert torch.equal(fitted(tmp_path / "killed", options), whole)


def test_a_run_that_has_not_begun_to_decay_goes_on_as_a_longer_one(tmp_path):
    long = replace(OPTIONS, steps=10, decay_steps=4)
    fitted(tmp_path / "grown")  # six steps, constant to the end
    assert torch.equal(fitted(tmp_path / "grown", long), fitted(tmp_path / "whole", long))
    rates = [json.loads(line)["learning_rate"] for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert rates[5] == 0.05 and rates[-1] == 0 and rates[5:] == sorted(rates[5:], reverse=True)
    with pytest.raises(SegGenError, match="other options: steps: 10 then, 14 now"):  # its last steps were small ones
        fitted(tmp_path / "grown", replace(long, steps=14))


def test_a_state_from_before_an_option_was_there_goes_on(tmp_path):
    cosine = replace(OPTIONS, schedule="cosine")
    whole = fitted(tmp_path, cosine)
    file = States(tmp_path / "state", 2).newest() / "progress.json"
    progress = json.loads(file.read_text())
    del progress["options"]["decay_steps"]
    file.write_text(json.dumps(progress))
    assert torch.equal(fitted(tmp_path, cosine), whole)


@pytest.mark.parametrize("changes", [{"schedule": "cosine"}, {"warmup_steps": 4}])
def test_a_decay_needs_room_on_a_constant_schedule(changes):
    with pytest.raises(SegGenError, match="decay_steps do not go"):
        replace(OPTIONS, decay_steps=3, **changes)


def test_a_stop_leaves_a_state_of_that_step(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Line(), Rows(lambda draw: os.kill(os.getpid(), signal.SIGTERM) if draw == 2 else None), OPTIONS, tmp_path)
    assert States(tmp_path / "state", 2).newest().name == "step-00000003"
    assert torch.equal(fitted(tmp_path), fitted(tmp_path / "whole"))


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    left = tmp_path / "state" / ".step-00000002.part"
    left.mkdir(parents=True)
    (left / "trained.safetensors").write_bytes(b"half")
    fitted(tmp_path)
    assert not left.exists()


def test_the_state_just_written_stays_though_later_ones_are_there(tmp_path):
    """A run that went on from an earlier step finds better weights before the step of the best so far."""
    best = States(tmp_path, 1)
    for step in (1500, 1100):
        best.write(step, {}, {})
    assert [path.name for path in best.all()] == ["step-00001100"]
    newest = States(tmp_path, 3)
    for step in (1200, 1300, 1400):
        newest.write(step, {}, {})
    assert [path.name for path in newest.all()] == ["step-00001200", "step-00001300", "step-00001400"]


def test_a_gpu_that_is_too_small_is_told():
    with pytest.raises(SegGenError, match=r"this training does not fit the GPU's memory(.|\n)*2.00 GiB(.|\n)*lower training.batch"), \
            devices.training_memory_told():
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")


def test_a_precision_that_the_machine_lacks_is_told(tmp_path, monkeypatch):
    def refuse(**settings):
        raise ValueError("bf16 mixed precision requires a supported device")

    monkeypatch.setattr(devices, "Accelerator", refuse)
    with pytest.raises(SegGenError, match=r"mixed_precision: bf16 does not go with this machine(.|\n)*a supported device"):
        fitted(tmp_path, replace(OPTIONS, mixed_precision="bf16"))


@pytest.mark.parametrize("changes", [{"max_grad_norm": 0.0}, {"weight_decay": -1.0}, {"warmup_steps": -1}])
def test_options_that_would_train_nothing_are_refused(changes):
    with pytest.raises(SegGenError, match=f"{next(iter(changes))} is out of range"):
        replace(OPTIONS, **changes)


def test_a_disk_without_room_keeps_the_earlier_states(tmp_path, monkeypatch):
    fitted(tmp_path, replace(OPTIONS, steps=2))
    monkeypatch.setattr(states.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(10**6))
    with pytest.raises(SegGenError, match=r"cannot be written(.|\n)*no space(.|\n)*1 MB(.|\n)*earlier states are kept"):
        fitted(tmp_path)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-00000002"]


def test_a_cut_state_is_named(tmp_path):
    fitted(tmp_path)
    file = tmp_path / "state" / "step-00000006" / "trained.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(SegGenError, match=r"trained.safetensors cannot be read(.|\n)*remove .*step-00000006"):
        fitted(tmp_path)


def test_a_state_of_other_options_or_weights_is_refused(tmp_path):
    fitted(tmp_path, identity={"base": "a"})
    with pytest.raises(SegGenError, match="base: a then, b now"):
        fitted(tmp_path, identity={"base": "b"})
    with pytest.raises(SegGenError, match="past the last step"):
        fitted(tmp_path, replace(OPTIONS, steps=4), identity={"base": "a"})

    class Other(Line):
        def __init__(self):
            super().__init__()
            self.more = torch.nn.Parameter(torch.ones(1))

    with pytest.raises(SegGenError, match="holds other weights than are trained(.|\n)*more"):
        train(Other(), Rows(), OPTIONS, tmp_path, identity={"base": "a"})


# -- averages and optimizers ---------------------------------------------------------------------------------------


def test_an_average_of_few_steps_is_their_weighted_mean():
    weight = torch.nn.Parameter(torch.zeros(1))
    average = Average({"w": weight}, 0.5)
    for step, value in enumerate((1.0, 2.0, 4.0), 1):
        weight.data.fill_(value)
        average.update(step)
    decays = [0, 2 / 11, 3 / 12]  # while it warms up, below 0.5
    expected = 0.0
    for decay, value in zip(decays, (1.0, 2.0, 4.0)):
        expected = decay * expected + (1 - decay) * value
    assert average.shadow["w"].item() == pytest.approx(expected)


def test_swapping_twice_changes_no_bit():
    weight = torch.nn.Parameter(torch.randn(5))
    average = Average({"w": weight}, 0.9, device="cpu")
    before = weight.detach().clone()
    average.shadow["w"].mul_(1 / 3)
    with average.in_place():
        assert torch.equal(weight, before * (1 / 3))
    assert torch.equal(weight, before)


def test_an_optimizers_tensors_are_the_optimizer():
    weights = [[torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(2, 2))] for _ in range(2)]
    first, second = (make_optimizer("adamw", pair, learning_rate=0.1, weight_decay=0.0) for pair in weights)
    for _ in range(2):
        for weight in weights[0]:
            weight.grad = torch.full_like(weight, 0.5)
        first.step()
    first.state[weights[0][0]]["count"] = 7  # bitsandbytes counts in plain integers
    tensors = optimizer_tensors(first)
    load_optimizer(second, tensors)
    assert second.state[weights[1][0]]["count"] == 7 and isinstance(second.state[weights[1][0]]["count"], int)
    assert all(torch.equal(value, optimizer_tensors(second)[key]) for key, value in tensors.items())


class Wrapping(torch.optim.AdamW):
    """Like bitsandbytes' 8-bit Adam: bytes and one table for all as state, wrapped in a dictionary when they are told."""

    table = torch.linspace(-1, 1, 256)

    def step(self, closure=None):
        for parameter in (p for group in self.param_groups for p in group["params"]):
            self.state[parameter].setdefault("state1", torch.zeros(parameter.shape, dtype=torch.uint8)).add_(3)
            self.state[parameter].update(qmap1=self.table, step=self.state[parameter].get("step", 0) + 1)

    def state_dict(self):
        told = super().state_dict()
        wrapped = {number: {"step": state["step"], "wrapped": {key: state[key] for key in ("state1", "qmap1")}}
                   for number, state in told["state"].items()}
        return {**told, "state": wrapped}


def test_a_state_of_eight_bits_is_written_and_read(tmp_path):
    first, second = (Wrapping([torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(2, 2))]) for _ in range(2))
    first.step()
    first.step()
    state = States(tmp_path, 1).write(2, {"optimizer": optimizer_tensors(first)}, {})
    load_optimizer(second, read_part(state, "optimizer"))
    for ours, theirs in zip(second.state.values(), first.state.values(), strict=True):
        assert ours["step"] == 2 and torch.equal(ours["qmap1"], theirs["qmap1"])
        assert torch.equal(ours["state1"].to(torch.uint8), theirs["state1"]) and int(ours["state1"].sum()) == 24


def test_eight_bit_adam_is_bitsandbytes(monkeypatch):
    parameters = [torch.nn.Parameter(torch.ones(2))]
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(SegGenError, match=r"needs the package bitsandbytes(.|\n)*pip install bitsandbytes"):
        make_optimizer("adamw8bit", parameters, learning_rate=0.1, weight_decay=0.0)
    there, optim = types.ModuleType("bitsandbytes"), types.ModuleType("bitsandbytes.optim")
    optim.AdamW8bit = type("AdamW8bit", (torch.optim.AdamW,), {})
    monkeypatch.setitem(sys.modules, "bitsandbytes", there)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", optim)
    assert type(make_optimizer("adamw8bit", parameters, learning_rate=0.1, weight_decay=0.0)).__name__ == "AdamW8bit"


# -- validation ----------------------------------------------------------------------------------------------------


class Measure:
    """Gives these figures in turn, and keeps the weights that it saw."""

    def __init__(self, *figures):
        self.figures, self.seen, self.line = list(figures), [], None

    def __call__(self):
        self.seen.append(self.line.weight.detach().clone())
        return {"miou": self.figures[len(self.seen) - 1]}


def validated(folder, measure, options=OPTIONS, **settings):
    measure.line = Line()
    facts = train(measure.line, Rows(), options, folder, validation=Validation(measure, 2, **settings))
    return facts, measure.line.weight.detach()


def test_the_best_weights_are_kept_and_taken(tmp_path):
    measure = Measure(1.0, 3.0, 2.0)
    facts, weight = validated(tmp_path, measure)
    assert facts["best"] == {"step": 4, "figures": {"miou": 3.0}} and torch.equal(weight, measure.seen[1])
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["step-00000004"]
    assert [line["miou"] for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if "miou" in line] == [1.0, 3.0, 2.0]


def test_figures_are_those_of_the_averages_and_change_nothing(tmp_path):
    measure = Measure(1.0, 2.0, 3.0)
    validated(tmp_path / "a", measure)
    plain = fitted(tmp_path / "b")
    assert torch.equal(measure.seen[2], plain)


def test_smallest_can_be_best_and_a_figure_must_be_there(tmp_path):
    facts, _ = validated(tmp_path / "a", Measure(3.0, 1.0, 2.0), best=("miou", "min"))
    assert facts["best"]["step"] == 4
    with pytest.raises(SegGenError, match="measures no unsure"):
        validated(tmp_path / "b", Measure(1.0), best=("unsure", "min"))


def test_a_figure_that_is_no_number_is_never_better(tmp_path):
    facts, _ = validated(tmp_path, Measure(math.nan, 1.0, math.nan))
    assert facts["best"] == {"step": 4, "figures": {"miou": 1.0}}


def test_the_best_survives_a_stop(tmp_path):
    stopping, measure = Rows(lambda draw: os.kill(os.getpid(), signal.SIGTERM) if draw == 4 else None), Measure(5.0, 1.0)
    measure.line = Line()
    with pytest.raises(KeyboardInterrupt):
        train(measure.line, stopping, OPTIONS, tmp_path, validation=Validation(measure, 2))
    facts, weight = validated(tmp_path, Measure(3.0))
    assert facts["best"] == {"step": 2, "figures": {"miou": 5.0}} and torch.equal(weight, measure.seen[0])


def test_an_alarm_is_loud(tmp_path, caplog):
    def alarm(step, figures):
        return "the condition is still ignored" if step >= 4 and figures["miou"] < 5 else ""

    with caplog.at_level(logging.WARNING):
        validated(tmp_path, Measure(1.0, 2.0, 9.0), alarm=alarm)
    told = [record for record in caplog.records if "the condition is still ignored" in record.getMessage()]
    assert len(told) == 1 and "ALARM at step 4" in told[0].getMessage()
    assert sum("alarm" in json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()) == 1


# -- batches -------------------------------------------------------------------------------------------------------


def test_gradient_accumulation_sums_batches(tmp_path):
    class Square(Line):
        def forward(self, batch, generator):
            return (batch["x"] @ self.weight).square().mean()

    weights = []
    for accumulation, batch in ((1, 4), (2, 2)):
        line = Square()
        train(line, Rows(), replace(OPTIONS, steps=3, batch=batch, gradient_accumulation=accumulation, ema_decay=0.0), tmp_path / str(accumulation))
        weights.append(line.weight.detach())
    assert torch.allclose(*weights, rtol=1e-5)


def test_each_epoch_shows_each_example_once():
    seen = np.concatenate([example_numbers(6, 4, draw, seed=3) for draw in range(3)])
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    class Broken(Line):
        def forward(self, batch, generator):
            return self.weight.sum() * float("nan")

    with pytest.raises(SegGenError, match="the loss of line is nan"):
        train(Broken(), Rows(), OPTIONS, tmp_path)


def test_a_tracker_gets_the_losses(tmp_path):
    fitted(tmp_path, replace(OPTIONS, tracker="tensorboard"))
    assert list(tmp_path.rglob("events.out.tfevents.*"))
    assert read_part(States(tmp_path / "state", 2).newest(), "trained")


def test_a_tracker_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SegGenError, match="training.tracker: wandb needs the package wandb"):
        fitted(tmp_path, replace(OPTIONS, tracker="wandb"))

"""What a training will take: parameters, memory, disk and time, from a few steps really run in a folder that is removed."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.measure import peak_rss_mb
from seggen_d2.foundation.table import labelled

from ..examples.labelled import LabelledExamples
from .devices import start_processes, training_memory_told
from .generator_options import GeneratorOptions
from .optimizers import optimizer_tensors, tensor_bytes
from .run import Run
from .work import Work

STEPS = 3
HALF_BYTES = 2  # a model is saved in float16


@dataclass(frozen=True)
class Needs:
    """What a training takes; bytes and seconds.

    Attributes:
        trained, parameters: counts of weights.
        weights, gradients, moments, average: memory on the device; the average's may be the CPU's.
        average_on: where the average lies.
        activations: what a batch keeps for its backward pass, measured.
        peak: largest memory in use while it ran: of the GPU, or of this process.
        cache, state, model: disk; ``states`` of them are there at once.
        best: disk; of the weights that a validation keeps, and of better ones written beside them.
        encoding: seconds for the cache, from those that a few pictures took.
        step: seconds an optimizer step, the median; updates of the averages on the mean.
        data: seconds of each step that the reading of its batch took.
    """

    trained: int
    parameters: int
    weights: int
    gradients: int
    moments: int
    average: int
    average_on: str
    activations: int
    peak: int
    cache: int
    state: int
    states: int
    best: int
    model: int
    encoding: float
    step: float
    data: float
    examples: int
    steps: int


@training_memory_told()
def dry_run(kind: str, options: GeneratorOptions) -> Needs:
    """Make a cache of a few pictures, take three optimizer steps, and tell what the whole will take; nothing is kept.

    Raises:
        SegGenError: bad input, a training that does not fit the device, or several processes; the message names it.
    """
    if (processes := start_processes().num_processes) > 1:
        raise SegGenError("a dry run is one process's", expected="the command without a launcher", found=f"{processes} processes",
                          remedy="take `accelerate launch` away: the figures are those of each GPU, whose batch is training.batch")
    work = Work(kind, options)
    with tempfile.TemporaryDirectory(prefix="seggen-dry-run-") as folder:
        count = min(len(work.source.records()), options.training.batch * 2)
        small = replace(options.cache, folder="")
        work.options = replace(options, cache=small)
        began = time.monotonic()
        examples = work.examples(Path(folder) / "cache", limit=count)
        encoding = time.monotonic() - began
        work.options = options
        cache = sum(path.stat().st_size for path in (Path(folder) / "cache").rglob("*") if path.is_file())
        work.clear_for_training()
        return _measure(work, examples, Path(folder) / "training", cache / count, encoding / count)


def _measure(work: Work, examples: LabelledExamples, folder: Path, cache: float, encoding: float) -> Needs:
    options, objective = work.options.training, work.objective
    run = Run(objective, replace(options, tracker=""), folder, {}, len(examples))
    cuda = run.accelerator.device.type == "cuda"
    activations = _activations(run, examples)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    step, data = _timed(run, examples)
    trained = tensor_bytes(run.trained.values())
    moments = tensor_bytes(optimizer_tensors(run.moments).values())
    average = tensor_bytes(run.average.shadow.values()) if run.average else 0
    records = len(work.source.records())
    return Needs(
        trained=sum(p.numel() for p in run.trained.values()), parameters=sum(p.numel() for p in objective.parameters()),
        weights=tensor_bytes(objective.parameters()), gradients=trained, moments=moments, average=average,
        average_on=str(options.ema_device or run.accelerator.device), activations=activations,
        peak=torch.cuda.max_memory_allocated() if cuda else round(peak_rss_mb() * 2**20),
        cache=round(cache * records), state=trained + moments + average, states=options.keep + 1,
        best=2 * trained if work.options.validation.every else 0, model=_model_bytes(work),
        encoding=encoding * records, step=step + averaging(run), data=data,
        examples=round(len(examples) / min(records, options.batch * 2) * records), steps=options.steps)


def _timed(run: Run, examples: LabelledExamples) -> tuple[float, float]:
    """Seconds that a step takes, and that reading its batches takes: medians of a few steps."""
    options, steps, data = run.options, [], []
    for step in range(STEPS):
        began = time.monotonic()
        for part in range(options.gradient_accumulation):
            examples.batch(examples.numbers(part, options.batch, options.seed))
        data.append(time.monotonic() - began)
        began = time.monotonic()
        run.step(step, examples)
        if run.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        steps.append(time.monotonic() - began)
    return statistics.median(steps), statistics.median(data)


def averaging(run: Run) -> float:
    """Seconds a step, on the mean, of averages so seldom updated that a few steps do not show it."""
    every = run.options.ema_every
    if run.average is None or every <= STEPS:
        return 0.0
    began = time.monotonic()
    run.average.update(every)
    return (time.monotonic() - began) / every


def _activations(run: Run, examples: LabelledExamples) -> int:
    """Bytes that one forward pass of a batch keeps for the backward pass, each storage counted once, weights left out."""
    options = run.options
    batch = {name: value.to(run.accelerator.device) for name, value in examples.batch(examples.numbers(0, options.batch, options.seed)).items()}
    known = {p.untyped_storage().data_ptr() for p in run.module.parameters()}
    with _kept(known) as kept, run.accelerator.autocast():
        run.model(batch, torch.Generator().manual_seed(0))
    return sum(kept.values())


@contextmanager
def _kept(known: set[int]) -> Iterator[dict[int, int]]:
    """``{storage: bytes}`` of what autograd saves within the block, but for ``known``."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def _model_bytes(work: Work) -> int:
    parts = [part for part in work.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    parts += [work.objective.controlnet] if work.kind == "mask2img" else []
    return HALF_BYTES * sum(p.numel() for part in parts for p in part.parameters())


def needs_text(needs: Needs, name: str) -> str:
    """The needs as lines of text."""
    memory = needs.weights + needs.gradients + needs.moments + needs.activations + (needs.average if needs.average_on != "cpu" else 0)
    hours = (needs.encoding + needs.step * needs.steps) / 3600
    return labelled([
        ("parameters", f"{name}: {needs.trained / 1e6:.1f} million trained of {needs.parameters / 1e6:.1f} million; {needs.examples} examples"),
        ("memory", f"{_size(memory)}: weights {_size(needs.weights)}, gradients {_size(needs.gradients)}, optimizer {_size(needs.moments)}, "
                   f"averages {_size(needs.average)} ({needs.average_on}), activations of a batch {_size(needs.activations)}; "
                   f"peak while it ran {_size(needs.peak)}"),
        ("disk", f"cache {_size(needs.cache)}, {needs.states} states of {_size(needs.state)}, best weights {_size(needs.best)}, "
                 f"model {_size(needs.model)}: {_size(needs.cache + needs.states * needs.state + needs.best + needs.model)}"),
        ("time", f"{needs.step:.2f} s a step, of which {needs.data:.2f} s reading; cache {needs.encoding / 60:.1f} minutes, then "
                 f"{needs.steps} steps {needs.step * needs.steps / 60:.1f} minutes: {hours:.2f} hours on this machine"
                 + (", validations on top" if needs.best else "")),
        ("kept", f"nothing; figures are from {STEPS} steps really run"),
    ])


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"

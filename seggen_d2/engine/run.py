"""A run from first to last: stages, checkpoints, stops, the final evaluation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from seggen_d2.bank import Bank
from seggen_d2.mixing import NumberedSampler, Schedule, Stage
from seggen_d2.modeling import Mask2Former, Outputs
from seggen_d2.modeling.finished import FINALS
from seggen_d2.sources.dataset_file import Source

from .callbacks import EvaluateEvery, ProgressBar, StopOnSignal
from .checkpoint import iteration_of, last_checkpoint, load_network, save_network
from .inference import evaluate
from .loader import train_loader
from .log import JsonLines
from .multi_scale import NAME_ENDS, MultiScale
from .run_folder import write_training
from .trainer import SegmentationTrainer, SolverOptions

FINAL = FINALS["transformers"]


class Stopped(Exception):
    """A signal ended the training; a checkpoint was written."""


@dataclass
class Experiment:
    """What a run needs, as plain objects.

    Attributes:
        model: with the weights that stage 0 starts from, unless ``weights`` names others.
        records: real training records. mapper_at: from p_aug, a number or a schedule, to the mapper of a stage.
        stages: in order. options: of every stage's optimisation.
        tests: datasets to evaluate; the first one's metrics are the run's.
        test_mapper: for their images. test_batch: images at once.
        folder: everything written goes here. banks: opened, for the plan.
        weights: a checkpoint folder, or "".
        predictions: folder for the test sets' predicted label maps.
        multi_scale: the model tested at several sizes, in the end and beside the model as it is; None leaves that out.
    """

    model: Mask2Former
    records: list[dict[str, Any]]
    mapper_at: Callable[[float | Schedule], Callable[..., dict[str, Any]]]
    stages: Sequence[Stage]
    options: SolverOptions
    tests: list[Source]
    test_mapper: Callable[..., dict[str, Any]]
    test_batch: int
    folder: Path
    banks: Sequence[Bank] = ()
    weights: str = ""
    predictions: Path | None = None
    multi_scale: MultiScale | None = None


def position(folder: Path, stages: Sequence[Stage]) -> tuple[int, Path | None]:
    """The stage to go on with, and the checkpoint to go on from (None: that stage's beginning)."""
    for number in range(len(stages) - 1, -1, -1):
        checkpoint = last_checkpoint(folder / f"stage-{number}")
        if checkpoint is not None:
            return number, checkpoint
    return 0, None


def train(run: Experiment) -> float:
    """Train all stages from where the folder's checkpoints end, and write ``model_final``.

    Returns:
        Seconds of training in this process.

    Raises:
        Stopped: Ctrl-C or SIGTERM; the same command goes on.
    """
    began = time.perf_counter()
    first, checkpoint = position(run.folder, run.stages)
    if checkpoint is None and run.weights:
        load_network(run.model, run.weights)
    for number in range(first, len(run.stages)):
        checkpoint = checkpoint if number == first else None
        if checkpoint is not None and iteration_of(checkpoint) >= run.stages[number].iterations:
            load_network(run.model, checkpoint)
            continue
        if checkpoint is None and run.stages[number].start_weights:
            load_network(run.model, run.stages[number].start_weights)
        train_stage(run, number, checkpoint)
    if rank_and_size()[0] == 0:
        save_network(run.model, run.folder / FINAL)
    return time.perf_counter() - began


def train_stage(run: Experiment, number: int, checkpoint: Path | None) -> None:
    """Train one stage; samples are numbered on from those of the stages before."""
    stage, options = run.stages[number], run.options
    done = sum(earlier.iterations for earlier in run.stages[:number])
    past = iteration_of(checkpoint) if checkpoint else 0
    set_seed(options.seed + number)
    rank, ranks = rank_and_size()
    sampler = NumberedSampler(
        len(run.records),
        seed=options.seed,
        start_number=(done + past) * options.batch_size,
        rank=rank,
        world_size=ranks,
    )
    loader = train_loader(
        run.records,
        run.mapper_at(stage.course.at(done * options.batch_size, stage.iterations * options.batch_size)),
        sampler,
        workers=options.workers,
        batch_size=options.batch_size // (options.accumulate * ranks),
    )
    lines = JsonLines(run.folder / "metrics.json", keep_before=done + past if rank == 0 else None)
    bar = ProgressBar(f"stage {number + 1}/{len(run.stages)}, p_aug {stage.course}")

    def on_log(entry: dict[str, Any]) -> None:
        bar.show({origin: entry[f"loss_{origin}"] for origin in ("real", "synthetic") if f"loss_{origin}" in entry})
        lines({"stage": number, **entry, "iteration": done + entry["iteration"]})

    def on_evaluation(iteration: int) -> None:
        found = evaluate_run(run)[0]
        lines({"stage": number, "iteration": done + iteration, found["metric"]: found["value"]})

    with StopOnSignal() as stop:
        trainer = SegmentationTrainer(
            run.model,
            loader,
            folder=run.folder / f"stage-{number}",
            base_lr=stage.base_lr,
            iterations=stage.iterations,
            options=options,
            on_log=on_log,
            callbacks=[bar, stop, EvaluateEvery(options.eval_period, on_evaluation)],
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.stopped and trainer.state.global_step < stage.iterations:
        raise Stopped(
            f"stopped at iteration {done + trainer.state.global_step}; the same command goes on from there "
            f"(checkpoint {run.folder / f'stage-{number}' / f'checkpoint-{trainer.state.global_step}'})"
        )


def evaluate_run(run: Experiment, predictions: Path | None = None, *, multi_scale: bool = False) -> list[dict[str, Any]]:
    """The metrics of every test set, the first first; predictions go to ``predictions/DATASET``, or with ``multi_scale`` ``DATASET_TTA``."""
    model, outputs, end = (run.multi_scale, Outputs(), NAME_ENDS) if multi_scale else (run.model, run.model.outputs, "")
    return [
        evaluate(
            model,
            test,
            run.test_mapper,
            outputs=outputs,
            batch_size=run.test_batch,
            predictions=predictions / f"{test.name}{end}" if predictions else None,
        )
        for test in run.tests
    ]


def results_of(run: Experiment) -> dict[str, Any]:
    """The figures of the first test set, those of the ``others`` and, where it is asked for, the same of ``multi_scale``; predictions are saved."""
    first, *others = evaluate_run(run, run.predictions)
    found = {**first, "others": others}
    if run.multi_scale is not None:
        first, *others = evaluate_run(run, run.predictions, multi_scale=True)
        found["multi_scale"] = {**first, "others": others}
    return found


def finish(run: Experiment, seconds: float, *, trained: bool = True) -> dict[str, Any]:
    """Evaluate, by one process of several, and write ``metrics_final.json``; arguments as of :func:`write_training`."""
    iterations = sum(stage.iterations for stage in run.stages)
    return write_training(run.folder, results_of(run), iterations=iterations, seconds=seconds, trained=trained)


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are (torchrun's variables)."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

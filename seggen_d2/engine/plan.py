"""What a run would do, in a few lines: ``--dry-run``."""

from __future__ import annotations

from pathlib import Path

from seggen_d2.foundation.table import labelled

from .checkpoint import check_weights, iteration_of
from .multi_scale import passes
from .run import Experiment, position


def plan(run: Experiment) -> str:
    """Model, data, stages, output and where it begins, a line each.

    Raises:
        SegGenError: there are no weights where the config names some.
    """
    _check_origins(run)
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    kind, categories = run.model.backbone.config.model_type, len(run.tests[0].categories)
    megabytes = (
        parameters * 12 / 2**20 * run.options.checkpoints_kept * len(run.stages)
    )  # float32 weights and AdamW's two moments
    rows = [("model", f"Mask2Former on a {kind}, {parameters / 1e6:.2f} M parameters, {categories} categories")]
    rows += [("training", f"{len(run.records)} real samples")]
    rows += [("bank", f"{bank.root}: {len(bank)} synthetic samples") for bank in run.banks]
    rows += [(f"stage {number + 1}", _stage(run, number)) for number in range(len(run.stages))]
    rows += [("test", f"{test.name}: {len(test.records())} images") for test in run.tests]
    rows += [("multi-scale", passes(run.multi_scale.sizes, run.multi_scale.flip))] if run.multi_scale else []
    rows += [("output", f"{run.folder}, about {megabytes:.0f} MB of checkpoints"), ("begins", _beginning(run))]
    return labelled(rows)


def _check_origins(run: Experiment) -> None:
    """The weights that are still to be read, but for those that an earlier stage is to write."""
    number, checkpoint = position(run.folder, run.stages)
    later = run.stages if checkpoint is None else run.stages[number + 1 :]
    for weights in (run.weights if checkpoint is None else "", *(stage.start_weights for stage in later)):
        if weights and (weights == run.weights or run.folder not in Path(weights).parents):
            check_weights(weights)


def _stage(run: Experiment, number: int) -> str:
    stage = run.stages[number]
    origin = f", from {stage.start_weights}" if stage.start_weights else ""
    return (
        f"{stage.iterations} iterations of {run.options.batch_size} images, p_aug {stage.course}, "
        f"learning rate {stage.base_lr:g}{origin}"
    )


def _beginning(run: Experiment) -> str:
    number, checkpoint = position(run.folder, run.stages)
    if checkpoint is None:
        return "at the beginning"
    return f"at stage {number + 1}, iteration {iteration_of(checkpoint)} ({checkpoint})"

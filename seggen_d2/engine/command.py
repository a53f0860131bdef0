"""What ``tools/train_net.py`` does once its arguments are parsed."""

from __future__ import annotations

import logging

import torch
import yaml
from fvcore.common.config import CfgNode

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes, read_json
from seggen_d2.modeling.backbone_weights import whole_model

from .checkpoint import iteration_of, load_network
from .config import differences, save_config, to_dict
from .from_config import experiment
from .plan import plan
from .run import FINAL, Experiment, Stopped, finish, position, rank_and_size, results_of, train
from .run_folder import METRICS, tell, write_evaluation

__all__ = ["Stopped", "train_net"]

logger = logging.getLogger(__name__)
SAVED = "config.yaml"


def train_net(cfg: CfgNode, *, resume: bool = False, eval_only: bool = False, dry_run: bool = False) -> None:
    """Train (or go on), evaluate and write the metrics, as one config describes.

    A folder with a run of the same config goes on by itself, and a finished one says so. ``resume`` goes on although
    keys differ.

    Raises:
        SegGenError: anything that the config, its data or the output folder got wrong.
        Stopped: a signal ended the training, with a checkpoint.
    """
    run = experiment(cfg, training=not eval_only)
    is_first = rank_and_size()[0] == 0  # the others' batch norms have seen other images
    if eval_only and not is_first:
        return
    if eval_only:
        load_network(run.model, whole_model(cfg.MODEL.WEIGHTS) or run.folder / FINAL)
        run.model.to(cfg.MODEL.DEVICE or ("cuda" if torch.cuda.is_available() else "cpu"))
        if write_evaluation(run.folder, results_of(run)):
            save_config(cfg, run.folder / SAVED)
        return
    if dry_run:
        print(plan(run))
        return
    check_folder(cfg, run, resume)
    over = (run.folder / FINAL).exists() and _is_over(run)
    if over and _is_measured(run):
        print(f"{run.folder} holds this run, finished")
        tell(read_json(run.folder / METRICS))
        return
    save_config(cfg, run.folder / SAVED)
    seconds = train(run)
    if is_first:
        tell(finish(run, seconds, trained=not over))


def check_folder(cfg: CfgNode, run: Experiment, resume: bool) -> None:
    """An output folder holds one run.

    Raises:
        SegGenError: it holds checkpoints of another config, and ``resume`` was not asked for.
    """
    saved = run.folder / SAVED
    if position(run.folder, run.stages)[1] is None or not saved.exists():
        return
    changed = differences(to_dict(cfg), yaml.safe_load(read_bytes(saved)))
    if changed and not resume:
        raise SegGenError(
            f"{run.folder} holds checkpoints of another config",
            expected="a folder of its own for each run",
            found="; ".join(changed[:8]),
            remedy="choose another OUTPUT_DIR, or add --resume to go on from them with this config",
        )
    if changed:
        logger.warning("going on with another config: %s", "; ".join(changed))


def _is_measured(run: Experiment) -> bool:
    """Whether the folder tells all figures that are asked for, and holds the predictions."""
    metrics = run.folder / METRICS
    if run.predictions and not all((run.predictions / test.name).is_dir() for test in run.tests):
        return False
    return metrics.exists() and (run.multi_scale is None or "multi_scale" in read_json(metrics))


def _is_over(run: Experiment) -> bool:
    number, checkpoint = position(run.folder, run.stages)
    return (
        checkpoint is not None
        and number == len(run.stages) - 1
        and iteration_of(checkpoint) >= run.stages[number].iterations
    )


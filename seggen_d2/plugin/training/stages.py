"""``SEGGEN.STAGES`` on Detectron2: each stage is a training of its own, in a folder of its own."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from seggen_d2.engine.run_folder import METRICS, tell, write_training
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside
from seggen_d2.mixing import Stage, stages_from
from seggen_d2.modeling.finished import FINALS, final_model

from ..probability import course_of
from .ema import EMA_FINAL
from .evaluators import check_tests
from .results import run_metrics
from .trainer import Stopped, Trainer

FINAL, PREDICTIONS = FINALS["detectron2"], "predictions"
LAST = "last_checkpoint"  # fvcore's file that names a folder's newest checkpoint
logger = logging.getLogger(__name__)


def stages_of(cfg: Any) -> tuple[Stage, ...]:
    """``SEGGEN.STAGES``, or the one stage that ``P_AUG``, ``MAX_ITER`` and ``BASE_LR`` describe.

    Raises:
        SegGenError: a stage is none, or names a ``P_AUG`` above 0 where there is no bank.
    """
    solver, given = cfg.SOLVER, cfg.SEGGEN.STAGES
    p_aug = {"p_aug": cfg.SEGGEN.P_AUG, "p_aug_schedule": cfg.SEGGEN.P_AUG_SCHEDULE, "p_aug_end": cfg.SEGGEN.P_AUG_END}
    stages = stages_from(given, **p_aug, iterations=solver.MAX_ITER, base_lr=solver.BASE_LR)
    if given and not cfg.SEGGEN.BANKS and any(stage.course.peak > 0 for stage in stages):
        raise SegGenError(
            "SEGGEN.STAGES: P_AUG is above 0 and there is no bank to swap from",
            expected="banks in SEGGEN.BANKS",
            found="SEGGEN.BANKS: []",
            remedy="name a bank, or set P_AUG to 0",
        )
    return stages


def stage_configs(cfg: Any) -> list[Any]:
    """A config for each stage: its length, learning rate, ``P_AUG`` with its schedule, weights and folder.

    ``SOLVER.STEPS`` given in iterations of ``SOLVER.MAX_ITER`` keep their share of a stage; given as shares, below 1,
    they become iterations. One stage is written to ``OUTPUT_DIR`` itself, several to ``OUTPUT_DIR/stage-N``.
    """
    stages, found = stages_of(cfg), []
    for number, stage in enumerate(stages):
        part = cfg.clone()
        part.defrost()
        part.SOLVER.STEPS = _steps(cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER, stage.iterations)
        part.SOLVER.MAX_ITER, part.SOLVER.BASE_LR = stage.iterations, stage.base_lr
        part.SEGGEN.P_AUG, part.SEGGEN.STAGES = stage.p_aug, []
        part.SEGGEN.P_AUG_SCHEDULE, part.SEGGEN.P_AUG_END = stage.p_aug_schedule, stage.p_aug_end
        if len(stages) > 1:
            part.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR) / f"stage-{number}")
        before = str(Path(found[-1].OUTPUT_DIR) / FINAL) if found else cfg.MODEL.WEIGHTS
        part.MODEL.WEIGHTS = final_model(stage.start_weights or before, "detectron2")
        part.TEST.SAVE_PREDICTIONS = cfg.TEST.SAVE_PREDICTIONS and number == len(stages) - 1
        part.freeze()
        found.append(part)
    return found


def _steps(steps: Sequence[float], whole: int, iterations: int) -> tuple[int, ...]:
    """Milestones in iterations of a stage, ``whole`` being what steps above 1 are iterations of."""
    return tuple(round((step if step < 1 else step / whole) * iterations) for step in steps)


def position(configs: Sequence[Any]) -> int:
    """The stage that a resumed run goes on with: the last one with a checkpoint, else the first."""
    begun = [number for number, part in enumerate(configs) if (Path(part.OUTPUT_DIR) / LAST).exists()]
    return max(begun, default=0)


def train_stages(cfg: Any, *, resume: bool = False) -> dict[str, Any]:
    """Train all stages, and write ``model_final.pth`` and ``metrics_final.json`` to ``OUTPUT_DIR``.

    Args:
        cfg: with ``SEGGEN.STAGES``.
        resume: go on from the last checkpoint of the last stage begun; a finished run is evaluated again.

    Returns:
        The results of the last evaluation; an empty mapping in all processes but the first.

    Raises:
        Stopped: a signal ended the training.
        SegGenError: data, banks or weights that do not fit, or the folder of another run.
    """
    configs, began, results, trained = stage_configs(cfg), time.perf_counter(), {}, False
    check_tests(cfg)
    check_folder(cfg.OUTPUT_DIR, resume=resume)
    first = position(configs) if resume else 0
    for number, part in enumerate(configs[first:], first):
        before = sum(earlier.SOLVER.MAX_ITER for earlier in configs[:number])
        trainer = Trainer(part, iterations_before=before)
        trainer.resume_or_load(resume=resume and number == first)
        logger.info(
            "stage %d of %d: iterations %d to %d, p_aug %s, learning rate %g, from %s",
            *(number + 1, len(configs), trainer.start_iter, trainer.max_iter, course_of(part.SEGGEN), part.SOLVER.BASE_LR),
            "its checkpoint" if trainer.start_iter else part.MODEL.WEIGHTS or "random weights",
        )
        results, trained = trainer.train(), trained or trainer.start_iter < trainer.max_iter
        comm.synchronize()  # the next stage begins from what the first process writes
        if number + 1 < len(configs) and trainer.stop_asked():
            raise Stopped(f"stopped after stage {number + 1} of {len(configs)}; the same command with --resume goes on")
    seconds, several = time.perf_counter() - began, trainer.evaluate_multi_scale()
    if comm.is_main_process():
        _collect(Path(cfg.OUTPUT_DIR), Path(configs[-1].OUTPUT_DIR))
        iterations = sum(part.SOLVER.MAX_ITER for part in configs)
        tell(write_training(cfg.OUTPUT_DIR, run_metrics(cfg, results, several), iterations=iterations, seconds=seconds, trained=trained))
    return results


def check_folder(folder: str | os.PathLike, *, resume: bool) -> None:
    """An output folder holds one run, which only ``resume`` goes on with.

    Raises:
        SegGenError: it holds checkpoints or results, and ``resume`` is not set or finds nothing to go on from.
    """
    parts = (Path(folder), *Path(folder).glob("stage-*"))
    goes_on = resume and any((part / LAST).exists() for part in parts)
    found = None if goes_on else written(Path(folder))
    if found is not None:
        raise SegGenError(
            f"{folder} holds a run already",
            expected=f"a folder of its own for each run; with --resume one with the file {LAST}",
            found=str(found),
            remedy="add --resume to go on from its last checkpoint (a finished run is evaluated again), "
            "or choose another OUTPUT_DIR",
        )


def written(folder: Path) -> Path | None:
    """The newest checkpoint that a run left in ``folder`` or its stages, else its results; None without either."""
    parts = (folder, *folder.glob("stage-*"))
    checkpoints = [path for part in parts for path in part.glob("model_*.pth")]
    results = [path for path in (folder / METRICS,) if path.exists()]
    return max(checkpoints or results, key=lambda path: path.stat().st_mtime, default=None)


def _collect(folder: Path, last: Path) -> None:
    """The last stage's weights and predictions are the run's."""
    if folder == last:
        return
    for name in (FINAL, EMA_FINAL):
        if (last / name).exists():
            with write_aside(folder / name) as aside:
                shutil.copyfile(last / name, aside)
    if (last / PREDICTIONS).exists():
        shutil.rmtree(folder / PREDICTIONS, ignore_errors=True)
        (last / PREDICTIONS).rename(folder / PREDICTIONS)

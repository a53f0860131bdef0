"""The trainer: Detectron2's ``DefaultTrainer`` with this package's loader, optimiser, steps and hooks."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, hooks
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.stopping import stop_noted

from ..model.checkpoint import SafeCheckpointer
from ..randomness import seed_all, seed_of
from ..swap import SegGenHook
from .ema import AverageHook
from .evaluators import build_evaluator
from .loader import build_test_loader, build_train_loader
from .multi_scale import multi_scale
from .optimizer import build_lr_scheduler, build_optimizer, clip_norm
from .step import StepTrainer

logger = logging.getLogger(__name__)


class Stopped(KeyboardInterrupt):
    """A signal ended the training; a checkpoint was written."""


class Trainer(DefaultTrainer):
    """Trains one stage as a config says; on GPUs or CPUs, in one process or several.

    Args:
        cfg: with this package's keys; ``SOLVER.MAX_ITER``, ``SOLVER.BASE_LR`` and ``SEGGEN.P_AUG`` are the stage's.
        iterations_before: those of earlier stages; sample numbers go on from them.

    Raises:
        SegGenError: data, banks or sizes that do not fit.
    """

    def __init__(self, cfg: Any, iterations_before: int = 0):
        TrainerBase.__init__(self)
        self.cfg = cfg
        self.iterations_before, self.stop = iterations_before, threading.Event()
        seed_all("weights", seed_of(cfg), iterations_before)  # the same in each process
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        self._trainer = StepTrainer(
            distributed(model),
            self.build_train_loader(cfg, iterations_before * cfg.SOLVER.IMS_PER_BATCH),
            optimizer,
            parts=cfg.SOLVER.ACCUMULATE,
            precision=cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else "",
            clip_norm=clip_norm(cfg),
            seed=seed_of(cfg),
            iterations_before=iterations_before,
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = SafeCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.start_iter, self.max_iter = 0, cfg.SOLVER.MAX_ITER
        self._last_eval_results: dict[str, Any] = {}
        self.average = AverageHook(model, cfg.SEGGEN.EMA, cfg.OUTPUT_DIR) if cfg.SEGGEN.EMA else None
        self.register_hooks(self.build_hooks())

    def train(self) -> dict[str, Any]:
        """Train from where the checkpoint ended, then evaluate.

        Returns:
            The last evaluation's results; in all processes but the first an empty mapping.

        Raises:
            Stopped: Ctrl-C or SIGTERM.
            SegGenError: a loss is not finite.
        """
        self.data_loader.sampler.start_number = (
            self.iterations_before + self.start_iter
        ) * self.cfg.SOLVER.IMS_PER_BATCH
        try:
            with stop_noted() as self.stop:
                super().train()
        except FloatingPointError as error:
            raise SegGenError(
                f"the training loss is not finite at iteration {self.iter}",
                found=str(error).splitlines()[-1],
                remedy="lower SOLVER.BASE_LR, or turn SOLVER.AMP off; the last checkpoint is kept",
            ) from error
        return self._last_eval_results

    def stop_asked(self) -> bool:
        """Whether a signal came since the training began, to any of the processes; all must ask."""
        asked = self.stop.is_set()
        return any(comm.all_gather(asked)) if comm.get_world_size() > 1 else asked

    def build_hooks(self) -> list[HookBase]:
        """Timing, learning rate, average, losses by origin, checkpoints, evaluation, stop, writers; in that order."""
        first, solver = comm.is_main_process(), self.cfg.SOLVER
        found = [hooks.IterationTimer(), LRScheduler(), self.average, SegGenHook(self.cfg)]
        if first:
            found += [
                hooks.PeriodicCheckpointer(
                    self.checkpointer, solver.CHECKPOINT_PERIOD, max_to_keep=solver.CHECKPOINTS_KEPT
                )
            ]
        found += [hooks.EvalHook(self.cfg.TEST.EVAL_PERIOD, self.evaluate), StopHook()]
        if first:
            found += [hooks.PeriodicWriter(self.build_writers(), period=solver.LOG_PERIOD)]
        return list(filter(None, found))

    def evaluate(self) -> dict[str, Any]:
        """Results on ``DATASETS.TEST``; those of the averaged weights under names that end in ``_ema``."""
        self._last_eval_results = self._of_all_weights(self.test)
        return self._last_eval_results

    def evaluate_multi_scale(self) -> dict[str, Any]:
        """Likewise, at the sizes of ``TEST.AUG``; empty where that is off."""
        return self._of_all_weights(self.test_multi_scale)

    def _of_all_weights(self, test: Callable[[Any, nn.Module], dict[str, Any]]) -> dict[str, Any]:
        results = test(self.cfg, self.model)
        if self.average is not None:
            with self.average.average.applied():
                averaged = test(_unsaved(self.cfg), self.model)
            results = {**results, **{f"{name}_ema": values for name, values in averaged.items()}}
        return results if comm.is_main_process() else {}

    @classmethod
    def test_multi_scale(cls, cfg: Any, model: nn.Module) -> dict[str, Any]:
        """``test`` of scores averaged over ``TEST.AUG``; empty where that is off."""
        return cls.test(cfg, *multi_scale(cfg, model)) if cfg.TEST.AUG.ENABLED else {}

    @classmethod
    def build_train_loader(cls, cfg: Any, first_number: int = 0) -> Any:
        return build_train_loader(cfg, first_number=first_number)

    @classmethod
    def build_test_loader(cls, cfg: Any, dataset_name: str) -> Any:
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: Any, dataset_name: str) -> Any:
        return build_evaluator(cfg, dataset_name)

    @classmethod
    def build_optimizer(cls, cfg: Any, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: Any, optimizer: torch.optim.Optimizer) -> Any:
        return build_lr_scheduler(cfg, optimizer)


def _unsaved(cfg: Any) -> Any:
    """A config by which no predictions are written."""
    found = cfg.clone()
    found.defrost()
    found.TEST.SAVE_PREDICTIONS = False
    found.freeze()
    return found


def distributed(model: nn.Module) -> nn.Module:
    """``model`` itself in one process, else wrapped; on CPUs no device is named, as gloo has none."""
    if comm.get_world_size() == 1:
        return model
    devices = [comm.get_local_rank()] if next(model.parameters()).device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


class LRScheduler(hooks.LRScheduler):
    """Detectron2's, which of a checkpoint takes the place in the schedule, and of the config the schedule itself.

    So a run goes on with another ``SOLVER.MAX_ITER``. The class's name is what checkpoints know its state by.
    """

    def load_state_dict(self, state: dict[str, Any]) -> None:
        places = ("last_epoch", "_step_count", "_last_lr")
        super().load_state_dict({name: state[name] for name in places if name in state})


class StopHook(HookBase):
    """Ends the training after the iteration in which a signal came, with a checkpoint; all processes at once."""

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if not self.trainer.stop_asked() or done >= self.trainer.max_iter:
            return
        self.trainer.checkpointer.save(f"model_{self.trainer.iter:07d}")
        raise Stopped(
            f"stopped after iteration {self.trainer.iterations_before + done}; the same command with --resume goes on "
            f"from there ({self.trainer.cfg.OUTPUT_DIR}/model_{self.trainer.iter:07d}.pth)"
        )

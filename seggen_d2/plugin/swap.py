"""The swap in a Detectron2 project: its loader with any mapper, and a hook that its trainer registers."""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

from detectron2 import data as d2
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from detectron2.utils.logger import setup_logger
from torch.utils.data import ConcatDataset

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import Schedule, SwapMapper
from seggen_d2.mixing.filters import weights_column

from .data.bank_dataset import BankDataset, MappedDataset
from .data.datasets import TASKS, banks_from_config, task_from_config, train_names, train_records
from .data.label_space import task_of
from .data.registration import is_bank
from .hosts import MAPPERS
from .losses import Losses, LossesApart, mean_losses
from .probability import constant_of, course_of, p_aug_by
from .randomness import seed_of
from .weighing import SyntheticWeight

logger = logging.getLogger(__name__)

_MAPPER_TASKS = {kind: TASKS[name] for name, kind in MAPPERS.items()} | {"DetrDatasetMapper": "instance"}
_swaps: weakref.WeakSet[SwapMapper] = weakref.WeakSet()  # of this process, for the hook to find


def swap(mapper: Callable[..., Any], cfg: Any, p_aug: float | Schedule | None = None) -> SwapMapper:
    """Wrap a training mapper, whosever it is, by the keys of ``SEGGEN``.

    Without a bank, or at ``p_aug`` 0, the mapper gets the real records and nothing else.

    Args:
        mapper: called with a record (and with ``number=`` where the loader hands numbers over).
        cfg: a config with this package's keys.
        p_aug: in place of ``SEGGEN.P_AUG`` and its schedule; a schedule needs a loader that hands numbers over.

    Raises:
        SegGenError: the config lacks the keys, or asks for a schedule where nothing tells the iteration; or a bank is
            unknown, unfit or leaks.
    """
    if "SEGGEN" not in cfg:
        raise SegGenError(
            "the config has no SEGGEN keys",
            expected="add_seggen_config(cfg) before the config file is merged",
            remedy="call it beside your project's own add_..._config",
        )
    show_log(cfg)
    keys = cfg.SEGGEN
    p_aug = constant_of(keys) if p_aug is None else p_aug
    banks = banks_from_config(cfg, _task(mapper, cfg), keys.BANKS if p_aug != 0 else ())
    if not banks:
        logger.info("training is on real data alone: %s", "P_AUG is 0" if p_aug == 0 else "SEGGEN.BANKS names no bank")
    for bank in banks:
        logger.info("swap: bank %s, %d samples, %s", bank.root, len(bank), bank.info.task)
    if banks and keys.SYNTHETIC_WEIGHT != 1:
        logger.info("SEGGEN.SYNTHETIC_WEIGHT %g acts through SegGenHook; a trainer without it weights all samples alike", keys.SYNTHETIC_WEIGHT)
    made = SwapMapper(
        mapper,
        banks,
        p_aug if banks else 0.0,
        p_aug_of=p_aug_by(cfg, _task(mapper, cfg)[0]) if banks else None,
        bank_weights=list(keys.BANK_WEIGHTS) or None if banks else None,
        sampling=keys.SAMPLING if banks else "uniform",
        sample_weights=weights_column(keys.SAMPLING, keys.SAMPLE_WEIGHTS, keys.FILTER) if banks else None,
        seed=seed_of(cfg),
    )
    _swaps.add(made)
    return made


def _task(mapper: Any, cfg: Any) -> tuple[str | None, str]:
    """The task that a mapper reads, and what tells so."""
    while hasattr(mapper, "mapper"):
        mapper = mapper.mapper
    name, module = type(mapper).__name__, type(mapper).__module__
    if name in _MAPPER_TASKS:
        return _MAPPER_TASKS[name], name
    if module.startswith("seggen_d2."):
        return task_from_config(cfg)
    train = train_names(cfg)[0]  # a project's own mapper: INPUT.DATASET_MAPPER_NAME may tell of another
    return task_of(train), f"dataset {train}"


def build_detection_train_loader(cfg: Any, mapper: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """``detectron2.data.build_detection_train_loader`` with the swap around its mapper.

    Args:
        cfg: a config with this package's keys.
        mapper: None takes Detectron2's ``DatasetMapper(cfg, True)``.
        kwargs: all else that Detectron2's own takes.

    Raises:
        SegGenError: see :func:`swap`; or it is called without a config, a dataset, or with ``SEGGEN.STAGES``.
    """
    if not isinstance(cfg, CfgNode):
        raise SegGenError(
            "seggen_d2.plugin's build_detection_train_loader was called without a config",
            expected="build_detection_train_loader(cfg, mapper=...)",
            found=type(cfg).__name__,
            remedy="wrap the mapper, swap(mapper, cfg), and call Detectron2's own",
        )
    made = swap(DatasetMapper(cfg, True) if mapper is None else mapper, cfg)
    if cfg.SEGGEN.STAGES:
        raise SegGenError(
            "SEGGEN.STAGES is for tools/train_net.py; this trainer would train one stage in place of them",
            found=f"{len(cfg.SEGGEN.STAGES)} stages",
            remedy="train each by itself: SEGGEN.P_AUG 1.0, then SEGGEN.P_AUG 0.0 with the first one's MODEL.WEIGHTS",
        )
    if kwargs.get("dataset") is None and any(map(is_bank, train_names(cfg))):
        kwargs["dataset"] = train_records(cfg)
    build = d2.build_detection_train_loader
    given = {key: kwargs.pop(key) for key in ("dataset", "sampler") if key in kwargs}
    arguments = {**build.from_config(cfg, made, **given), **kwargs}
    if isinstance(arguments["dataset"], (BankDataset, ConcatDataset)):
        arguments |= {"dataset": MappedDataset(arguments["dataset"], made), "mapper": None}
    return build(**arguments)


class SegGenHook(HookBase):
    """What a project's trainer registers: the swap learns the iteration it starts at, and the log what it does.

    Every ``SOLVER.LOG_PERIOD`` iterations, and at the last one, the storage gets ``real/loss_...`` and
    ``synthetic/loss_...`` (the last layer's, and ``total_loss`` over all layers), ``swap/synthetic_share`` and
    ``swap/failed`` of the samples since. ``SEGGEN.SYNTHETIC_WEIGHT`` acts through it, on gradients (``weighing.py``).

    Args:
        cfg: the config that the loader was built with.
    """

    def __init__(self, cfg: Any):
        self.cfg = cfg
        self.totals: Counter = Counter()  # samples of this run: real, synthetic, failed
        self._losses: LossesApart | None = None
        self._weighing: SyntheticWeight | None = None
        self._iteration, self._parts, self._counts = -1, [], Counter()  # what the step that was reported last gave

    def before_train(self) -> None:
        keys, start = self.cfg.SEGGEN, self.trainer.start_iter
        if keys.BANKS and course_of(keys).peak > 0 and not _swaps:
            raise SegGenError(
                "SEGGEN.BANKS names banks, and the training loader was built without the swap",
                expected="from seggen_d2.plugin import build_detection_train_loader",
                found="a loader that this package did not build",
                remedy="import it after Detectron2's, so that it takes its place, or wrap your mapper: swap(mapper, cfg)",
            )
        for made in _swaps:
            made.start_at(start)
        inner = getattr(self.trainer, "_trainer", self.trainer)
        if start and getattr(inner, "_data_loader_iter_obj", None) is not None:
            logger.warning("the loader began before the start iteration was known: its draws repeat those of iteration 0")
        model = getattr(self.trainer, "model", None)
        if keys.SYNTHETIC_WEIGHT != 1:
            self._weighing = SyntheticWeight(getattr(model, "module", model), keys.SYNTHETIC_WEIGHT)
        if model is None:
            logger.warning("the trainer has no model attribute: losses are not logged apart")
            return
        self._losses = LossesApart(getattr(model, "module", model), self._is_due, self._report)

    def after_train(self) -> None:
        for hooks in filter(None, (self._losses, self._weighing)):
            hooks.remove()
        if self.totals:
            logger.info("swap: %d real samples, %d synthetic, %d synthetic not usable (real ones used)",
                        *(self.totals[kind] for kind in ("real", "synthetic", "failed")))

    def _is_due(self) -> bool:
        done = self.trainer.iter + 1
        return done % self.cfg.SOLVER.LOG_PERIOD == 0 or done == self.trainer.max_iter

    def _report(self, losses: Losses, counts: Counter) -> None:
        self.totals.update(counts)
        if self.trainer.iter != self._iteration:  # a step of several parts reports after each of them
            self._iteration, self._parts, self._counts = self.trainer.iter, [], Counter()
        self._parts.append(losses)
        self._counts.update(counts)
        losses, counts = mean_losses(self._parts), self._counts
        storage = get_event_storage()
        for kind, values in losses.items():
            storage.put_scalars(**{f"{kind}/{name}": value for name, value in values.items() if name != "samples"})
        samples = counts["real"] + counts["synthetic"]
        if samples:
            storage.put_scalar("swap/synthetic_share", counts["synthetic"] / samples)
            storage.put_scalar("swap/failed", counts["failed"], smoothing_hint=False)


def show_log(cfg: Any) -> None:
    """This package's log lines join Detectron2's, unless the process has its own ways."""
    if not logging.getLogger("seggen_d2").hasHandlers():
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="seggen_d2")

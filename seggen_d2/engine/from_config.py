"""The boundary: a config becomes plain keyword arguments here (the model's in ``model_from_config``), and nothing past it reads one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from seggen_d2.bank import Bank
from seggen_d2.bank.store import is_url, join
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import Augmentation, DatasetMapper, large_scale_jitter, test_augmentations, training_augmentations
from seggen_d2.mixing import Schedule, Stage, SwapMapper, rarity_of, stages_from
from seggen_d2.mixing.filters import through_filter, weights_column
from seggen_d2.mixing.sampling import check_goes_with
from seggen_d2.modeling import Mask2Former
from seggen_d2.segmentation import Categories
from seggen_d2.sources.dataset_file import Source

from .datasets import DatasetRegistry, check_no_leak, open_banks
from .model_from_config import model_of
from .multi_scale import MultiScale, check_semantic
from .run import Experiment
from .tasks import MAPPERS, TaskOfMapper, with_objects
from .trainer import SolverOptions

logger = logging.getLogger(__name__)


def experiment(cfg: CfgNode, *, training: bool = True) -> Experiment:
    """All that a run needs, built and checked: data, banks, model, stages.

    Args:
        training: False leaves out training data and banks (``--eval-only``).

    Raises:
        SegGenError: a dataset or bank is unknown, unfit or leaks; a stage or size is out of range.
    """
    train, tests = _datasets(cfg, training)
    stages = stages_of(cfg)
    banks = _banks(cfg, train, tests) if training and any(stage.course.peak > 0 for stage in stages) else []
    records = _records(cfg, train) if training else []
    categories = train[0].categories
    model = model_of(cfg, categories)
    return Experiment(
        model=model,
        multi_scale=_multi_scale(cfg, model, tests),
        weights=cfg.MODEL.WEIGHTS,
        banks=banks,
        predictions=Path(cfg.OUTPUT_DIR) / "predictions" if cfg.TEST.SAVE_PREDICTIONS else None,
        stages=stages,
        options=solver_options(cfg),
        records=records,
        tests=tests,
        mapper_at=_swap(cfg, categories, banks, records),
        test_batch=cfg.TEST.IMS_PER_BATCH,
        test_mapper=DatasetMapper(test_augmentations(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)),
        folder=Path(cfg.OUTPUT_DIR),
    )


def _task(cfg: CfgNode) -> TaskOfMapper:
    return MAPPERS[cfg.INPUT.DATASET_MAPPER_NAME]


def _datasets(cfg: CfgNode, training: bool) -> tuple[list[Source], list[Source]]:
    """Training and test sets, of one task and label space; without training, the test sets stand for both."""
    registry = DatasetRegistry(cfg.SEGGEN.DATASETS, _task(cfg).task)
    tests = registry.get(cfg.DATASETS.TEST, "DATASETS.TEST")
    train = registry.get(cfg.DATASETS.TRAIN, "DATASETS.TRAIN") if training else tests
    registry.get([train[0].name, tests[0].name], "DATASETS")
    return train, tests


def _banks(cfg: CfgNode, train: list[Source], tests: list[Source]) -> list[Bank]:
    if not cfg.SEGGEN.BANKS:
        raise SegGenError(
            "SEGGEN.STAGES: P_AUG is above 0 and there is no bank to swap from",
            expected="banks in SEGGEN.BANKS",
            found="SEGGEN.BANKS: []",
            remedy="name a bank, or set P_AUG to 0",
        )
    banks = open_banks(bank_folders(cfg), train[0])
    if cfg.SEGGEN.CHECK_SOURCES:
        check_no_leak(banks, train, tests)
    return through_filter(banks, cfg.SEGGEN.FILTER)


def _records(cfg: CfgNode, train: list[Source]) -> list[dict[str, Any]]:
    records = [record for source in train for record in source.records()]
    filtered = _task(cfg).task == "instance" and cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    return with_objects(records) if filtered else records


def _swap(
    cfg: CfgNode, categories: Categories, banks: list[Bank], records: list[dict[str, Any]]
) -> Callable[[float | Schedule], SwapMapper]:
    bare = DatasetMapper(_training_steps(cfg), _task(cfg).targets(categories), seed=cfg.SEED)
    by_rarity = cfg.SEGGEN.P_AUG_BY and banks  # the masks are read only where something is swapped
    if by_rarity:
        check_goes_with(cfg.SEGGEN.SAMPLING, cfg.SEGGEN.SAMPLE_WEIGHTS or None, by_rarity)
    return partial(
        SwapMapper,
        bare,
        banks,
        p_aug_of=rarity_of(records, _task(cfg).task, categories.ignore_id) if by_rarity else None,
        bank_weights=list(cfg.SEGGEN.BANK_WEIGHTS) or None,
        sampling=cfg.SEGGEN.SAMPLING,
        sample_weights=weights_column(cfg.SEGGEN.SAMPLING, cfg.SEGGEN.SAMPLE_WEIGHTS, cfg.SEGGEN.FILTER),
        seed=cfg.SEED,
    )


def _multi_scale(cfg: CfgNode, model: Mask2Former, tests: list[Source]) -> MultiScale | None:
    aug = cfg.TEST.AUG
    if not aug.ENABLED:
        return None
    check_semantic({test.name: test.task for test in tests}, model.outputs.semantic)
    return MultiScale(model, aug.MIN_SIZES, aug.MAX_SIZE, aug.FLIP)


def bank_folders(cfg: CfgNode) -> list[str]:
    """The folders and URLs of ``SEGGEN.BANKS``; a name that is neither is a bank in ``SEGGEN.BANK_ROOT``."""
    root = cfg.SEGGEN.BANK_ROOT
    banks = [str(bank) for bank in cfg.SEGGEN.BANKS]
    return [bank if is_url(bank) or Path(bank).is_dir() or not root else join(root, bank) for bank in banks]


def stages_of(cfg: CfgNode) -> tuple[Stage, ...]:
    """``SEGGEN.STAGES``, or the one stage that ``P_AUG``, ``MAX_ITER`` and ``BASE_LR`` describe.

    Without a bank that one stage is on real data alone; stages that name a ``P_AUG`` above 0 need one.
    """
    keys, solver = cfg.SEGGEN, cfg.SOLVER
    stages = stages_from(
        keys.STAGES,
        p_aug=keys.P_AUG,
        iterations=solver.MAX_ITER,
        base_lr=solver.BASE_LR,
        p_aug_schedule=keys.P_AUG_SCHEDULE,
        p_aug_end=keys.P_AUG_END,
    )
    if keys.BANKS or keys.STAGES or not stages[0].course.peak:
        return stages
    logger.info("SEGGEN.BANKS names no bank: training is on real data alone, SEGGEN.P_AUG is of no effect")
    return (Stage(0.0, solver.MAX_ITER, solver.BASE_LR),)


def solver_options(cfg: CfgNode) -> SolverOptions:
    """The optimisation of every stage."""
    solver = cfg.SOLVER
    return SolverOptions(
        batch_size=solver.IMS_PER_BATCH,
        accumulate=solver.ACCUMULATE,
        groups={
            "backbone_multiplier": solver.BACKBONE_MULTIPLIER,
            "weight_decay": solver.WEIGHT_DECAY,
            "weight_decay_norm": solver.WEIGHT_DECAY_NORM,
            "weight_decay_embed": solver.WEIGHT_DECAY_EMBED,
        },
        schedule={
            "schedule": solver.LR_SCHEDULER_NAME,
            "power": solver.POLY_LR_POWER,
            "steps": tuple(solver.STEPS),
            "gamma": solver.GAMMA,
            "warmup_iterations": solver.WARMUP_ITERS,
            "warmup_factor": solver.WARMUP_FACTOR,
        },
        clip_norm=solver.CLIP_GRADIENTS.CLIP_VALUE if solver.CLIP_GRADIENTS.ENABLED else 0.0,
        precision=solver.AMP.DTYPE if solver.AMP.ENABLED else "",
        checkpoint_period=solver.CHECKPOINT_PERIOD,
        checkpoints_kept=solver.CHECKPOINTS_KEPT,
        log_period=solver.LOG_PERIOD,
        eval_period=cfg.TEST.EVAL_PERIOD,
        workers=cfg.DATALOADER.NUM_WORKERS,
        tensorboard=solver.TENSORBOARD,
        seed=cfg.SEED,
        device=cfg.MODEL.DEVICE,
        synthetic_weight=cfg.SEGGEN.SYNTHETIC_WEIGHT,
    )


def _training_steps(cfg: CfgNode) -> list[Augmentation]:
    given, crop = cfg.INPUT, cfg.INPUT.CROP
    if _task(cfg).large_scale:
        return large_scale_jitter(given.IMAGE_SIZE, given.MIN_SCALE, given.MAX_SCALE, given.RANDOM_FLIP)
    return training_augmentations(
        given.MIN_SIZE_TRAIN,
        given.MAX_SIZE_TRAIN,
        crop=tuple(crop.SIZE) if crop.ENABLED else None,
        color_jitter=given.COLOR_AUG_SSD,
        flip=given.RANDOM_FLIP == "horizontal",
        max_category_area=crop.SINGLE_CATEGORY_MAX_AREA,
    )

"""What ``tools/train_net.py`` does with Detectron2, once its arguments are parsed."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import default_setup, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from seggen_d2.engine.run_folder import holds_training, write_evaluation
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_bytes
from seggen_d2.foundation.table import labelled
from seggen_d2.modeling.backbone_weights import whole_model

from ..config import complete, load_config
from ..data.datasets import register_from_config
from ..data.registration import check_registered
from ..hosts import PACKAGES, import_host
from ..model.checkpoint import SafeCheckpointer, check_weights
from .evaluators import limit_results, sources_of
from .multi_scale import check_multi_scale
from .plan import check_origins, plan
from .results import run_metrics
from .stages import FINAL, check_folder, train_stages
from .trainer import Stopped, Trainer

__all__ = ["Arguments", "Stopped", "train_net"]

logger = logging.getLogger(__name__)
# Detectron2's keys that this trainer does nothing for where they are on.
UNHONOURED = ("TEST.PRECISE_BN.ENABLED", "MODEL.LOAD_PROPOSALS", "MODEL.KEYPOINT_ON")


@dataclass(frozen=True)
class Arguments:
    """Detectron2's usual ones.

    Args:
        config_file: a YAML file. overrides: ``KEY VALUE KEY VALUE ...``.
        num_gpus: processes on this machine, one a GPU; without GPUs they compute on the CPU, 0 and 1 in this process.
        num_machines, machine_rank, dist_url: of a training on several machines.
    """

    config_file: str
    overrides: tuple[str, ...] = ()
    resume: bool = False
    eval_only: bool = False
    num_gpus: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    dist_url: str = "auto"


def train_net(words: Arguments, *, dry_run: bool = False) -> None:
    """Train and evaluate as a config says, in as many processes as asked for.

    Raises:
        SegGenError: anything that the config, its data or the output folder got wrong.
        Stopped: a signal ended the training, with a checkpoint.
    """
    if words.num_machines > 1 and words.dist_url == "auto":
        raise SegGenError(
            "--num-machines needs an address that all of them reach",
            expected="--dist-url tcp://HOST:PORT of the first machine",
            found="auto",
        )
    if dry_run:
        cfg, ignored = prepare(words)
        print(plan(cfg, resume=words.resume))
        if ignored:
            print(labelled([("not read", ", ".join(ignored))]))
        return
    distributed = words.num_gpus * words.num_machines > 1
    if distributed:
        _check(words, prepare(words)[0])  # what is wrong is said once, not by each process
    places = {name: getattr(words, name) for name in ("num_machines", "machine_rank", "dist_url")}
    try:
        launch(_quietly if distributed else run, words.num_gpus, **places, args=(words,))
    except torch.multiprocessing.ProcessExitedException as error:
        sys.exit(error.exit_code)


def _quietly(words: Arguments) -> None:
    """:func:`run` in a started process: its own error goes to the log, and its exit code to the first process."""
    try:
        run(words)
    except SegGenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stop:
        if comm.is_main_process():
            print(stop, file=sys.stderr)
        sys.exit(130)


def run(words: Arguments) -> dict[str, Any]:
    """Train, or evaluate, in this process; the results, in all processes but the first an empty mapping.

    Raises:
        SegGenError, Stopped: see :func:`train_net`.
    """
    cfg, ignored = prepare(words)
    _check(words, cfg)
    _set_up(cfg, words)
    for name in ("seggen_d2", *PACKAGES.values()):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name)
    if ignored:
        logger.warning("keys that the Detectron2 engine does not honour: %s", ", ".join(ignored))
    return evaluate(cfg, words) if words.eval_only else train_stages(cfg, resume=words.resume)


def _set_up(cfg: Any, words: Arguments) -> None:
    """Detectron2's own set-up, which writes ``config.yaml``; a training's stays where its folder is evaluated in."""
    saved = Path(cfg.OUTPUT_DIR) / "config.yaml"
    kept = saved.read_bytes() if words.eval_only and saved.exists() and holds_training(cfg.OUTPUT_DIR) else b""
    comm.synchronize()  # no process reads what the first has written
    default_setup(cfg, Namespace(config_file=words.config_file, eval_only=words.eval_only, opts=words.overrides))
    if kept and comm.is_main_process():
        write_bytes(saved, kept)


def _check(words: Arguments, cfg: Any) -> None:
    """Before anything is built or written; an evaluation takes nothing from the run in its folder."""
    if not words.eval_only:
        check_folder(cfg.OUTPUT_DIR, resume=words.resume)
        check_origins(cfg, resume=words.resume)


def prepare(words: Arguments) -> tuple[Any, list[str]]:
    """The resolved config with its datasets registered and its model known, and the keys that are not honoured.

    Raises:
        SegGenError: a key, a file or a dataset's name is wrong, or the model's package is not there.
    """
    cfg, ignored = load_config(words.config_file, list(words.overrides))
    import_host(cfg.MODEL.META_ARCHITECTURE)
    register_from_config(cfg)
    check_registered(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
    check_registered(cfg.DATASETS.TEST, "DATASETS.TEST")
    complete(cfg)
    limit_results(cfg)
    check_multi_scale(cfg)
    _check_classes(cfg)
    if words.num_gpus == 0:
        cfg.defrost()
        cfg.MODEL.DEVICE = "cpu"
        cfg.freeze()
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        raise SegGenError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE}, and torch finds no GPU",
            expected="cpu, or a GPU",
            found="no GPU",
            remedy="give --num-gpus 0, or leave MODEL.DEVICE out",
        )
    return cfg, [*ignored, *(key for key in UNHONOURED if _value(cfg, key))]


def _value(cfg: Any, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def _check_classes(cfg: Any) -> None:
    """The model must have the classes of the dataset that a file of ``SEGGEN.DATASETS`` describes.

    Raises:
        SegGenError: ``MODEL.SEM_SEG_HEAD.NUM_CLASSES`` is another number.
    """
    source, asked = sources_of(cfg).get(next(iter(cfg.DATASETS.TRAIN), "")), cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if source and len(source.categories) != asked:
        raise SegGenError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES does not fit dataset {source.name}",
            expected=str(len(source.categories)),
            found=str(asked),
            remedy="set it to the dataset's number of categories, or to 0",
        )


def evaluate(cfg: Any, words: Arguments) -> dict[str, Any]:
    """Evaluate ``MODEL.WEIGHTS`` where the command names a whole model, else the run's last or final checkpoint.

    ``metrics_final.json`` is written where no training has its own.

    Raises:
        SegGenError: there is no checkpoint, or it is of another model.
    """
    final = Path(cfg.OUTPUT_DIR) / FINAL
    resumed = words.resume and (final.parent / "last_checkpoint").exists()
    named = "MODEL.WEIGHTS" in words.overrides[::2]
    weights = whole_model(cfg.MODEL.WEIGHTS, "detectron2") if named or not final.exists() else ""
    weights = weights or (str(final) if final.exists() else "")
    if not weights and not resumed:
        raise SegGenError(
            "there is nothing to evaluate",
            expected=f"MODEL.WEIGHTS on the command line, or {final}",
            found="neither",
            remedy="train first, or name a checkpoint",
        )
    if not resumed:
        check_weights(weights)
    model = Trainer.build_model(cfg)
    SafeCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(weights, resume=words.resume)
    results, several = Trainer.test(cfg, model), Trainer.test_multi_scale(cfg, model)
    if not comm.is_main_process():
        return {}
    write_evaluation(cfg.OUTPUT_DIR, run_metrics(cfg, results, several))
    verify_results(cfg, results)
    return results

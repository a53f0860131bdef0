#!/usr/bin/env python
"""Train and evaluate a segmenter as one config says: on real data, synthetic banks or both, in one stage or several.

SEGGEN.ENGINE in the config chooses: transformers (Hugging Face's Trainer and Mask2Former), detectron2 (stock
Mask2Former, Mask DINO, or this package's SegGenMask2Former without the compiled op), or auto, which is Detectron2
where it is installed. Both read the same files, of semantic, panoptic and instance segmentation.
"""

from __future__ import annotations

import argparse
import logging
import sys

from seggen_d2.foundation.cli import run_command

logger = logging.getLogger("train_net")

EXAMPLES = """\
examples:
  train_net.py --config-file configs/toy/real.yaml                     the baseline: real data alone
  train_net.py --config-file configs/toy/real+seggen.yaml SEED 1       60% of the samples swapped, another seed
  train_net.py --config-file configs/toy/real+seggen.yaml SEGGEN.ENGINE detectron2
  train_net.py --config-file FILE --num-gpus 8                         a process a GPU
  train_net.py --config-file FILE --eval-only OUTPUT_DIR RUN/again MODEL.WEIGHTS RUN TEST.SAVE_PREDICTIONS True
  train_net.py --config-file FILE DATASETS.TRAIN my_train SEGGEN.BANKS "['banks/a', 'banks/b']"

OUTPUT_DIR gets config.yaml (resolved), metrics.json (a line every LOG_PERIOD iterations), the checkpoints, the
weights and metrics_final.json. transformers: stage-N/checkpoint-N and model_final (opens with transformers); the same
command again goes on after a stop. Detectron2: model_N.pth and model_final.pth, in stage-N where there are several
stages; the same command with --resume goes on, and without it a folder that holds a run is refused.
A finished run's folder as MODEL.WEIGHTS stands for its final model. --eval-only writes config.yaml and
metrics_final.json where OUTPUT_DIR holds no training; a training's own stay as they are, and figures are only printed.
TEST.SAVE_PREDICTIONS True writes OUTPUT_DIR/predictions/DATASET, which tools/evaluate.py reads.
Every key, with its meaning: seggen_d2/engine/defaults.py
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--config-file", required=True, metavar="FILE", help="YAML config; _BASE_ in it names one to start from"
    )
    words.add_argument(
        "--resume",
        action="store_true",
        help="go on from OUTPUT_DIR's last checkpoint (Detectron2: needed to go on, as a folder that holds a run is "
        "refused without it; transformers: go on although keys of the config changed)",
    )
    words.add_argument(
        "--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS, or OUTPUT_DIR's final model, on DATASETS.TEST"
    )
    words.add_argument(
        "--dry-run", action="store_true", help="check config, data and banks, print the plan, train nothing"
    )
    group = words.add_argument_group("processes (Detectron2; the transformers engine is started by torchrun)")
    group.add_argument(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="processes on this machine, one a GPU; without GPUs they compute on the CPU, and 0 always does",
    )
    group.add_argument("--num-machines", type=int, default=1, metavar="N", help="machines that train together")
    group.add_argument("--machine-rank", type=int, default=0, metavar="N", help="this machine's number, from 0")
    group.add_argument(
        "--dist-url", default="auto", metavar="URL", help="tcp://HOST:PORT of the first machine; auto on one machine"
    )
    words.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys on top of the file")
    return words


def main() -> None:
    arguments = parser().parse_intermixed_args()
    from seggen_d2.engine.choice import choose_engine

    if choose_engine(arguments.config_file, arguments.overrides) == "detectron2":
        with_detectron2(arguments)
    else:
        with_transformers(arguments)


def with_transformers(arguments: argparse.Namespace) -> None:
    from seggen_d2.engine.config import load_config

    cfg, ignored = load_config(arguments.config_file, arguments.overrides)  # a wrong key is told before torch is loaded
    if ignored:
        logger.warning("keys that the transformers engine does not honour: %s", ", ".join(ignored))
    if arguments.num_gpus > 1 or arguments.num_machines > 1:
        logger.warning("the transformers engine does not honour --num-gpus: start it with torchrun")
    from seggen_d2.engine.command import Stopped, train_net

    try:
        train_net(cfg, resume=arguments.resume, eval_only=arguments.eval_only, dry_run=arguments.dry_run)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(130)


def with_detectron2(arguments: argparse.Namespace) -> None:
    from seggen_d2.plugin.training.command import Arguments, Stopped, train_net

    words = vars(arguments)
    dry_run = words.pop("dry_run")
    try:
        train_net(Arguments(**{**words, "overrides": tuple(arguments.overrides)}), dry_run=dry_run)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run_command(main)

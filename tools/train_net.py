#!/usr/bin/env python
"""Train and evaluate a segmenter as one config says: on real data, synthetic banks or both, in one stage or several."""

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
  train_net.py --config-file configs/toy/real.yaml --eval-only MODEL.WEIGHTS output/train/model_final
  train_net.py --config-file FILE DATASETS.TRAIN my_train SEGGEN.BANKS "['banks/a', 'banks/b']"

OUTPUT_DIR gets config.yaml (resolved), metrics.json (a line every LOG_PERIOD iterations), stage-N/checkpoint-N,
model_final (opens with transformers) and metrics_final.json. The same command again goes on after a stop.
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
        help="go on from OUTPUT_DIR's last checkpoint although keys of the config changed",
    )
    words.add_argument(
        "--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS, or OUTPUT_DIR/model_final, on DATASETS.TEST"
    )
    words.add_argument(
        "--dry-run", action="store_true", help="check config, data and banks, print the plan, train nothing"
    )
    words.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys on top of the file")
    return words


def main() -> None:
    arguments = parser().parse_intermixed_args()
    from seggen_d2.engine.config import load_config

    cfg, ignored = load_config(arguments.config_file, arguments.overrides)  # a wrong key is told before torch is loaded
    if ignored:
        logger.warning("keys that the transformers engine does not honour: %s", ", ".join(ignored))
    from seggen_d2.engine.command import Stopped, train_net

    try:
        train_net(cfg, resume=arguments.resume, eval_only=arguments.eval_only, dry_run=arguments.dry_run)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python
"""Pre-train a tiny SDXL-shaped base on unlabelled captioned pictures.

It stands in for SDXL where SDXL cannot be had: the quickstart starts from one as a user starts from SDXL.
A stopped run goes on with the same command.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.foundation.options import build, load_yaml, merge, parse_overrides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, help="YAML such as configs/toy/base.yaml; keys: BaseOptions")
    parser.add_argument("--output", required=True, type=Path, help="folder for states, log and model/")
    parser.add_argument("--licence", required=True, help="licence of the result, named in its facts and in every bank, e.g. Apache-2.0")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides, e.g. base.steps 100")
    args = parser.parse_args()
    from seggen_d2.generators.training.base import BaseOptions, train_base

    options = build(BaseOptions, merge(load_yaml(args.config_file), parse_overrides(args.opts)), args.config_file)
    train_base(options, args.output, licence=args.licence)


if __name__ == "__main__":
    run_command(main)

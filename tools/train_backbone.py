#!/usr/bin/env python
"""Pre-train a small backbone on captioned pictures without labels: it learns which words a picture's captions hold.

It stands in for a backbone that has learnt from ImageNet: MODEL.WEIGHTS of a training names the output folder, with either
engine. Printed at the end: how well words are told for pictures that were held out, beside what guessing has.
A stopped run goes on with the same command.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.foundation.options import build, load_yaml, merge, parse_overrides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, help="YAML such as configs/toy/backbone.yaml; keys: BackboneOptions")
    parser.add_argument("--output", required=True, type=Path, help="folder for the backbone, its facts, the log, and states in state/")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides, e.g. pictures photos solver.steps 100")
    args = parser.parse_args()
    from seggen_d2.engine.pretraining.measure import report
    from seggen_d2.engine.pretraining.options import BackboneOptions
    from seggen_d2.engine.pretraining.run import pretrain

    options = build(BackboneOptions, merge(load_yaml(args.config_file), parse_overrides(args.opts)), args.config_file)
    print(report(pretrain(options, args.output)["held_out"]))


if __name__ == "__main__":
    run_command(main)

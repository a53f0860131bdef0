#!/usr/bin/env python
"""A labelled dataset in the categories of a training set: what was trained there can then be tested here.

MAP.yaml names for each category of the dataset the training set's that it is, or null for none: `van: car`, `drain: null`.
Several may be one. Begin with --template, which writes MAP.yaml with equal names filled in, and decide the rest. OUTPUT gets
dataset.yaml, and masks or a JSON with the categories changed; photos stay where they are. What is none of ours is
unlabelled (semantic), void (panoptic), or nothing to be found (instance). The same command again does nothing twice, and
goes on after a stop.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from seggen_d2.foundation.cli import run_command

EXAMPLE = """
example:
  python datasets/map_classes.py --dataset other/val.yaml --like datasets/mine/train.yaml --classes other/map.yaml --template
  python datasets/map_classes.py --dataset other/val.yaml --like datasets/mine/train.yaml --classes other/map.yaml --output datasets/other-as-mine
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="the YAML file of the dataset to test on")
    parser.add_argument("--like", required=True, metavar="TRAIN", help="the training set's YAML file, whose categories the result has; "
                        "of the same task, or semantic where the dataset is panoptic")
    parser.add_argument("--classes", required=True, metavar="MAP", help="YAML file of the dataset's names and the training set's")
    parser.add_argument("--template", action="store_true", help="write MAP to be completed, and no more")
    parser.add_argument("--output", type=Path, metavar="DIR", help="a folder of its own")
    parser.add_argument("--name", default="", help="of the result (default: the dataset's with _mapped)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    args = parser.parse_args()
    if args.template == bool(args.output):
        parser.error("give --output DIR, or --template")
    if args.template:
        from seggen_d2.sources import load_dataset
        from seggen_d2.sources.preparing.class_map import write_template

        undecided = write_template(args.classes, load_dataset(args.dataset).categories, load_dataset(args.like).categories)
        print(f"{args.classes}: {undecided} categories to decide")
        return
    from seggen_d2.sources.preparing.mapped import map_classes

    print(map_classes(args.dataset, args.like, args.classes, args.output, name=args.name, workers=args.workers))


if __name__ == "__main__":
    run_command(main)

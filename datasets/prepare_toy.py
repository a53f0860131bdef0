#!/usr/bin/env python
"""Draw the toy world's labelled scenes: a folder a split of images and labels, with its dataset YAML."""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, help="folder; train/, test/ and unseen/ are made in it")
    parser.add_argument("--train", type=int, default=32, help="labelled scenes to train on")
    parser.add_argument("--test", type=int, default=150, help="labelled scenes to test on")
    parser.add_argument("--unseen", type=int, default=0, help="labelled scenes of another look, to test on only: other colours and patterns, painted")
    parser.add_argument("--size", type=int, default=48, help="pixels a side")
    parser.add_argument("--task", default="semantic", choices=("semantic", "panoptic", "instance"), help="what the scenes are labelled with")
    args = parser.parse_args()
    from seggen_d2.sources.toy_folder import write_toy_folder

    for split in ("train", "test", "unseen"):
        if split != "unseen" or args.unseen:
            print(write_toy_folder(args.output / split, split, getattr(args, split), size=args.size, task=args.task))


if __name__ == "__main__":
    run_command(main)

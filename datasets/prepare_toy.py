#!/usr/bin/env python
"""Draw the toy world's scenes: a folder a split of images and labels, with its dataset YAML.

train/       labelled scenes to train on
val/         labelled scenes to make choices on, so that none is made on test/
test/        labelled scenes to test on
unseen/      labelled scenes of another look, to test on only: other colours and patterns, painted
unlabelled/  images with captions (captions.parquet) and without labels: what the base and the backbone are trained on
oracle/      more true labelled scenes, and
repainted/   the training scenes' labels painted in other looks: what perfect generators would make, to measure the headroom by

Scenes of different splits never meet. The last two become banks by tools/import_bank.py.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder; those of the splits are made in it")
    parser.add_argument("--train", type=int, default=32, metavar="N", help="scenes (default: 32)")
    parser.add_argument("--val", type=int, default=0, metavar="N", help="scenes (default: none)")
    parser.add_argument("--test", type=int, default=300, metavar="N", help="scenes (default: 300)")
    parser.add_argument("--unseen", type=int, default=0, metavar="N", help="scenes (default: none)")
    parser.add_argument("--unlabelled", type=int, default=0, metavar="N", help="scenes: the first N that a base with toy: N is trained on (default: none)")
    parser.add_argument("--oracle", type=int, default=0, metavar="N", help="scenes (default: none)")
    parser.add_argument("--repainted", type=int, default=0, metavar="K", help="looks of each training scene, its own apart (default: none)")
    parser.add_argument("--labelled-set", type=int, default=0, metavar="N", help="which training and oracle scenes: sets of up to 1000, from 0 (default: 0)")
    parser.add_argument("--size", type=int, default=48, help="pixels a side (default: 48)")
    parser.add_argument("--task", default="semantic", choices=("semantic", "panoptic", "instance"), help="of the labels (default: semantic)")
    args = parser.parse_args()
    from seggen_d2.sources.toy_folder import LABELLED, write_repainted, write_toy_folder
    from seggen_d2.sources.toy_unlabelled import write_unlabelled

    for split in LABELLED:
        if split in ("train", "test") or getattr(args, split):
            print(write_toy_folder(args.output / split, split, getattr(args, split), size=args.size, task=args.task, labelled_set=args.labelled_set))
    if args.repainted:
        print(write_repainted(args.output / "repainted", args.train, args.repainted, size=args.size, task=args.task, labelled_set=args.labelled_set))
    if args.unlabelled:
        print(write_unlabelled(args.output / "unlabelled", args.unlabelled, size=args.size))


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python
"""A few labelled images of a dataset, spread evenly over their names: to see what a method does with few labels.

OUTPUT gets dataset.yaml, of the same name as the given dataset, so that it stands in for it, and files.txt, the images'
ids. Nothing is copied. The same number takes the same images. The same command again does nothing twice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command

EXAMPLE = """
example:
  python datasets/prepare_few.py --dataset datasets/camvid_train.yaml --labelled 40 --output datasets/camvid_40
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="a semantic dataset's YAML file")
    parser.add_argument("--labelled", required=True, type=int, metavar="N", help="images to take, 1 to as many as there are")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="a folder of its own")
    args = parser.parse_args()
    from seggen_d2.sources.preparing.few import prepare_few

    print(prepare_few(args.dataset, args.labelled, args.output))


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python
"""How well a filter (tools/score_bank.py --scores filter) would find errors, and what it would mark by mistake: choose its options by it.

Real held-out masks get errors of known places: a share of their segments become another category. Every way to mark and every
tolerance is tried on them, by the mean losses of the masks with errors (reference bank) and of real ones (reference test).
With --share 0 all that is marked is the segmenter's own fault. docs/filtering.md tells how to read the table.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLE = """
example:
  python tools/check_filter.py --dataset output/quickstart/data/val/dataset.yaml --segmenter output/quickstart/runs/real-seed0
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--dataset", required=True, metavar="FILE", help="dataset YAML of real images that the segmenter was not trained on")
    words.add_argument("--segmenter", required=True, metavar="RUN", help="a finished training on real images: its folder, or its model_final")
    words.add_argument("--share", type=float, default=0.15, metavar="S", help="of the segments that get another category (default: %(default)s)")
    words.add_argument("--tolerances", type=float, nargs="+", default=[1.25, 1.5, 2.0, 3.0], metavar="T",
                       help="times the class's mean loss (default: %(default)s)")
    words.add_argument("--images", type=int, default=400, metavar="N", help="look at N images at most, evenly spread (default: %(default)s)")
    words.add_argument("--seed", type=int, default=0, help="of the errors (default: %(default)s)")
    words.add_argument("--batch", type=int, default=8, metavar="N", help="images at once (default: %(default)s)")
    words.add_argument("--device", default="auto", help="auto, cpu, cuda:0 ... (default: %(default)s)")
    return words


def main() -> None:
    given = vars(parser().parse_args())
    from seggen_d2.scoring.filter_check import CheckOptions, check_filter, check_text

    print(check_text(check_filter(CheckOptions(**{**given, "tolerances": tuple(given["tolerances"])}))))


if __name__ == "__main__":
    run_command(main)

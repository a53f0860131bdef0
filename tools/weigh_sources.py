#!/usr/bin/env python
"""Weigh the images that a bank is made from by how badly a segmenter does on them: where it is weak, more is generated.

A segmenter looks good on the images that it was trained on, so its figures there tell nothing. Two ways around:

--metrics      its figures by class on validation images (metrics_final.json of an evaluation); an image weighs as the
               classes that it holds. Not on the test images: what is generated is a choice, and choices are not made there
--predictions  of the images themselves, by segmenters that were trained without them: one folder a fold

tools/synthesize.py ... weights FILE samples N then spends exactly N samples by these weights, the weightiest images first.
docs/cheaper-banks.md tells how, with every command.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLES = """
examples:
  python tools/weigh_sources.py --dataset output/quickstart/data/train/dataset.yaml --metrics output/quickstart/runs/real-seed0/val/metrics_final.json \\
      --output output/quickstart/weights.json
  python tools/weigh_sources.py --dataset datasets/mine/train.yaml --predictions folds/0/predictions/rest0 folds/1/predictions/rest1 --output weights.json
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--dataset", required=True, metavar="FILE", help="dataset YAML of the training images, which the bank is made from")
    words.add_argument("--output", required=True, metavar="FILE", help="the file of weights (JSON)")
    words.add_argument("--metrics", default="", metavar="FILE", help="figures by class on validation images")
    words.add_argument("--predictions", nargs="+", default=[], metavar="PATH", help="predictions of the training images by segmenters that did not see them")
    words.add_argument("--power", type=float, default=2.0, help="of an image's error; 0 weighs all alike (default: %(default)s)")
    words.add_argument("--least", type=float, default=0.25, help="no weight is less than this share of the mean (default: %(default)s)")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.evaluation.weakness import Weighing, weigh_sources

    print(weigh_sources(given.dataset, given.output, metrics=given.metrics, predictions=given.predictions, weighing=Weighing(given.power, given.least)))


if __name__ == "__main__":
    run_command(main)

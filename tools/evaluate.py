#!/usr/bin/env python
"""Score a folder of predicted label maps against a dataset: mIoU and the IoU of each category, in percent.

A prediction is a single-channel PNG of category ids with its image's name and size: IMAGE_ID.png. Pixels that the
dataset leaves unlabelled count nowhere; the mean goes over the categories that the dataset's masks hold.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--predictions", required=True, metavar="DIR", help="folder of label-map PNGs")
    words.add_argument("--dataset", required=True, metavar="FILE", help="the dataset's YAML file")
    words.add_argument("--json", metavar="OUT", help="also write the figures to this file")
    return words


def main() -> None:
    arguments = parser().parse_args()
    from seggen_d2.evaluation.predictions import score_folder
    from seggen_d2.evaluation.tables import metrics_table
    from seggen_d2.foundation.files import write_json

    metrics = score_folder(arguments.predictions, arguments.dataset)
    print(f"{metrics['dataset']}, {metrics['images']} images\n{metrics_table(metrics)}")
    if arguments.json:
        write_json(arguments.json, metrics)


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python
"""COCO 2017 as downloaded, to what training reads: panoptic, instance, or semantic masks made from the panoptic ones.

ROOT holds train2017/, val2017/, annotations/{instances,panoptic}_{train,val}2017.json and, for panoptic and semantic,
panoptic_{train,val}2017/ (in ROOT or in annotations/). OUTPUT gets train.yaml and val.yaml, for semantic the masks (ids from
0 in the order of the JSON, 255 unlabelled), and configs for all that follows. Photos and JSON stay where they are. Counts
(118,287 and 5,000), sizes and ids are checked. The same command again does nothing twice, and goes on after a stop.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.sources.preparing.command import add_arguments, finish

HERE = Path(__file__).resolve().parent


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("root", metavar="ROOT", nargs="?", default="", help="COCO's folder")
    words.add_argument("--task", default="panoptic", choices=["panoptic", "instance", "semantic"], help="(default: panoptic)")
    words.add_argument("--output", type=Path, metavar="DIR", help="folder for dataset files and masks (default: datasets/coco-TASK)")
    add_arguments(words)
    part = words.add_argument_group("a part of COCO that lies otherwise, half of which validates (in place of ROOT)")
    part.add_argument("--allow-counts", action="store_true", help="take a part of the dataset")
    part.add_argument("--images", default="", metavar="DIR", help="photos")
    part.add_argument("--json", default="", metavar="FILE", help="their annotations")
    part.add_argument("--masks", default="", metavar="DIR", help="their panoptic masks")
    return words


def main() -> None:
    words = parser()
    given = words.parse_args()
    if bool(given.root) == bool(given.json) or bool(given.images) != bool(given.json):
        words.error("give ROOT, or --images and --json (and --masks)")
    from seggen_d2.sources.preparing.coco import CocoPart, prepare_coco

    name = f"coco_{given.task}"
    output = given.output or HERE / f"coco-{given.task}"
    part = CocoPart(name, given.images, given.json, given.masks) if given.json else None
    made = prepare_coco(given.root, output, given.task, part=part, allow_counts=given.allow_counts, workers=given.workers)
    finish(made, given, name, f"coco-{'panoptic' if given.task == 'semantic' else given.task}")


if __name__ == "__main__":
    run_command(main)

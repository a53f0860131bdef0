#!/usr/bin/env python
"""COCO 2017 as downloaded, to what training reads: panoptic, instance, or semantic masks made from the panoptic ones.

ROOT holds train2017/, val2017/, annotations/{instances,panoptic}_{train,val}2017.json and, for panoptic and semantic,
panoptic_{train,val}2017/ (in ROOT or in annotations/). OUTPUT gets train.yaml and val.yaml, for semantic the masks (ids from
0 in the order of the JSON, 255 unlabelled), and configs for all that follows. Photos and JSON stay where they are. Counts
(118,287 and 5,000), sizes and ids are checked. The same command again does nothing twice, and goes on after a stop.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from seggen_d2.foundation.cli import run_command

HERE = Path(__file__).resolve().parent


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("root", metavar="ROOT", nargs="?", default="", help="COCO's folder")
    words.add_argument("--task", default="panoptic", choices=["panoptic", "instance", "semantic"], help="(default: panoptic)")
    words.add_argument("--output", type=Path, metavar="DIR", help="folder for dataset files and masks (default: datasets/coco-TASK)")
    words.add_argument("--batch", type=int, default=16, help="images an iteration of the segmenter (default: 16)")
    words.add_argument("--backbone", default="R50", choices=["R50", "swin-large"], help="of the segmenter (default: R50)")
    words.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
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
    from seggen_d2.sources.prepare_coco import CocoPart, prepare_coco
    from seggen_d2.sources.prepare_configs import ConfigOptions, write_configs

    name = f"coco_{given.task}"
    output = given.output or HERE / f"coco-{given.task}"
    part = CocoPart(name, given.images, given.json, given.masks) if given.json else None
    made = prepare_coco(given.root, output, given.task, part=part, allow_counts=given.allow_counts, workers=given.workers)
    print(made)
    generators = f"coco-{'panoptic' if given.task == 'semantic' else given.task}"
    files = write_configs(made, ConfigOptions(name, str(HERE.parent / "configs"), given.batch, given.backbone, generators))
    print(f"configs: {', '.join(file.name for file in files) or 'left as they are; delete one to have it written anew'}")


if __name__ == "__main__":
    run_command(main)

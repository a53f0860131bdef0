#!/usr/bin/env python
"""ADE20K (scene parsing, 150 categories) as downloaded, to what training reads.

ROOT is ADEChallengeData2016: images/{training,validation}, annotations/{training,validation} (0 unlabelled, ids from 1),
objectInfo150.txt. OUTPUT gets train.yaml and val.yaml, masks with ids from 0 and 255 for unlabelled, and configs for all
that follows. Photos stay where they are. Counts (20,210 and 2,000), sizes and ids are checked. The same command again does
nothing twice, and goes on after a stop.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.sources.preparing.command import add_arguments, finish

HERE = Path(__file__).resolve().parent


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("root", metavar="ROOT", help="ADEChallengeData2016, or the folder that holds it")
    words.add_argument("--output", type=Path, default=HERE / "ade20k", metavar="DIR", help="folder for dataset files and masks (default: datasets/ade20k)")
    words.add_argument("--like", default="", metavar="DATASET", help="take the names, to the letter, from a dataset of Detectron2 (ade20k_sem_seg_train), "
                       "for banks that its own registration of ADE20K is trained with; by default from objectInfo150")
    words.add_argument("--allow-counts", action="store_true", help="take a part of the dataset, also photos in images/ without sides")
    add_arguments(words)
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.sources.preparing.ade20k import prepare_ade20k

    names = None
    if given.like:
        from seggen_d2.plugin import categories_like

        names = categories_like(given.like, "semantic")
    made = prepare_ade20k(given.root, given.output, names=names, allow_counts=given.allow_counts, workers=given.workers)
    finish(made, given, "ade20k", "ade20k")


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python
"""Reproduce a table of the paper, or the like of it on another dataset: one command from data to table.

ade20k          ADE20K semantic: Mask2Former and + SegGen, R50 and Swin-L, single and multi scale
coco            COCO panoptic: synthetic pretraining, real finetuning; R50, Mask DINO Swin-L; instance AP beside it
synthetic-only  synthetic samples alone, against images that an annotator (a segmenter) labels
ablation        none, MaskSyn, ImgSyn, both; on the toy world it is:
gain            the same, synthetic alone, pretraining, the annotator-based baseline and two oracles; with a pre-trained backbone, too
tuning          the baseline's own settings, by the validation scenes
mixing          toy: schedules of p_aug, the loss weight of synthetic samples, paired, by rarity
filtering       toy: a bank as it is, filtered by ignoring, re-labelling and dropping
sampling        toy: banks by fewer steps and other samplers (then tools/chart_table.py, as for bank-size)
bank-size       toy: the gain against the size of the bank, x1 to x50
weakest-first   toy: a budget spent first where a segmenter is weak
captions        toy: banks by captions as they are, with attributes drawn again, with rare classes more often
advice          toy: four banks whose worth is known, beside what tools/advise.py says of them
unseen          trained here, tested on another domain

What is finished is never run twice, and tables of one dataset share data, generators, banks and runs: after any stop
the same command goes on. Ends with table.md, table.json and table.html: ours beside the paper's, mean and deviation
over seeds, differences with bootstrap intervals, configs and commit. docs/reproduce.md tells how to read them.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from seggen_d2.foundation.cli import run_command
from seggen_d2.foundation.options import parse_overrides

EXAMPLES = """
examples:
  python tools/reproduce.py ablation --dataset toy --seeds 5              all rows of the toy world, hours
  python tools/reproduce.py ablation --dataset toy --seeds 5 --models R50 --rows "Real data alone" "+ both"
  python tools/reproduce.py ade20k --dry-run                              every command of the paper's size, GPU hours, disk
  python tools/reproduce.py ade20k --dataset toy --seeds 3                the same rows, tiny
  python tools/reproduce.py ablation --dataset mine --seeds 5             datasets/mine, as datasets/prepare_folder.py made it
  python tools/reproduce.py ablation --dataset toy --task panoptic --engine detectron2 imgsyn 16
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("table", metavar="TABLE", help="one of those above, or a protocol's YAML file")
    words.add_argument("--dataset", default="", metavar="NAME", help="toy, camvid, ade20k, coco, or a prepared dataset (default: the table's own)")
    words.add_argument("--scale", default="", metavar="SCALE", help="paper or small; toy and camvid are small (default: the dataset's first)")
    words.add_argument("--task", default="", metavar="TASK", help="semantic, panoptic or instance, for tables that have no task of their own")
    words.add_argument("--engine", default="auto", help="transformers, detectron2, or auto: Detectron2 where it is installed (default: auto)")
    words.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each row (default: 1; five for a claim)")
    words.add_argument("--replications", type=int, default=1, metavar="R", help="labelled sets with generators and banks of their own, under the seeds "
                       "in turn, where the dataset can draw them: the toy world (default: 1; as many as seeds tells most)")
    words.add_argument("--classes", nargs="+", default=[], metavar="CLASS", help="categories that mIoU* is over (default: all)")
    words.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="these rows of the table alone, by their names; runs stay, and the whole "
                       "table is the same command without this (default: all)")
    words.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="these segmenters alone, of those that the table's rows stand for in "
                       "turn: R50, 'R50 pre-trained' (default: all)")
    words.add_argument("--output", default="", metavar="DIR", help="folder of all artefacts (default: output/reproduce/DATASET)")
    words.add_argument("--cores", type=int, metavar="N", help="CPU cores to use, where stages take one each (default: 2, or 1 where there is but one)")
    words.add_argument("--replicates", type=int, default=1000, metavar="N", help="draws of test images and seeds for the intervals (default: 1000)")
    words.add_argument("--dry-run", action="store_true", help="print every command, what it is expected to take, and what is missing; run nothing")
    words.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="the dataset's variables, such as imgsyn 16 or gpus 4")
    return words


def main() -> None:
    given = parser().parse_intermixed_args()
    from seggen_d2.recipes.reproduction import Request, dry_run, plan_table, reproduce
    from seggen_d2.recipes.runner import usable_cores

    command = shlex.join(["python", "tools/reproduce.py", *sys.argv[1:]])
    made = plan_table(Request(given.table, given.dataset, given.scale, given.task, given.engine, given.seeds, tuple(given.classes), given.replications,
                              given.output, parse_overrides(given.overrides), command, tuple(given.rows), tuple(given.models)))
    if given.dry_run:
        print(dry_run(made))
        return
    folder = reproduce(made, usable_cores(given.cores), replicates=given.replicates)
    print(f"done: {folder / 'table.md'}, {folder / 'table.html'}")


if __name__ == "__main__":
    run_command(main)

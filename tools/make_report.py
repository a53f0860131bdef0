#!/usr/bin/env python
"""Write results.json and report.html: the pipeline in pictures, settings over seeds with intervals, IoU a category, time and memory.

Runs are folders SETTING-seedN that train_net.py has finished (settings: real, real+seggen, real+imgsyn, real+masksyn,
synthetic, pretrain-finetune, or names of your own; pretrained-NAME is compared with pretrained-real). The page is one file that needs no network.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runs", required=True, nargs="+", metavar="DIR", help="run folders, or folders that hold them")
    words.add_argument("--dataset", required=True, metavar="FILE", help="YAML of the real training data")
    words.add_argument("--test", default="", metavar="FILE", help="YAML or name of the test set: with the predictions that runs saved of it "
                       "(TEST.SAVE_PREDICTIONS True) intervals are over its images, too")
    words.add_argument("--bank", action="append", default=[], metavar="DIR", help="a bank; give it once for each")
    words.add_argument("--stages", metavar="FILE", help="stages.json, as the recipe runner writes it")
    words.add_argument("--note", action="append", default=[], metavar="TEXT", help="what a reader must know besides, such as where settings were "
                       "chosen; may be given again")
    words.add_argument("--title", default="SegGen", help="the page's title")
    words.add_argument("--output", required=True, metavar="FOLDER", help="folder for results.json and report.html")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.evaluation.report import make_report

    print(make_report(given.runs, given.dataset, given.bank, given.output, stages=given.stages, test=given.test, title=given.title, notes=given.note))


if __name__ == "__main__":
    run_command(main)

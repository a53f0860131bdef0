#!/usr/bin/env python
"""Will a bank help? Asked before days of training: statistics, and short trainings on part of the real training set.

The real images are divided into folds. Small segmenters are trained on all but one fold, with the bank at each --p-aug and
without it, and tested on the fold held out; samples made from held-out images are kept from them. The test set has no part
in it. What is told: whether the bank helps, harms, or no difference was seen, overall and for each class, each with its
interval over images and trainings; which p_aug and filter to use (p_aug 0: none); and what may stand behind it.

Several banks are drawn from together, as one training does; ask about each by a command of its own to compare them.
Written to DIR: advice.html, advice.json, and the probes. The same command goes on after a stop; finished probes are not run
again, and with one --runs folder for several banks the probes of real data alone are run once. docs/advise.md tells more.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLES = r"""
examples:
  python tools/advise.py output/quickstart/banks/masksyn output/quickstart/banks/imgsyn \
      --dataset output/quickstart/data/train/dataset.yaml --output output/advice/both
  python tools/advise.py banks/imgsyn --dataset camvid_train --output output/advice/camvid --backbone resnet50 --weights weights/resnet-50 \
      --group-pattern '^[^_]+' --p-aug 0.3 0.6 --filter scores/quality
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("banks", nargs="+", metavar="BANK", help="banks' folders or URLs")
    words.add_argument("--dataset", required=True, metavar="NAME", help="the real training set: a dataset YAML, or the name in one below datasets/")
    words.add_argument("--output", required=True, metavar="DIR", help="folder of the advice")
    words.add_argument("--p-aug", nargs="+", type=float, default=[0.3, 0.6], metavar="P", dest="p_augs", help="what is tried beside 0 (default: 0.3 0.6)")
    words.add_argument("--filter", nargs="+", default=[], metavar="NAME", dest="filters",
                       help="filters that the banks hold (score_bank.py --scores filter), tried beside the banks as they are: scores/NAME[:READING]")
    words.add_argument("--runs", default="", metavar="DIR", help="folder of the probes, that several commands may share (default: OUTPUT/probes)")
    words.add_argument("--replicates", type=int, default=2000, metavar="N", help="bootstrap draws (default: %(default)s)")
    probe = words.add_argument_group("the probes (0 or nothing: by the images' size; up to 96 px as they are, larger ones at 224 px)")
    probe.add_argument("--folds", type=int, default=3, metavar="N", help="parts of the real images, each held out once (default: %(default)s)")
    probe.add_argument("--seeds", type=int, default=2, metavar="N", help="trainings a fold, for each way of training (default: %(default)s)")
    probe.add_argument("--iterations", type=int, default=0, metavar="N", help="of each training (default: 600, for larger images 2000)")
    probe.add_argument("--batch", type=int, default=8, metavar="N", help="images an iteration (default: %(default)s)")
    probe.add_argument("--lr", type=float, default=3e-3, metavar="X", dest="base_lr",
                       help="learning rate; a tenth for a pre-trained backbone (default: %(default)s)")
    probe.add_argument("--backbone", default="", metavar="NAME", help="plain, or a name of MODEL.BACKBONE.NAME (default: plain, for larger images resnet18)")
    probe.add_argument("--weights", default="", metavar="FOLDER", help="pre-trained weights of the backbone, a transformers folder; wanted for photos")
    probe.add_argument("--size", type=int, default=0, metavar="N", help="pixels of the shortest edge that images are brought to")
    probe.add_argument("--crop", type=int, default=0, metavar="N", help="pixels a side that are cut out to train on (default: the size)")
    probe.add_argument("--images", type=int, default=0, metavar="N", help="use N real images, spread evenly (default: all)")
    probe.add_argument("--held-out", type=int, default=500, metavar="N", help="images a fold that are tested on, at most (default: %(default)s)")
    probe.add_argument("--group-pattern", default="", metavar="REGEX",
                       help="finds an image's group in its id; groups, such as frames of one video, are held out together")
    probe.add_argument("--workers", type=int, default=0, metavar="N", help="processes that read images (default: %(default)s)")
    probe.add_argument("--device", default="", help="cpu, cuda:0 ... (default: a GPU where there is one)")
    return words


def main() -> None:
    given = vars(parser().parse_args())
    from seggen_d2.advising.advise import advise
    from seggen_d2.advising.options import ProbeOptions
    from seggen_d2.advising.words import summary

    banks, dataset, output, p_augs, filters, runs, replicates = (
        given.pop(key) for key in ("banks", "dataset", "output", "p_augs", "filters", "runs", "replicates"))
    found = advise(banks, dataset, output, options=ProbeOptions(**given), p_augs=tuple(p_augs), filters=filters, runs=runs, replicates=replicates)
    print(summary(found))
    print(f"\nwritten: {output}/advice.html, {output}/advice.json")


if __name__ == "__main__":
    run_command(main)

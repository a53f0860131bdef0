#!/usr/bin/env python
"""Quality figures of a synthetic bank, printed, and written beside it as scores/NAME/: summary.json, and a row a sample.

alignment   a segmenter trained on real images against the bank's masks: mIoU (semantic), PQ and mIoU (panoptic), best IoU (instance)
features    FID-like and KID-like distance to the real images in a network's features, and each sample's nearest real photo there
photos      each sample's nearest real photo at 16 x 16 pixels: photos that were learned by heart
layouts     each sample's nearest real mask, its own source left out: copies; and how different the bank's masks are
histogram   the pixels of each class against the real masks
captions    the classes that the caption names against those in the mask
filter      where asked for: pixels or segments that the segmenter doubts, masks without them and with its own labels there, samples to
            drop, and weights to draw by: train with SEGGEN.FILTER scores/NAME (or scores/NAME:relabel). docs/filtering.md

The bank itself is only read. The same command goes on after a stop, and makes nothing twice. Any column of numbers serves as
weights: SEGGEN.SAMPLING weighted SEGGEN.SAMPLE_WEIGHTS scores/NAME:miou. docs/scoring.md tells what each figure means.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLES = """
examples:
  python tools/score_bank.py output/quickstart/banks/masksyn --dataset output/quickstart/data/train/dataset.yaml \\
      --segmenter output/quickstart/runs/real-seed0 --test output/quickstart/data/test/dataset.yaml
  python tools/score_bank.py s3://bucket/banks/imgsyn --dataset ade20k/train.yaml --features dinov2-small --scores features photos --limit 20000
  python tools/score_bank.py output/quickstart/banks/masksyn --dataset output/quickstart/data/train/dataset.yaml \\
      --segmenter output/quickstart/runs/real-seed0 --test output/quickstart/data/val/dataset.yaml --scores filter --name noise
"""
KINDS = ("alignment", "features", "photos", "layouts", "histogram", "captions", "filter")
MARKS = ("segments", "pixels", "freemask")
FILTER = ("marks", "reference", "tolerance", "drop_above", "hardness", "rarity")


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("bank", help="the bank's folder or URL")
    words.add_argument("--dataset", required=True, metavar="FILE", help="dataset YAML of the real images that the generators were trained on")
    words.add_argument("--segmenter", default="", metavar="RUN", help="a finished training on real images: its folder, or its model_final")
    words.add_argument("--features", default="", metavar="FOLDER",
                       help="an image model in transformers' layout, such as DINOv2 or CLIP (default: the segmenter's backbone)")
    words.add_argument("--test", default="", metavar="FILE",
                       help="dataset YAML of a real held-out set: the segmenter's figures there are the scale of alignment")
    words.add_argument("--synonyms", default="", metavar="FILE", help="YAML of other words for categories in captions: person: [man, woman]")
    words.add_argument("--name", default="quality", help="of the folder scores/NAME (default: %(default)s)")
    words.add_argument("--scores", nargs="+", default=[], choices=KINDS, metavar="KIND",
                       help="some of the above (default: all that the options allow, but filter)")
    words.add_argument("--limit", type=int, default=0, metavar="N", help="score N samples, spread evenly over the bank (default: all)")
    words.add_argument("--batch", type=int, default=8, metavar="N", help="images at once (default: %(default)s)")
    words.add_argument("--page", default="", metavar="OUT", help="also write the figures, the worst aligned samples and the nearest photos to this HTML file")
    words.add_argument("--device", default="auto", help="auto, cpu, cuda:0 ... (default: %(default)s)")
    own = words.add_argument_group("filter", "what is doubted, dropped, and drawn more often")
    own.add_argument("--marks", choices=MARKS, default="segments",
                     help="doubt whole segments, or pixels, where the segmenter sees another class, or (freemask) pixels whatever it sees "
                     "(default: %(default)s)")
    own.add_argument("--reference", choices=("auto", "bank", "test"), default="auto",
                     help="whose mean loss of a class is the measure: the bank's own, or that of the --test set (default: test where there is one)")
    own.add_argument("--tolerance", type=float, default=2.0, metavar="T", help="doubt from a loss of T times the class's mean on (default: %(default)s)")
    own.add_argument("--drop-above", type=float, default=3.0, metavar="T",
                     help="drop a sample whose loss is more than T times what is usual for its classes (default: %(default)s)")
    own.add_argument("--hardness", type=float, default=1.0, metavar="P",
                     help="power of a mask's hardness in its weight, the mean loss of its classes; 0 leaves it out (default: %(default)s)")
    own.add_argument("--rarity", type=float, default=0.5, metavar="P",
                     help="power of one over the share of samples that hold a mask's rarest class; 0 leaves it out (default: %(default)s)")
    return words


def main() -> None:
    given = vars(parser().parse_args())
    from seggen_d2.scoring.filtering import FilterOptions
    from seggen_d2.scoring.report import summary_text
    from seggen_d2.scoring.run import ScoringOptions, score_bank

    bank, name, page = (given.pop(key) for key in ("bank", "name", "page"))
    given |= {"scores": tuple(given["scores"]), "filter": FilterOptions(**{key: given.pop(key) for key in FILTER})}
    print(summary_text(score_bank(bank, ScoringOptions(**given), name, page)))
    print(f"\nwritten: {bank}/scores/{name}" + (f", {page}" if page else ""))


if __name__ == "__main__":
    run_command(main)

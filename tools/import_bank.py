#!/usr/bin/env python
"""Make a bank of images and masks that exist already: another project's synthetic data, a renderer's, a dataset.

Give a folder of images with a folder of masks (single-channel PNGs of ids, masks/a/b.png for images/a/b.jpg), or a
dataset's YAML file (semantic, or COCO's panoptic and instance formats; see datasets/README.md). JPEGs are copied byte
for byte, other images become JPEG. Finished shards are the resume state: after any stop, the same command goes on, and
shards that were damaged meanwhile are made anew.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from seggen_d2.foundation.cli import run_command

EXAMPLES = r"""
examples:
  FreeMask's images of ADE20K, for the label space of Detectron2's dataset; ADE_train_00000001_3.jpg was made for
  ADE_train_00000001, so that SEGGEN.SAMPLING paired works:
    python tools/import_bank.py --images freemask/images --masks ADEChallengeData2016/annotations/training --reduce-zero \
        --like ade20k_sem_seg_train --source-pattern '(.+)_\d+$' --licence "see FreeMask's terms" --output banks/freemask

  renderings of a game, with three categories of their own:
    python tools/import_bank.py --images renders/rgb --masks renders/ids --categories road sky car \
        --strategy render --licence CC-BY-4.0 --output banks/renders

  COCO panoptic or instance data:
    python tools/import_bank.py --dataset my_panoptic.yaml --output banks/mine
"""


def parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=form)
    words.add_argument("--dataset", metavar="FILE", help="dataset YAML; in place of the five arguments below")
    words.add_argument("--images", type=Path, metavar="DIR", help="folder of images, read recursively")
    words.add_argument("--masks", type=Path, metavar="DIR", help="folder of masks")
    words.add_argument("--categories", nargs="+", metavar="NAME", help="names in the order of their ids, or one file: .txt (a name a line), "
                       ".yaml (a list of names, or of {name: car, isthing: true} for countable things; alone or under the key categories), "
                       ".json (COCO's list)")
    words.add_argument("--like", metavar="DATASET", help="take the categories from a dataset that Detectron2 knows, to the letter (needs Detectron2)")
    words.add_argument("--ignore-id", type=int, default=255, help="the masks' id of unlabelled pixels, with --categories (default: 255)")
    words.add_argument("--reduce-zero", action="store_true", help="masks hold 0 for unlabelled and ids from 1, as ADE20K's do")
    words.add_argument("--output", required=True, metavar="BANK", help="the bank's folder, or a URL such as s3://bucket/bank")
    words.add_argument("--strategy", default="imgsyn", help="what the samples are: imgsyn, masksyn, or a word of your own (default: imgsyn)")
    words.add_argument("--source-pattern", default="", metavar="REGEX",
                       help="finds the name of the real image in a file's stem: its first group, or all it matches (default: the path in its folder); "
                       "an image without a mask of its own name has that one's")
    words.add_argument("--licence", default="not stated", help="of the images; kept in bank.json")
    words.add_argument("--quality", type=int, default=95, help="of images that are not JPEG yet (default: 95)")
    words.add_argument("--limit", type=int, default=0, help="import the first so many (default: all)")
    words.add_argument("--shard-size", type=int, default=1000, help="samples a shard (default: 1000)")
    words.add_argument("--keep-going", action="store_true", help="leave out images that cannot be used, and list them in the bank")
    words.add_argument("--no-check", action="store_true", help="trust the shards that are there by their length, instead of reading them for damage")
    words.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1), help="images read at once")
    return words


def open_source(given: argparse.Namespace):
    """The dataset that the arguments name."""
    from seggen_d2.foundation.errors import SegGenError
    from seggen_d2.sources import FolderSource, load_dataset
    from seggen_d2.sources.category_list import read_categories

    of_folder = (given.images, given.masks, given.categories or given.like)
    if given.dataset and not any(of_folder):
        return load_dataset(given.dataset)
    folder_words = ("images", "masks", "categories", "like")
    pairs = [("dataset", word) for word in folder_words] + [("categories", "like")]
    for one, other in pairs:
        if getattr(given, one) and getattr(given, other):
            raise SegGenError(f"--{one} and --{other} exclude each other", remedy="leave one of them out",
                              expected="--dataset FILE, whose file names its own categories, or --images DIR --masks DIR with --categories or --like")
    if not all(of_folder):
        raise SegGenError("what to import is not clear", remedy="see --help",
                          expected="--dataset FILE, or --images DIR --masks DIR with --categories or --like")
    if given.like:
        from seggen_d2.plugin import categories_like

        categories = categories_like(given.like, "semantic")
    else:
        categories = read_categories(given.categories, given.ignore_id)
    return FolderSource(given.images.absolute().name, given.images, given.masks, categories)


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.bank import ImportOptions, import_bank

    names = ("strategy", "source_pattern", "quality", "reduce_zero", "shard_size", "limit", "keep_going")
    options = ImportOptions(**{name: getattr(given, name) for name in names})
    summary = import_bank(open_source(given), given.output, options, licence=given.licence, threads=given.threads, check=not given.no_check)
    print(f"bank {given.output}: {summary}")
    if summary.may_be_shifted and (given.like or "").startswith("ade20k_"):
        print(f"warning: ADE20K's own masks hold 0 for unlabelled, and none of these pixels is: unless they were prepared for {given.like}, "
              f"each label is one class off. Remove {given.output} and give --reduce-zero", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)

#!/usr/bin/env python
"""Your own photos and masks, or your own COCO JSON, to what training reads.

Give photos with single-channel PNG masks of ids, or RGB masks with a table of their colours, or a COCO JSON (instance or
panoptic). Every mask is checked: its size, its ids. OUTPUT gets train.yaml and val.yaml, converted masks where they must
be converted (photos are never copied), and configs for all that follows: real.yaml and real+seggen.yaml (the segmenter;
real+imgsyn, real+masksyn, synthetic and pretrain-finetune.yaml beside them), text2mask.yaml and mask2img.yaml (the
generators; -24gb for one 24 GB GPU), synthesis.yaml (a pilot bank) and synthesis-full.yaml. The same command again does
nothing twice, and goes on after a stop.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.sources.preparing.command import add_arguments, finish

EXAMPLES = r"""
examples:
  masks of ids, a tenth of the photos to validate on:
    python datasets/prepare_folder.py --images my/photos --masks my/masks --categories road sky car --things car --output datasets/mine

  video frames: all of one video on one side
    ... --group-pattern '^[^_]+'

  RGB masks; label_colors.txt holds lines such as `128 64 128 road`
    python datasets/prepare_folder.py --images my/photos --masks my/colored --colors label_colors.txt --output datasets/mine

  a COCO JSON of objects, or of segments (then with --masks)
    python datasets/prepare_folder.py --images my/photos --json my/instances.json --output datasets/mine
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = words.add_argument_group("what you have")
    what.add_argument("--images", required=True, metavar="DIR", help="photos, read recursively")
    what.add_argument("--masks", default="", metavar="DIR", help="masks: DIR/a/b.png for the photo a/b.jpg; with a panoptic JSON, its PNGs")
    what.add_argument("--mask-name", default="{}.png", metavar="NAME", help="the masks' names, {} for the photo's without ending (default: {}.png)")
    what.add_argument("--categories", nargs="+", default=[], metavar="NAME", help="in the order of their ids from 0; or one file: .txt (a name a line), "
                      ".yaml, .json (COCO's list)")
    what.add_argument("--things", nargs="+", default=[], metavar="NAME", help="those that can be counted: captions count them")
    what.add_argument("--colors", default="", metavar="TABLE", help="masks are RGB, of these colours: .txt `r g b name`, .csv name,r,g,b, "
                      ".json or .yaml {name: [r, g, b]}; the name void is unlabelled")
    what.add_argument("--reduce-zero", action="store_true", help="masks hold 0 for unlabelled and ids from 1")
    what.add_argument("--map-id", dest="changed", action="append", default=[], metavar="FROM=TO", help="change an id; repeat it for more")
    what.add_argument("--ignore-id", type=int, default=255, help="the id of unlabelled pixels (default: 255)")
    what.add_argument("--json", default="", metavar="FILE", help="a COCO JSON in place of masks of ids")
    split = words.add_argument_group("what to validate on: a share, or lists, or a set of its own")
    split.add_argument("--val-share", type=float, default=0.1, help="by the photos' names, so that it stays the same (default: 0.1)")
    split.add_argument("--group-pattern", default="", metavar="REGEX", help="finds the group in a photo's name (a video, a place): groups are never torn apart")
    split.add_argument("--train-list", default="", metavar="FILE", help="names of photos (path below --images without ending), one a line")
    split.add_argument("--val-list", default="", metavar="FILE", help="likewise")
    split.add_argument("--val-images", default="", metavar="DIR", help="photos of a validation set")
    split.add_argument("--val-masks", default="", metavar="DIR", help="its masks")
    split.add_argument("--val-json", default="", metavar="FILE", help="its COCO JSON")
    made = words.add_argument_group("what is made")
    made.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for dataset files, configs and converted masks")
    made.add_argument("--name", default="", help="of the dataset (default: the output folder's)")
    made.add_argument("--limit", type=int, default=0, help="the first so many photos of each side, to try things out (default: all)")
    add_arguments(made)
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.sources.preparing.folder import FolderOptions, prepare_folder

    given.name = given.name or given.output.resolve().name
    keys = {field.name: getattr(given, field.name) for field in fields(FolderOptions)}
    options = FolderOptions(**{key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()})
    finish(prepare_folder(options, given.output, workers=given.workers), given, given.name)


if __name__ == "__main__":
    run_command(main)

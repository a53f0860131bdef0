#!/usr/bin/env python
"""Caption every image of a labelled dataset, into a Parquet table that the generators read.

  label-list  says what each mask holds: "a street with a road, two cars and a sky"; needs no model; in one or more orders
  blip2       describes the picture by BLIP-2, in one or more captions an image

With --attributes-from, each image has edits of its captions besides, whose looks, light and weather are drawn again from
what another table says of the same categories. What is in the picture stays. Banks are made from the edits; generators
are trained on what describes the image. Made again by each run: the same command without these options leaves them out.
How varied captions and edits are: python -m seggen_d2.captions variety (docs/captions.md).

A stopped run goes on with the same command. Several GPUs share the work:
  accelerate launch --num_processes 4 tools/make_captions.py --captioner blip2 --beams 1x5 --nucleus 3 ...
The published BLIP-2 models differ in licence: blip2-flan-t5-xl allows commercial use, blip2-opt-2.7b does not. The table
tells which one was used. In bfloat16 both take some 9 GB of GPU memory, and more with the batch.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--dataset", required=True, help="dataset YAML of any task (see datasets/README.md)")
    words.add_argument("--output", required=True, type=Path, help="folder for captions.parquet")
    words.add_argument("--captioner", default="label-list", choices=("label-list", "blip2"))
    words.add_argument("--batch", type=int, default=8, help="images at once (default 8)")
    words.add_argument("--device", default="auto", help="of BLIP-2: auto (a GPU where there is one), cpu, cuda:0, ...")
    own = words.add_argument_group("edits")
    own.add_argument("--attributes-from", default="", metavar="TABLE", help="a captions.parquet, of unlabelled images say: attributes are drawn from it")
    own.add_argument("--redraws", type=int, default=8, help="edits an image at most (default 8); sample r of an image takes edit r, in turn")
    own.add_argument("--least-said", type=int, default=2, metavar="N", help="leave out attributes that TABLE says of a category less than N times (default 2)")
    own.add_argument("--rare-below", type=float, default=0, metavar="SHARE", help="categories that less than this share of the images' captions name are rare: "
                     "images with them have sqrt(SHARE / their share) times as many MaskSyn samples and edits (default 0: none)")
    own = words.add_argument_group("label-list")
    own.add_argument("--scene", default="a scene", help="the words each caption opens with, e.g. 'a street'")
    own.add_argument("--min-share", type=float, default=0.002, help="leave out categories under this share of an image")
    own.add_argument("--max-names", type=int, help="at most so many categories a caption (10) or in BLIP-2's prompt (8)")
    own.add_argument("--orders", type=int, default=1, metavar="N", help="captions an image: by area, then N - 1 in orders that are drawn (default 1)")
    own = words.add_argument_group("blip2")
    own.add_argument("--model", default="Salesforce/blip2-flan-t5-xl", help="folder or hub name (default %(default)s)")
    own.add_argument("--licence", default="", help="of the model's weights, where it is not a published one")
    own.add_argument("--beams", default="1x5", help="captions by beam search x beams kept; 0 for none (default 1x5)")
    own.add_argument("--nucleus", type=int, default=0, help="captions by nucleus sampling, after those (default 0)")
    own.add_argument("--top-p", type=float, default=0.9, help="nucleus: draw from the likeliest tokens that reach this together")
    own.add_argument("--temperature", type=float, default=1.0, help="nucleus: above 1 more varied, below 1 safer")
    own.add_argument("--max-tokens", type=int, default=40, help="the longest caption; the generators read 77 tokens")
    own.add_argument("--prompt", default="", help="words to go on from; {labels} becomes what the mask holds")
    own.add_argument("--label-prompt", action="store_true", help="ask with the mask's categories (a ready prompt with {labels})")
    own.add_argument("--blocklist", default="", help="file of phrases that no caption may hold, one a line; 'none' for none")
    own.add_argument("--seed", type=int, default=0, help="changes every draw: of nucleus sampling, orders and edits")
    own.add_argument("--dtype", default="auto", help="auto (bfloat16 on a GPU), float32, bfloat16, float16")
    return words


def main() -> None:
    args = parser().parse_args()
    from seggen_d2.captions.blip2 import LABEL_PROMPT, Blip2Options
    from seggen_d2.captions.edits import EditOptions
    from seggen_d2.captions.job import TABLE, CaptionOptions, LabelListOptions, make_captions, parse_beams, told

    beams, width = parse_beams(args.beams)
    blip2 = Blip2Options(
        model=args.model, licence=args.licence, beams=beams, width=width, nucleus=args.nucleus, top_p=args.top_p,
        temperature=args.temperature, max_tokens=args.max_tokens, prompt=LABEL_PROMPT if args.label_prompt else args.prompt,
        max_names=args.max_names or 8, blocklist=args.blocklist, seed=args.seed, dtype=args.dtype,
    )
    labels = LabelListOptions(args.scene, args.min_share, args.max_names or 10, args.orders, args.seed)
    edits = EditOptions(args.attributes_from, args.redraws, args.least_said, args.rare_below, args.seed)
    make_captions(CaptionOptions(args.dataset, args.captioner, labels, blip2, edits), args.output, batch=args.batch, device=args.device)
    print(told(args.output / TABLE))


if __name__ == "__main__":
    run_command(main)

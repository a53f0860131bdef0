#!/usr/bin/env python
"""Caption every image of a labelled dataset, into a Parquet table that the generators read.

The label-list captioner says what each label map holds: "a street with a road, two cars and a sky".
A stopped run goes on with the same command.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.foundation.options import check_same_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="dataset YAML (see datasets/README.md)")
    parser.add_argument("--output", required=True, type=Path, help="folder for captions.parquet")
    parser.add_argument("--scene", default="a scene", help="the words each caption opens with, e.g. 'a street'")
    parser.add_argument("--min-share", type=float, default=0.002, help="leave out categories under this share of an image")
    parser.add_argument("--max-names", type=int, default=10, help="at most so many categories a caption")
    args = parser.parse_args()
    from seggen_d2.captions import LabelListCaptioner, caption_dataset
    from seggen_d2.sources import load_dataset

    check_same_options(args.output, {**vars(args), "output": str(args.output)})
    source = load_dataset(args.dataset, task="semantic")
    captioner = LabelListCaptioner(source.categories, scene=args.scene, min_share=args.min_share, max_names=args.max_names)
    captions = caption_dataset(source, captioner, args.output / "captions.parquet")
    print(f"{len(captions)} captions in {args.output / 'captions.parquet'}, such as: {next(iter(captions.values()))!r}")


if __name__ == "__main__":
    run_command(main)

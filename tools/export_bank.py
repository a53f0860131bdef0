#!/usr/bin/env python
"""Write a bank out for programs that know nothing of banks; docs/export.md shows what to do with each.

  ade20k      images/SPLIT/KEY.jpg and annotations/SPLIT/KEY.png, masks of category ids (semantic banks)
  coco        images/SPLIT/KEY.jpg and annotations/{instances,panoptic,stuff}_SPLIT.json
  webdataset  tar shards of KEY.jpg, KEY.png and KEY.json
  parquet     data/SPLIT-*.parquet for Hugging Face datasets

Each member is compared with its checksum. A stopped run goes on with the same command. LICENCES.json beside the data names the models that made it.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("bank", help="the bank's folder or URL")
    words.add_argument("--format", required=True, choices=("ade20k", "coco", "webdataset", "parquet"))
    words.add_argument("--output", required=True, type=Path, help="folder to write to")
    words.add_argument("--split", default="train", help="names folders and files (default train; '' for none)")
    words.add_argument("--shift", type=int, default=0, help="ade20k: 1 makes ignored pixels 0 and the first category 1, as ADE20K's release has them")
    words.add_argument("--masks", default="polygons", help="coco: polygons (default; every reader takes them) or rle (exact)")
    words.add_argument("--no-check", action="store_true", help="compare nothing with its checksum: faster on fast disks, for a bank that was verified")
    return words


def main() -> None:
    args = parser().parse_args()
    from seggen_d2.bank import Bank, ExportOptions, export_bank

    bank = Bank(args.bank, check=not args.no_check)
    place = export_bank(bank, args.output, ExportOptions(args.format, split=args.split, shift=args.shift, masks=args.masks))
    print(f"{len(bank)} samples of {bank.name} exported: {place}")
    print("".join(f"  {kind}: {licence}\n" for kind, licence in bank.info.licences.items()), end="")


if __name__ == "__main__":
    run_command(main)

"""Look at captions before anything is painted from them: ``python -m seggen_d2.captions variety TABLE``."""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

VARIETY = """Tell how varied a table's captions are: how many differ, which attributes captions and edits say of each category,
which share of what another table says that covers, and the share of images and of MaskSyn's samples that name it."""

EXAMPLES = """
example:
  python -m seggen_d2.captions variety out/captions/captions.parquet --dataset mine/train.yaml --attributes-from unlabelled/captions.parquet
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="python -m seggen_d2.captions", description=__doc__)
    verbs = words.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("variety", description=VARIETY, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                            help="tell how varied a table's captions are")
    verb.add_argument("table", metavar="TABLE", help="captions.parquet, with or without edits")
    verb.add_argument("--dataset", required=True, metavar="YAML", help="the dataset that they describe")
    verb.add_argument("--attributes-from", required=True, metavar="TABLE", help="captions.parquet that says which attributes there are")
    verb.add_argument("--least-said", type=int, default=2, metavar="N", help="leave out what it says of a category less than N times (default 2)")
    verb.add_argument("--json", metavar="FILE", help="write everything that was found to FILE")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.foundation.files import write_json
    from seggen_d2.sources import load_dataset

    from .coverage import variety

    found = variety(given.table, load_dataset(given.dataset).categories, given.attributes_from, given.least_said)
    print(found.text())
    if given.json:
        write_json(given.json, found.to_json())


if __name__ == "__main__":
    run_command(main)

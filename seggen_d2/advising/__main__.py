"""Check advice where the answer is known.

    python -m seggen_d2.advising spoil BANK WAY --output BANK2    a copy of a bank with a known fault:
        shuffled    each image has another sample's mask      repeated    each sample is the first one
        exchanged   two --classes have each other's labels
    python -m seggen_d2.advising check ADVICE.json TABLE.json --row NAME    advice beside what full trainings gave (a table of
        tools/make_table.py or tools/reproduce.py): verdict and signs of the classes; exit code 1 where they contradict each other
"""

from __future__ import annotations

import argparse
import sys

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser("python -m seggen_d2.advising", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = words.add_subparsers(dest="verb", required=True)
    spoil = verbs.add_parser("spoil", help="write a bank with a known fault")
    spoil.add_argument("bank", metavar="BANK", help="folder or URL of a sound bank")
    spoil.add_argument("way", choices=["shuffled", "repeated", "exchanged"])
    spoil.add_argument("--output", required=True, metavar="BANK2", help="folder or URL of the copy")
    spoil.add_argument("--classes", nargs=2, default=(), metavar="NAME", help="the two classes of exchanged")
    spoil.add_argument("--seed", type=int, default=0, help="of shuffled (default: %(default)s)")
    check = verbs.add_parser("check", help="compare advice with full trainings")
    check.add_argument("advice", metavar="ADVICE.json")
    check.add_argument("table", metavar="TABLE.json")
    check.add_argument("--row", required=True, metavar="NAME", help="the table's row of trainings with the bank; it is compared with real data alone")
    check.add_argument("--column", default="", metavar="NAME", help="the table's column (default: the first)")
    return words


def main() -> None:
    given = vars(parser().parse_args())
    if given.pop("verb") == "spoil":
        from .controls import spoil

        count = spoil(given.pop("bank"), given["output"], given["way"], classes=given["classes"], seed=given["seed"])
        print(f"{given['output']}: {count} samples, {given['way']}")
        return
    from .checking import check, check_text

    found = check(given["advice"], given["table"], given["row"], given["column"])
    print(check_text(found))
    sys.exit(1 if found.contradicted else 0)


if __name__ == "__main__":
    run_command(main)

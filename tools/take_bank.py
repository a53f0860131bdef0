#!/usr/bin/env python
"""Take the beginning of a bank as a bank of its own: what a smaller budget would have made, without making it.

A bank's samples come in rounds over the real images, so the first x4 of a bank of x16 are the bank of x4. Files are linked where
that is possible, and cost no disk. For the plot of the gain against the bank's size: docs/cheaper-banks.md.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLES = """
examples:
  python tools/take_bank.py output/quickstart/banks/imgsyn --replicas 2 --output output/quickstart/banks/imgsyn-x2
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("bank", help="folder or URL of the bank to take from; it is only read")
    words.add_argument("--samples", type=int, default=0, metavar="N", help="the first so many planned ones; those that were rejected count, as in a budget")
    words.add_argument("--replicas", type=int, default=0, metavar="N", help="so many of each real image, in place of --samples")
    words.add_argument("--output", required=True, metavar="BANK", help="folder or URL of the bank that is made")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.bank.taking import take_bank

    print(take_bank(given.bank, given.output, samples=given.samples, replicas=given.replicas))


if __name__ == "__main__":
    run_command(main)

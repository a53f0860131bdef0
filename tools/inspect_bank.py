#!/usr/bin/env python
"""Look at a bank: one HTML file that needs no network and no server.

Samples as image, overlay and mask, with the class under the pointer; filters by class, strategy, score and words of the
caption; real images beside what was made from them (--dataset); class frequencies; and what was rejected, and why.
A bank of more than --samples is drawn from, each class included, and the page says so.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("bank", help="the bank's folder or URL")
    words.add_argument("--output", type=Path, default=Path("bank.html"), help="the page (default bank.html)")
    words.add_argument("--dataset", default="", help="YAML of the real data, to show it beside the samples")
    words.add_argument("--samples", type=int, default=200, help="at most so many samples; each adds 20 to 40 KB (default 200)")
    words.add_argument("--side", type=int, default=256, help="longer side of the pictures, pixels (default 256)")
    words.add_argument("--real", type=int, default=2000, help="real masks that are read for frequencies at most (default 2000)")
    words.add_argument("--seed", type=int, default=0, help="another draw of samples")
    return words


def main() -> None:
    args = parser().parse_args()
    from seggen_d2.bank import Bank
    from seggen_d2.bank.inspect import InspectOptions, inspect_bank

    options = InspectOptions(samples=args.samples, side=args.side, real=args.real, seed=args.seed)
    page = inspect_bank(Bank(args.bank), args.output, options, dataset=args.dataset)
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    run_command(main)

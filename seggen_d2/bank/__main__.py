"""Look after a bank.

    python -m seggen_d2.bank verify BANK     reads every byte; names damaged shards and members, exit code 1 if there are any
    python -m seggen_d2.bank summary BANK    samples, categories, rejections, and the licences of what made them

BANK is a folder, or a URL such as s3://bucket/bank. Damaged shards are made anew by the command that made the bank.
"""

from __future__ import annotations

import argparse
import sys

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser("python -m seggen_d2.bank", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=["verify", "summary"])
    words.add_argument("bank", metavar="BANK", help="folder or URL")
    return words


def main() -> None:
    given = parser().parse_args()
    if given.what == "summary":
        from .importing import summarize
        from .info import read_info

        info = read_info(given.bank)
        print(f"bank {given.bank}, {info.task}: {summarize(given.bank, info)}")
        print("\n".join(f"{kind}: licence {licence}" for kind, licence in info.licences.items()))
        return
    from .verify import find_damage

    damages = 0
    for damages, damage in enumerate(find_damage(given.bank), start=1):  # noqa: B007
        print(damage, flush=True)
    print(f"{given.bank}: {damages or 'nothing'} damaged" + (
        "; give the command that made the bank again: damaged shards are made anew" if damages else ""))
    sys.exit(1 if damages else 0)


if __name__ == "__main__":
    run_command(main)

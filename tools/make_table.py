#!/usr/bin/env python
"""Write a table of runs beside the paper's: table.md and table.json, from a plan and the runs' saved predictions.

Each row is a setting, its figure the mean over training seeds. The difference to the row that it is compared with comes
with a 95% interval: test images and training seeds are drawn anew with replacement (the same for both rows), so it tells what
other test images and other trainings would change; few seeds widen it. 'better' and 'worse' are said where it excludes zero.

Runs are needed with their predictions (train_net.py ... TEST.SAVE_PREDICTIONS True). Those that are missing are listed, and
are an error unless --partial is given. Nothing is trained here, and the same command writes the same table.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLES = """
examples:
  python tools/make_table.py --plan output/reproduce/toy/tables/gain-semantic-transformers/plan.json --output tables/again
  python tools/make_table.py --plan plan.json --output tables/mine --partial --replicates 200
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--plan", required=True, metavar="FILE", help="plan.json: columns, rows, runs and the paper's figures; tools/reproduce.py writes one")
    words.add_argument("--output", required=True, metavar="DIR", help="folder of the table; the runs' resolved configs are copied to DIR/configs")
    words.add_argument("--replicates", type=int, default=1000, metavar="N",
                       help="draws of test images and seeds behind each interval (default: %(default)s); fewer are quicker, and the interval's ends rougher")
    words.add_argument("--partial", action="store_true", help="write the table although runs are missing; their cells say so")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.evaluation.comparison import make_table

    print(make_table(given.plan, given.output, replicates=given.replicates, partial=given.partial))


if __name__ == "__main__":
    run_command(main)

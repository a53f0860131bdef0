#!/usr/bin/env python
"""Draw a finished table's rows against what their banks cost: chart.svg, chart.html and chart.json beside the table.

samples      the bank's size: the gain against x1, x2, ... x50
evaluations  of the UNets a sample, counted: samplers and steps
seconds      a sample and worker, as measured
cpu          seconds of processor time a sample: for machines that do other work meanwhile, and have no GPU

Evaluations and both kinds of seconds are those of banks made by tools/synthesize.py --estimate. Rows without banks are drawn as lines.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLES = """
examples:
  python tools/chart_table.py output/reproduce/toy/tables/bank-size-semantic-transformers --by samples
  python tools/chart_table.py output/reproduce/toy/tables/sampling-semantic-transformers --by evaluations
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("table", metavar="DIR", help="folder of table.json, from the same working directory as the trainings")
    words.add_argument("--by", required=True, choices=("samples", "evaluations", "seconds", "cpu"), help="the cost")
    words.add_argument("--column", default="", help="of the table (default: its first)")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.evaluation.costs import chart_table

    print(chart_table(given.table, by=given.by, column=given.column))


if __name__ == "__main__":
    run_command(main)

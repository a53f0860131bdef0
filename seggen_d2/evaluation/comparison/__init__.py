"""Tables of runs: ours beside the paper's, differences with bootstrap intervals over images and seeds; table.md, table.json and a page."""

from seggen_d2.evaluation.bootstrap import Interval, draw_images, interval

from .cells import Cell, Comparison, Difference, compare
from .make import make_table
from .plan import Column, Pair, Plan, Row, Run, read_plan

__all__ = ["Cell", "Column", "Comparison", "Difference", "Interval", "Pair", "Plan", "Row", "Run", "compare", "draw_images", "interval", "make_table",
           "read_plan"]

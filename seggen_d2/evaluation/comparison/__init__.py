"""Tables of runs: ours beside the paper's, differences with bootstrap intervals over images; table.md, table.json and a page."""

from .bootstrap import Interval, draw_images, interval
from .cells import Cell, Comparison, Difference, compare
from .make import make_table
from .plan import Column, Plan, Row, Run, read_plan

__all__ = ["Cell", "Column", "Comparison", "Difference", "Interval", "Plan", "Row", "Run", "compare", "draw_images", "interval", "make_table", "read_plan"]

"""What predictions are worth: mIoU and IoU a category, tables over seeds, and the report. Imports no framework."""

from seggen_d2.segmentation.confusion import ConfusionMatrix

from .predictions import score_folder
from .results import read_runs
from .tables import Summary, summarise, text_table

__all__ = ["ConfusionMatrix", "Summary", "read_runs", "score_folder", "summarise", "text_table"]

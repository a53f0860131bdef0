"""What predictions are worth: mIoU, PQ and AP as the field counts them, tables over seeds, and the report. Imports no framework."""

from seggen_d2.segmentation.confusion import ConfusionMatrix
from seggen_d2.segmentation.panoptic_quality import PanopticQuality

from .instances import Detection, MaskAP, TruthObject, encode_object
from .panoptic import panoptic_scores
from .predictions import score_folder
from .results import read_runs
from .scores import Scores
from .semantic import SemanticScorer
from .tables import Summary, summarise, text_table

__all__ = ["ConfusionMatrix", "Detection", "MaskAP", "PanopticQuality", "Scores", "SemanticScorer", "Summary", "TruthObject",
           "encode_object", "panoptic_scores", "read_runs", "score_folder", "summarise", "text_table"]

"""The swap: how often a real sample gives way to a synthetic one, which one, in what stages. Imports no framework."""

from .numbering import NumberedDataset, NumberedSampler
from .sampling import SAMPLINGS
from .stages import Stage, locate, stages_from
from .swap import SwapMapper

__all__ = ["SAMPLINGS", "NumberedDataset", "NumberedSampler", "Stage", "SwapMapper", "locate", "stages_from"]

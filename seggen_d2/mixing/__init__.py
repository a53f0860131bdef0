"""The swap: how often a real sample gives way to a synthetic one, which one, in what stages. Imports no framework."""

from .numbering import NumberedDataset, NumberedSampler
from .rarity import Rarity, rarity_of
from .sampling import SAMPLINGS
from .schedule import SCHEDULES, Course, Schedule
from .stages import Stage, locate, stages_from
from .swap import SwapMapper

__all__ = [
    "SAMPLINGS",
    "SCHEDULES",
    "Course",
    "NumberedDataset",
    "NumberedSampler",
    "Rarity",
    "Schedule",
    "Stage",
    "SwapMapper",
    "locate",
    "rarity_of",
    "stages_from",
]

"""The settings that are compared on one dataset: each a few lines on top of the baseline's config, as those of configs/toy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MASKSYN, IMGSYN = "masksyn", "imgsyn"
PRETRAINING = 11 / 18  # share of the iterations on synthetic samples; as in configs/toy about as many of them as by swapping
FINETUNING_RATE = 0.6  # of the baseline's learning rate, with which the rest is trained


@dataclass(frozen=True)
class Setting:
    """How a segmenter is trained, beside the baseline.

    Attributes:
        words: what it does, a sentence.
        banks: strategies whose banks it takes.
        p_aug: share of the samples that are swapped for synthetic ones; None pretrains on these, then finetunes on real ones.
    """

    words: str
    banks: tuple[str, ...]
    p_aug: float | None

    def keys(self, name: str, iterations: int, rate: float) -> dict[str, Any]:
        """The keys below SEGGEN, for the dataset ``name``, whose baseline takes ``iterations`` at learning rate ``rate``."""
        banks = {"BANKS": [f"output/{name}/banks/{strategy}" for strategy in self.banks]}
        if self.p_aug is not None:
            return {**banks, "P_AUG": self.p_aug}
        first = round(iterations * PRETRAINING)
        return {**banks, "STAGES": [{"P_AUG": 1.0, "ITERATIONS": first},
                                    {"P_AUG": 0.0, "ITERATIONS": iterations - first, "BASE_LR": rate * FINETUNING_RATE}]}


SETTINGS = {
    "real+seggen": Setting("60% of the samples are swapped for synthetic ones of both banks.", (MASKSYN, IMGSYN), 0.6),
    "real+imgsyn": Setting("60% of the samples are swapped for ImgSyn's: human masks, synthetic images.", (IMGSYN,), 0.6),
    "real+masksyn": Setting("60% of the samples are swapped for MaskSyn's: synthetic masks and images.", (MASKSYN,), 0.6),
    "synthetic": Setting("Synthetic samples alone, of both banks; real ones serve for the test.", (MASKSYN, IMGSYN), 1.0),
    "pretrain-finetune": Setting("Pretrain on synthetic samples, then finetune on real ones; together as long as the others.", (MASKSYN, IMGSYN), None),
}

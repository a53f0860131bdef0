"""Whether a Mask2Img uses its condition, told without a segmenter: by what another picture's condition costs."""

from __future__ import annotations

import torch

from seggen_d2.foundation.seeds import derive_seed

from ..examples.labelled import LabelledExamples
from ..training.objectives import Mask2ImgObjective


class ConditionUse:
    """Measures the loss on held-out pairs with their own conditions and with each other's.

    Both have the same noise and noise levels, so that a ControlNet that adds nothing makes no difference at all.

    - ``loss_held_out``: the loss with their own conditions.
    - ``loss_shuffled``: the loss with the conditions of other pictures of the batch.
    - ``gain``: by which share the own condition lowers the loss; 0 where it is ignored.

    Args:
        examples: of held-out pictures.
        batch: examples at once; two or more.
        seed: of noise and noise levels.
        autocast: half precision for the networks; None for their own.
    """

    def __init__(self, examples: LabelledExamples, *, batch: int, seed: int, autocast: torch.dtype | None = None):
        self.examples, self.batch, self.seed, self.autocast = examples, max(batch, 2), seed, autocast

    @torch.no_grad()
    def __call__(self, objective: Mask2ImgObjective) -> dict[str, float]:
        device, own, other = objective.unet.device, 0.0, 0.0
        draws = -(-len(self.examples) // self.batch)
        for draw in range(draws):
            numbers = self.examples.numbers(draw, self.batch, self.seed)
            batch = {name: value.to(device) for name, value in self.examples.batch(numbers, draw=draw, seed=self.seed).items()}
            own += self._loss(objective, batch, draw) / draws
            other += self._loss(objective, {**batch, "condition": batch["condition"].roll(1, 0)}, draw) / draws
        return {"loss_held_out": own, "loss_shuffled": other, "gain": 1 - own / other}

    def _loss(self, objective: Mask2ImgObjective, batch: dict[str, torch.Tensor], draw: int) -> float:
        noise = torch.Generator().manual_seed(derive_seed("condition-use", self.seed, draw))
        with torch.autocast(batch["condition"].device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            return float(objective(batch, noise))

"""Nucleus sampling whose draws belong to the image, not to the batch that it happens to be in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper


class SeededNucleus(LogitsProcessor):
    """Choose each row's next token by the row's own uniform numbers (Holtzman et al., 2020, "nucleus sampling").

    The scores that it returns are 0 at the chosen token and -inf elsewhere, so that ``generate(do_sample=True)`` has
    nothing left to draw. A row's numbers come from a CPU float32 generator of its seed: they are the same in any batch,
    on any device.

    Args:
        seeds: one a row, in ``generate``'s order (an image's captions follow each other).
        tokens: the most tokens that a row may have.
        top_p: the smallest set of tokens whose probabilities reach this is drawn from.
        temperature: above 1 flattens, below 1 sharpens.
    """

    def __init__(self, seeds: Sequence[int], tokens: int, *, top_p: float, temperature: float):
        draws = [torch.rand(tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        self.draws, self.step = torch.stack(draws), 0
        self.warpers = [TemperatureLogitsWarper(temperature)] if temperature != 1 else []
        self.warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """``(R, V)`` scores of the next token to ``(R, V)`` with one finite score a row."""
        kept = scores.float()
        for warper in self.warpers:
            kept = warper(input_ids, kept)
        sums = kept.softmax(-1).cumsum(-1)
        draws = self.draws[:, self.step, None].to(sums)
        self.step += 1
        chosen = torch.searchsorted(sums, draws * sums[:, -1:], right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)

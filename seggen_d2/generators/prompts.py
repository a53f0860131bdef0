"""Captions for the two text encoders: checked for length, encoded once each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from diffusers import StableDiffusionXLPipeline

from seggen_d2.foundation.errors import SegGenError

log = logging.getLogger(__name__)


def check_captions(captions: dict[str, str], pipeline: StableDiffusionXLPipeline, *, cut: bool, where: str) -> None:
    """No caption may be longer than the text encoders read (77 tokens, start and end included).

    Args:
        captions: ``{image_id: caption}``.
        cut: log what will be cut, instead of refusing it.

    Raises:
        SegGenError: some are longer and ``cut`` is false.
    """
    limit = pipeline.tokenizer.model_max_length
    texts = list(captions.values())
    lengths = [len(ids) for ids in pipeline.tokenizer(texts)["input_ids"]]
    long = [(image_id, n) for image_id, n in zip(captions, lengths, strict=True) if n > limit]
    if not long:
        return
    shown = ", ".join(f"{image_id} ({n} tokens)" for image_id, n in long[:5]) + (", ..." if len(long) > 5 else "")
    if not cut:
        raise SegGenError(f"{len(long)} of {len(captions)} captions in {where} are too long for the text encoder",
                          expected=f"at most {limit} tokens", found=shown,
                          remedy="name fewer categories (make_captions.py --max-names), or set long_captions: cut")
    log.warning("%d of %d captions in %s are cut at %d tokens: %s", len(long), len(captions), where, limit, shown)


class PromptTable:
    """Embeddings of captions, computed once.

    Args:
        pipeline: whose text encoders are used, frozen.
        captions: one an example; equal ones share a row.
    """

    @torch.no_grad()
    def __init__(self, pipeline: StableDiffusionXLPipeline, captions: Sequence[str], chunk: int = 32):
        unique = list(dict.fromkeys(captions))
        row = {caption: i for i, caption in enumerate(unique)}
        self.rows = torch.tensor([row[caption] for caption in captions])
        parts = [pipeline.encode_prompt(unique[i : i + chunk], device=pipeline.text_encoder.device, do_classifier_free_guidance=False)
                 for i in range(0, len(unique), chunk)]
        self.embeds = torch.cat([part[0].cpu() for part in parts])
        self.pooled = torch.cat([part[2].cpu() for part in parts])

    def __getitem__(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``(B,)`` example numbers to prompt embeddings ``(B, L, D)`` and pooled ones ``(B, P)``."""
        rows = self.rows[numbers]
        return self.embeds[rows], self.pooled[rows]

"""Captions for the two text encoders: checked for length, encoded, and read back from a cache's rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline

from seggen_d2.foundation.errors import SegGenError

from .latents import PRECISIONS

log = logging.getLogger(__name__)
CHUNK = 1024  # captions tokenized at once


def check_captions(captions: Mapping[str, str | Sequence[str]], pipeline: StableDiffusionXLPipeline, *, cut: bool, where: str) -> None:
    """No caption may be longer than the text encoders read (77 tokens, start and end included).

    Args:
        captions: ``{image_id: its caption or captions}``.
        cut: log what will be cut, instead of refusing it.

    Raises:
        SegGenError: some are longer and ``cut`` is false.
    """
    limit = pipeline.tokenizer.model_max_length
    pairs = [(image_id, text) for image_id, given in captions.items() for text in captions_of(given)]
    long = [(image_id, n) for (image_id, _), n in zip(pairs, _lengths(pipeline, [text for _, text in pairs]), strict=True) if n > limit]
    if not long:
        return
    shown = ", ".join(f"{image_id} ({n} tokens)" for image_id, n in long[:5]) + (", ..." if len(long) > 5 else "")
    if not cut:
        raise SegGenError(f"{len(long)} of {len(pairs)} captions in {where} are too long for the text encoder",
                          expected=f"at most {limit} tokens", found=shown,
                          remedy="name fewer categories (make_captions.py --max-names), or set long_captions: cut")
    log.warning("%d of %d captions in %s are cut at %d tokens: %s", len(long), len(pairs), where, limit, shown)


def _lengths(pipeline: StableDiffusionXLPipeline, texts: Sequence[str]) -> Iterator[int]:
    for start in range(0, len(texts), CHUNK):
        yield from map(len, pipeline.tokenizer(list(texts[start : start + CHUNK]), verbose=False)["input_ids"])


def captions_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """An image's captions, be it given one or several."""
    return (given,) if isinstance(given, str) else tuple(given)


@dataclass(frozen=True)
class TextLayout:
    """How a caption's embeddings lie in a row: prompt embeddings ``(L, D)``, then the pooled ones ``(P,)``.

    Attributes:
        tokens: L.
        width: D.
        pooled: P.
        precision: ``float16`` or ``float32``.
    """

    tokens: int
    width: int
    pooled: int
    precision: str

    @classmethod
    def of(cls, pipeline: StableDiffusionXLPipeline, precision: str) -> TextLayout:
        """The layout of a base's embeddings."""
        first, second = pipeline.text_encoder.config, pipeline.text_encoder_2.config
        return cls(pipeline.tokenizer.model_max_length, first.hidden_size + second.hidden_size, second.projection_dim, precision)

    @property
    def bytes(self) -> int:
        """Of one row."""
        return (self.tokens * self.width + self.pooled) * np.dtype(PRECISIONS[self.precision]).itemsize

    def read(self, rows: Sequence[bytes]) -> tuple[torch.Tensor, torch.Tensor]:
        """B rows to prompt embeddings ``(B, L, D)`` and pooled ones ``(B, P)``, float32."""
        values = torch.from_numpy(np.stack([np.frombuffer(row, PRECISIONS[self.precision]) for row in rows]).astype(np.float32))
        return values[:, : -self.pooled].reshape(len(rows), self.tokens, self.width), values[:, -self.pooled :]


@torch.no_grad()
def encode_captions(pipeline: StableDiffusionXLPipeline, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """B captions to prompt embeddings ``(B, L, D)`` and pooled ones ``(B, P)`` on the CPU, by the pipeline's own text encoders."""
    embeds, _, pooled, _ = pipeline.encode_prompt(list(captions), device=pipeline.text_encoder.device, do_classifier_free_guidance=False)
    return embeds.cpu(), pooled.cpu()

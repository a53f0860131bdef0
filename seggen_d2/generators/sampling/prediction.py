"""What the networks predict for one batch: embeddings of captions, ControlNet, guidance."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline

from .options import SamplerOptions


class PromptMemory:
    """Embeddings of captions, made once each and kept for the captions used last.

    A caption is encoded alone, so that its embedding never depends on which others came with it.

    Args:
        pipeline: whose text encoders are used.
        size: captions kept; SDXL's take 0.3 MB each in half precision.
    """

    def __init__(self, pipeline: DiffusionPipeline, size: int = 512):
        self.pipeline, self.size = pipeline, size
        self.kept: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()
        _, embeds, _, pooled = self._encode("", guided=True)
        self.empty = embeds, pooled  # zeros for SDXL: force_zeros_for_empty_prompt

    def __call__(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """B captions to embeddings ``(B, L, D)`` and pooled ones ``(B, P)``."""
        pairs = [self._recall(caption) for caption in captions]
        return torch.cat([embeds for embeds, _ in pairs]), torch.cat([pooled for _, pooled in pairs])

    def no_caption(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of ``count`` captions left out."""
        return tuple(part.expand(count, *part.shape[1:]) for part in self.empty)

    def _recall(self, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        if caption not in self.kept:
            embeds, _, pooled, _ = self._encode(caption, guided=False)
            self.kept[caption] = embeds, pooled
        self.kept.move_to_end(caption)
        pair = self.kept[caption]
        while len(self.kept) > self.size:
            self.kept.popitem(last=False)
        return pair

    @torch.no_grad()
    def _encode(self, caption: str, *, guided: bool) -> tuple[torch.Tensor, ...]:
        return self.pipeline.encode_prompt(caption, device=self.pipeline.text_encoder.device, do_classifier_free_guidance=guided)


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a batch is painted from.

    Attributes:
        embeds: ``(B, L, D)`` caption embeddings.
        pooled: ``(B, P)`` pooled ones.
        time_ids: ``(B, 6)`` SDXL's micro-conditioning.
        color_maps: ``(B, 3, H, W)`` in [0, 1], for a ControlNet.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor
    color_maps: torch.Tensor | None

    def beside(self, embeds: torch.Tensor, pooled: torch.Tensor) -> Conditions:
        """``(2B, ...)``: these captions' places first, then one's own."""
        maps = None if self.color_maps is None else torch.cat([self.color_maps] * 2)
        return Conditions(torch.cat([embeds, self.embeds]), torch.cat([pooled, self.pooled]), torch.cat([self.time_ids] * 2), maps)


class GuidedPrediction:
    """The networks' prediction for scaled latents, guided where the sigma lies in the guidance interval.

    Args:
        unet, controlnet: the networks; ``controlnet`` may be None.
        conditions: of the batch.
        empty: embeddings and pooled ones of captions left out.
        options: guidance, its interval, and the ControlNet's weight.
    """

    def __init__(self, unet: torch.nn.Module, controlnet: torch.nn.Module | None, conditions: Conditions,
                 empty: tuple[torch.Tensor, torch.Tensor], options: SamplerOptions):
        self.unet, self.controlnet, self.options, self.alone = unet, controlnet, options, conditions
        self.both = conditions.beside(*empty) if options.guidance > 1 else conditions

    def __call__(self, latents: torch.Tensor, time: torch.Tensor, sigma: float) -> torch.Tensor:
        """``(B, C, h, w)`` float32, of the kind that the base predicts."""
        low, high = self.options.guidance_interval or (0.0, float("inf"))
        if self.options.guidance == 1 or not low <= sigma <= high:
            return self._predict(latents, time, self.alone)
        without, with_caption = self._predict(torch.cat([latents] * 2), time, self.both).chunk(2)
        return without + self.options.guidance * (with_caption - without)

    def _predict(self, latents: torch.Tensor, time: torch.Tensor, given: Conditions) -> torch.Tensor:
        latents = latents.to(self.unet.dtype)
        if self.options.channels_last:
            latents = latents.contiguous(memory_format=torch.channels_last)
        inputs = {"encoder_hidden_states": given.embeds, "return_dict": False,
                  "added_cond_kwargs": {"text_embeds": given.pooled, "time_ids": given.time_ids}}
        residuals = {}
        if self.controlnet is not None:
            down, middle = self.controlnet(latents, time, controlnet_cond=given.color_maps,
                                           conditioning_scale=self.options.conditioning_scale, **inputs)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        return self.unet(latents, time, **inputs, **residuals)[0].float()

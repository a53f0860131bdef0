"""What is trained: small modules whose ``forward(batch, generator)`` is a loss.

Shapes: B batch, (C, h, w) latents, L = 77 tokens. Latents are scaled by the VAE's ``scaling_factor``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, StableDiffusionXLPipeline
from torch import nn

from .training import Batch


class DiffusionObjective(nn.Module):
    """The denoising loss (Ho et al. 2020, eq. 14) of an SDXL network, with caption dropout.

    Dropped captions become zero embeddings, which is what SDXL's pipelines give the unconditional half of
    classifier-free guidance (``force_zeros_for_empty_prompt``).

    A batch holds ``latent_mean, latent_std (B, C, h, w)``, ``prompt_embeds (B, L, D)``, ``pooled (B, P)``,
    ``time_ids (B, 6)``; Mask2Img's also ``condition (B, 3, H, W)`` in [0, 1].
    """

    name = "diffusion"

    def __init__(self, pipeline: StableDiffusionXLPipeline, caption_dropout: float = 0.1):
        super().__init__()
        self.unet = pipeline.unet
        self.noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
        self.caption_dropout = caption_dropout

    @property
    def trainable(self) -> nn.Module:
        return self

    def forward(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        device = batch["latent_mean"].device
        latents = batch["latent_mean"] + batch["latent_std"] * draw_like(batch["latent_mean"], generator)
        noise = draw_like(latents, generator)
        steps = torch.randint(self.noise_schedule.config.num_train_timesteps, (len(latents),), generator=generator).to(device)
        keep = (torch.rand(len(latents), generator=generator) >= self.caption_dropout).to(device, latents.dtype)
        embeds, pooled = self.embed(batch)
        predicted = self.predict(self.noise_schedule.add_noise(latents, noise, steps), steps, batch,
                                 embeds * keep[:, None, None], pooled * keep[:, None])
        velocity = self.noise_schedule.config.prediction_type == "v_prediction"
        target = self.noise_schedule.get_velocity(latents, noise, steps) if velocity else noise
        return F.mse_loss(predicted.float(), target.float())

    def embed(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompt embeddings ``(B, L, D)`` and pooled ones ``(B, P)``."""
        return batch["prompt_embeds"], batch["pooled"]

    def predict(self, noisy: torch.Tensor, steps: torch.Tensor, batch: Batch, embeds: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """The network's output ``(B, C, h, w)``."""
        extra = {"text_embeds": pooled, "time_ids": batch["time_ids"]}
        return self.unet(noisy, steps, embeds, added_cond_kwargs=extra).sample


class Text2MaskObjective(DiffusionObjective):
    """Fine-tune the UNet on (caption, colour map)."""

    name = "text2mask"


class Mask2ImgObjective(DiffusionObjective):
    """Train a ControlNet (Zhang et al. 2023) beside the frozen UNet on (caption, colour map, image)."""

    name = "mask2img"

    def __init__(self, pipeline: StableDiffusionXLPipeline, controlnet: ControlNetModel, caption_dropout: float = 0.1):
        super().__init__(pipeline, caption_dropout)
        self.unet.requires_grad_(False)
        self.controlnet = controlnet

    @property
    def trainable(self) -> nn.Module:
        return self

    def predict(self, noisy: torch.Tensor, steps: torch.Tensor, batch: Batch, embeds: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        extra = {"text_embeds": pooled, "time_ids": batch["time_ids"]}
        down, mid = self.controlnet(noisy, steps, embeds, controlnet_cond=batch["condition"], added_cond_kwargs=extra, return_dict=False)
        return self.unet(noisy, steps, embeds, added_cond_kwargs=extra, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample


class BaseObjective(DiffusionObjective):
    """Train a tiny base from nothing: UNet and both text encoders together. A batch holds ``tokens (B, L)``."""

    name = "base"

    def __init__(self, pipeline: StableDiffusionXLPipeline, caption_dropout: float = 0.1):
        super().__init__(pipeline, caption_dropout)
        self.text_encoder, self.text_encoder_2 = pipeline.text_encoder, pipeline.text_encoder_2

    def embed(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        first = self.text_encoder(batch["tokens"], output_hidden_states=True)
        second = self.text_encoder_2(batch["tokens"], output_hidden_states=True)
        # SDXL reads the last layer but one of both encoders, and the second's projection
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), second.text_embeds


class VaeObjective(nn.Module):
    """Reconstruction, squared and absolute, and a slight pull of the posterior to N(0, 1).

    A batch holds ``pixels (B, 3, H, W)`` in [-1, 1].
    """

    name = "vae"

    def __init__(self, vae: AutoencoderKL, kl_weight: float = 1e-5):
        super().__init__()
        self.vae, self.kl_weight = vae, kl_weight

    @property
    def trainable(self) -> nn.Module:
        return self

    def forward(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        pixels = batch["pixels"]
        posterior = self.vae.encode(pixels).latent_dist
        latents = posterior.mean + posterior.std * draw_like(posterior.mean, generator)
        output = self.vae.decode(latents).sample
        return F.mse_loss(output, pixels) + 0.5 * F.l1_loss(output, pixels) + self.kl_weight * posterior.kl().mean() / latents[0].numel()


def draw_like(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal noise of ``tensor``'s shape, drawn on the CPU in float32, on its device and of its type."""
    return torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)

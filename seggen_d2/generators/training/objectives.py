"""What is trained: small modules whose ``forward(batch, generator)`` is a loss.

Shapes: B batch, (C, h, w) latents, L = 77 tokens. Latents are scaled by the VAE's ``scaling_factor``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, StableDiffusionXLPipeline
from torch import nn

from seggen_d2.foundation.errors import check_range

from .loop import Batch


@dataclass(frozen=True)
class LossOptions:
    """What the denoising loss is made of.

    Attributes:
        caption_dropout: share of captions left out, for classifier-free guidance.
        min_snr: gamma of Min-SNR weighting (Hang et al. 2023, section 3.4; they take 5); 0 weighs all noise levels alike. On
            bases that predict the velocity it leaves pure noise, and nearly pure noise, almost without weight.
        offset_noise: deviation of noise that is constant over each channel, so that very dark and very bright maps are
            learnt, too (Guttenberg 2023 takes 0.1); 0 for none.
    """

    caption_dropout: float = 0.1
    min_snr: float = 0.0
    offset_noise: float = 0.0

    def __post_init__(self) -> None:
        check_range("caption_dropout", self.caption_dropout, 0, 1)
        check_range("min_snr", self.min_snr, 0, 1000)
        check_range("offset_noise", self.offset_noise, 0, 1)


class DiffusionObjective(nn.Module):
    """The denoising loss (Ho et al. 2020, eq. 14) of an SDXL network, over the noise schedule and for the target of its base.

    Dropped captions become zero embeddings, which is what SDXL's pipelines give the unconditional half of
    classifier-free guidance (``force_zeros_for_empty_prompt``).

    A batch holds ``latent_mean, latent_std (B, C, h, w)``, ``prompt_embeds (B, L, D)``, ``pooled (B, P)``,
    ``time_ids (B, 6)``; Mask2Img's also ``condition (B, 3, H, W)`` in [0, 1].
    """

    name = "diffusion"

    def __init__(self, pipeline: StableDiffusionXLPipeline, options: LossOptions = LossOptions()):
        super().__init__()
        self.unet, self.options = pipeline.unet, options
        self.noise_schedule = DDPMScheduler.from_config(pipeline.scheduler.config)

    @property
    def trainable(self) -> nn.Module:
        return self

    def forward(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        device = batch["latent_mean"].device
        latents = batch["latent_mean"] + batch["latent_std"] * draw_like(batch["latent_mean"], generator)
        noise = draw_like(latents, generator)
        steps = torch.randint(self.noise_schedule.config.num_train_timesteps, (len(latents),), generator=generator).to(device)
        keep = (torch.rand(len(latents), generator=generator) >= self.options.caption_dropout).to(device, latents.dtype)
        if self.options.offset_noise:
            noise = noise + self.options.offset_noise * draw_like(noise[:, :, :1, :1], generator)
        embeds, pooled = self.embed(batch)
        predicted = self.predict(self.noise_schedule.add_noise(latents, noise, steps), steps, batch,
                                 embeds * keep[:, None, None], pooled * keep[:, None])
        losses = F.mse_loss(predicted.float(), self.target(latents, noise, steps).float(), reduction="none").mean((1, 2, 3))
        return (self.weights(steps).to(losses) * losses).mean() if self.options.min_snr else losses.mean()

    def target(self, latents: torch.Tensor, noise: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """What the base predicts, ``(B, C, h, w)``: the noise, the velocity (Salimans & Ho 2022), or the clean latents."""
        kind = self.noise_schedule.config.prediction_type
        return {"epsilon": lambda: noise, "sample": lambda: latents,
                "v_prediction": lambda: self.noise_schedule.get_velocity(latents, noise, steps)}[kind]()

    def weights(self, steps: torch.Tensor) -> torch.Tensor:
        """Min-SNR's weights ``(B,)``: ``min(SNR, gamma)`` on the clean latents, brought over to what is predicted."""
        alphas = self.noise_schedule.alphas_cumprod.to(steps.device)[steps]
        snr = alphas / (1 - alphas)
        clipped = snr.clamp(max=self.options.min_snr)
        kind = self.noise_schedule.config.prediction_type
        if kind == "epsilon":  # an error of the noise is one of the clean latents by 1/SNR; pure noise (SNR 0) has weight 1
            return torch.where(snr > 0, clipped / snr, torch.ones_like(snr))
        return clipped / (snr + 1) if kind == "v_prediction" else clipped

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

    def __init__(self, pipeline: StableDiffusionXLPipeline, controlnet: ControlNetModel, options: LossOptions = LossOptions()):
        super().__init__(pipeline, options)
        self.unet.requires_grad_(False)
        self.controlnet = controlnet

    def predict(self, noisy: torch.Tensor, steps: torch.Tensor, batch: Batch, embeds: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        extra = {"text_embeds": pooled, "time_ids": batch["time_ids"]}
        down, mid = self.controlnet(noisy, steps, embeds, controlnet_cond=batch["condition"], added_cond_kwargs=extra, return_dict=False)
        return self.unet(noisy, steps, embeds, added_cond_kwargs=extra, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample


class BaseObjective(DiffusionObjective):
    """Train a tiny base from nothing: UNet and both text encoders together. A batch holds ``tokens (B, L)``."""

    name = "base"
    leaves_unused = True  # the last layer of both text encoders

    def __init__(self, pipeline: StableDiffusionXLPipeline, options: LossOptions = LossOptions()):
        super().__init__(pipeline, options)
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
        return reconstruction(self.vae, latents, pixels) + self.kl_weight * posterior.kl().mean() / latents[0].numel()


class DecoderObjective(nn.Module):
    """The VAE's decoder alone, on latents with noise, so that what a UNet gets slightly wrong does not show.

    The encoder stays, and with it what UNets learnt from its latents. A picture's noise has a deviation of its own, from 0 to
    ``noise`` times the latents' (as Zheng et al. 2025, section 4.3, train decoders of representations).
    """

    name = "decoder"

    def __init__(self, vae: AutoencoderKL, noise: float):
        super().__init__()
        self.vae, self.noise = vae, noise
        vae.requires_grad_(False)
        for part in (vae.decoder, vae.post_quant_conv):
            part.requires_grad_(True)

    @property
    def trainable(self) -> nn.Module:
        return self

    def forward(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        pixels = batch["pixels"]
        with torch.no_grad():
            latents = self.vae.encode(pixels).latent_dist.mean
        levels = self.noise / self.vae.config.scaling_factor * torch.rand(len(latents), 1, 1, 1, generator=generator).to(latents)
        return reconstruction(self.vae, latents + levels * draw_like(latents, generator), pixels)


def reconstruction(vae: AutoencoderKL, latents: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Squared and half the absolute error of ``latents (B, C, h, w)``, decoded, against ``pixels (B, 3, H, W)``."""
    output = vae.decode(latents).sample
    return F.mse_loss(output, pixels) + 0.5 * F.l1_loss(output, pixels)


def draw_like(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal noise of ``tensor``'s shape, drawn on the CPU in float32, on its device and of its type."""
    return torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)

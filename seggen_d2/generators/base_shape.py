"""SDXL's shape: what a base must have, told from its configurations and from the names in a checkpoint of the original layout."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKL, ConfigMixin, DiffusionPipeline, SchedulerMixin, UNet2DConditionModel

from seggen_d2.foundation.errors import SegGenError

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
PREDICTIONS = ("epsilon", "v_prediction", "sample")
PARTS = {
    "unet": "a UNet (unet)", "vae": "a VAE (vae)", "scheduler": "a noise schedule (scheduler)",
    "text_encoder": "a first text encoder (text_encoder)", "tokenizer": "its tokenizer (tokenizer)",
    "text_encoder_2": "a second text encoder (text_encoder_2)", "tokenizer_2": "its tokenizer (tokenizer_2)",
}
KEYS = {  # a key of each part in the original checkpoints
    "unet": "model.diffusion_model.input_blocks.0.0.weight",
    "vae": "first_stage_model.encoder.conv_in.weight",
    "text_encoder": "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
    "text_encoder_2": "conditioner.embedders.1.model.positional_embedding",
    "added time ids (label_emb)": "model.diffusion_model.label_emb.0.0.weight",
}


def check_shape(name: str, place: str) -> None:
    """Read a base's configurations, no weights.

    Raises:
        SegGenError: it is not of SDXL's shape; what is missing is named.
    """
    index = DiffusionPipeline.load_config(place)
    missing = [words for part, words in PARTS.items() if (index.get(part) or [None])[0] is None]
    if not missing:
        configs = {part: kind.load_config(place, subfolder=part) for part, kind in
                   (("unet", UNet2DConditionModel), ("vae", AutoencoderKL), ("scheduler", _SchedulerConfig))}
        missing = unmet(configs["unet"], configs["vae"], configs["scheduler"])
    if missing:
        raise not_sdxl(name, missing, f"a {index.get('_class_name', 'folder')}")


class _SchedulerConfig(ConfigMixin, SchedulerMixin):
    config_name = "scheduler_config.json"


def unmet(unet: dict[str, Any], vae: dict[str, Any], scheduler: dict[str, Any]) -> list[str]:
    """What these configurations lack of SDXL's shape, in words; none for SDXL."""
    missing = []
    if unet.get("addition_embed_type") != "text_time":
        missing.append("added time ids (unet: addition_embed_type text_time)")
    if unet.get("in_channels", 4) != vae.get("latent_channels", 4):
        missing.append(f"a UNet that takes latents alone ({vae.get('latent_channels', 4)} channels; it takes {unet.get('in_channels')})")
    if any(vae.get(key) is not None for key in ("latents_mean", "latents_std")):
        missing.append("a VAE whose latents are scaled by one factor (it has latents_mean, latents_std)")
    if "beta_schedule" not in scheduler or str(scheduler.get("_class_name", "")).startswith("EDM"):
        missing.append(f"a noise schedule by betas (it has {scheduler.get('_class_name', 'none')})")
    elif scheduler.get("prediction_type", "epsilon") not in PREDICTIONS:
        missing.append(f"a prediction type of {', '.join(PREDICTIONS)} (it has {scheduler['prediction_type']})")
    return missing


def not_sdxl(name: str, missing: list[str], found: str) -> SegGenError:
    """The error that tells what a base lacks."""
    return SegGenError(f"base {name} is not of SDXL's shape", expected="two text encoders, a UNet with added time ids, a noise schedule by betas",
                       found=f"{found} without " + "; ".join(missing), remedy=f"start from {SDXL} or a model fine-tuned from it")

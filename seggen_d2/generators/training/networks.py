"""The networks of a generator: which are trained, what they start from, and the pipeline that holds them in the end."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel, DiffusionPipeline, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

from seggen_d2.foundation.errors import SegGenError

from ..directory import TRAINED
from .lora import LoraOptions, add_adapter
from .objectives import DiffusionObjective, LossOptions, Mask2ImgObjective, Text2MaskObjective

CONDITION_CHANNELS = (16, 32, 96, 256)
NETWORKS = {"text2mask": UNet2DConditionModel, "mask2img": ControlNetModel}


def make_objective(kind: str, pipeline: StableDiffusionXLPipeline, loss: LossOptions | None = None, *, lora: LoraOptions | None = None,
                   init: Path | None = None) -> DiffusionObjective:
    """The object that tells the loop what to train: the pipeline's UNet, adapters beside it, or a new ControlNet.

    Args:
        kind: ``text2mask`` or ``mask2img``.
        loss: what the loss is made of.
        lora: adapters, for Text2Mask.
        init: folder of a generator of that kind to start from.

    Raises:
        SegGenError: adapters are asked for a ControlNet, or ``init`` is of another shape than the base.
    """
    loss, lora = loss or LossOptions(), lora or LoraOptions()
    if kind == "mask2img":
        if lora.rank:
            raise SegGenError("lora serves Text2Mask alone", expected="lora.rank: 0 for mask2img", found=f"lora.rank: {lora.rank}",
                              remedy="a ControlNet is trained whole; with training.optimizer: adamw8bit, gradient_checkpointing and "
                              "mixed_precision: bf16 it is made for 24 GB, see configs/generators/*-mask2img-24gb.yaml")
        controlnet = _new_controlnet(pipeline)
        _start_from(init, kind, controlnet)
        return Mask2ImgObjective(pipeline, controlnet, loss)
    _start_from(init, kind, pipeline.unet)
    if lora.rank:
        add_adapter(pipeline.unet, lora)
    return Text2MaskObjective(pipeline, loss)


def _new_controlnet(pipeline: StableDiffusionXLPipeline) -> ControlNetModel:
    """A copy of the UNet's encoder whose outputs start at zero (Zhang et al. 2023, section 3.1)."""
    halvings = len(pipeline.vae.config.block_out_channels) - 1  # the condition must come down to the latents' size
    return ControlNetModel.from_unet(pipeline.unet, conditioning_embedding_out_channels=CONDITION_CHANNELS[: halvings + 1])


def _start_from(init: Path | None, kind: str, network: torch.nn.Module) -> None:
    if init is None:
        return
    try:
        weights = NETWORKS[kind].from_pretrained(init, subfolder=TRAINED[kind], use_safetensors=True).state_dict()
        network.load_state_dict(weights)
    except (OSError, ValueError, RuntimeError) as error:
        raise SegGenError(f"{kind} cannot start from {init}", expected=f"{TRAINED[kind]} of the shape of the base's",
                          found=" ".join(str(error).split())[:200], remedy="name the base that it was made from as base") from error


def cast_frozen(objective: DiffusionObjective, dtype: torch.dtype) -> None:
    """Hold what is not trained in ``dtype``; trained weights stay in float32."""
    for parameter in objective.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def finished_pipeline(pipeline: StableDiffusionXLPipeline, objective: DiffusionObjective) -> DiffusionPipeline:
    """The pipeline to sample from: the fine-tuned one, or the base's with the ControlNet beside it."""
    if not isinstance(objective, Mask2ImgObjective):
        return pipeline
    return with_controlnet(pipeline, objective.controlnet)


def with_controlnet(pipeline: StableDiffusionXLPipeline, controlnet: ControlNetModel) -> StableDiffusionXLControlNetPipeline:
    """The base's parts with a ControlNet beside its UNet; no part is copied."""
    parts = {name: part for name, part in pipeline.components.items() if name not in ("image_encoder", "feature_extractor")}
    finished = StableDiffusionXLControlNetPipeline(**parts, controlnet=controlnet, add_watermarker=False)
    finished.set_progress_bar_config(disable=True)
    return finished

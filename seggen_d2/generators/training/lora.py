"""Low-rank adapters (Hu et al. 2022) through peft: trained beside a frozen UNet, saved alone, and fused into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from seggen_d2.foundation.errors import SegGenError, check_range, nearest

FILE = "pytorch_lora_weights.safetensors"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")


@dataclass(frozen=True)
class LoraOptions:
    """Which layers get an adapter, and how large.

    Attributes:
        rank: of each adapter; 0 trains all weights instead.
        alpha: an adapter's output is scaled by ``alpha / rank``; 0 is ``rank``.
        targets: layers, by the ends of their names; attention and feed-forward layers as they stand. Colour maps are far
            from photos: a high rank (64 and up) and all of these layers serve better than a few.
    """

    rank: int = 0
    alpha: float = 0.0
    targets: tuple[str, ...] = ATTENTION + FEED_FORWARD

    def __post_init__(self) -> None:
        check_range("lora: rank", self.rank, 0, 4096)
        check_range("lora: alpha", self.alpha, 0, 1e6)
        if self.rank and not self.targets:
            raise SegGenError("lora: targets is empty", expected="ends of layers' names", remedy="leave the key out for the usual ones")


def add_adapter(unet: UNet2DConditionModel, options: LoraOptions) -> None:
    """Freeze ``unet`` and put fresh adapters, in float32, beside its layers; they change nothing until they are trained.

    Raises:
        SegGenError: the UNet has no layer of some target's name.
    """
    layers = [name for name, module in unet.named_modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))]
    for target in options.targets:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise SegGenError(f"lora: targets names {target!r}, which the UNet does not have", expected="ends of layers' names, such as to_q",
                              found=target, remedy=nearest(target, {".".join(name.split(".")[-2:]) for name in layers} | set(ATTENTION)))
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=options.rank, lora_alpha=options.alpha or options.rank, target_modules=list(options.targets),
                                init_lora_weights="gaussian"))
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write the adapters that ``unet`` holds, for ``pipeline.load_lora_weights(folder)``; their scale goes with them."""
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet), weight_name=FILE,
                                                unet_lora_adapter_metadata=unet.peft_config["default"].to_dict())


def fuse_adapter(pipeline: StableDiffusionXLPipeline, folder: Path) -> None:
    """Add the adapters in ``folder`` to the weights of the pipeline's UNet, which then needs peft no more."""
    pipeline.unet.load_lora_adapter(str(folder), weight_name=FILE, prefix="unet")
    pipeline.unet.fuse_lora()
    pipeline.unet.unload_lora()

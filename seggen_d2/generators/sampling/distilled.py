"""Distilled LoRAs on a frozen base: opened, checked against the UNet, and fused into it.

LCM, Lightning and DMD2 publish theirs with kohya's names over diffusers' modules (``lora_unet_down_blocks_...``), with
kohya's names over SDXL's original modules (``lora_unet_input_blocks_...``), or with peft's (``unet.....lora_A``).
Diffusers translates all of them; what is checked here is that every weight has a module, and that it fits.
"""

from __future__ import annotations

import logging
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors import SafetensorError

from seggen_d2.foundation.errors import SegGenError

from .options import Distilled

log = logging.getLogger(__name__)
_fused: WeakKeyDictionary[torch.nn.Module, Distilled] = WeakKeyDictionary()


def load_distilled(pipeline: DiffusionPipeline, distilled: Distilled) -> None:
    """Fuse a distilled LoRA into the pipeline's UNet; nothing where none is named, or where it is in there already.

    Raises:
        SegGenError: the file cannot be read, its weights do not fit the UNet, or another one is fused already.
    """
    there = _fused.get(pipeline.unet, Distilled())
    if there == distilled:
        return
    if there:
        raise SegGenError("this pipeline's UNet holds distilled weights already", expected=distilled.weights or "none", found=there.weights,
                          remedy="open the generator anew for other options")
    state, alphas = _read(pipeline, distilled)
    _check_fit(state, pipeline.unet, distilled.weights)
    pipeline.load_lora_into_unet(state, network_alphas=alphas, unet=pipeline.unet, adapter_name="distilled", _pipeline=pipeline)
    pipeline.fuse_lora(components=["unet"], lora_scale=distilled.scale, adapter_names=["distilled"])
    pipeline.unload_lora_weights()
    _fused[pipeline.unet] = distilled
    log.info("%s (%s) fused into the UNet at %g", distilled.weights, distilled.format, distilled.scale)


def _read(pipeline: DiffusionPipeline, distilled: Distilled) -> tuple[dict[str, torch.Tensor], dict | None]:
    """Weights and alphas by diffusers' names."""
    place, name = distilled.hub_name or (distilled.weights, None)
    try:
        if name is None and not Path(place).is_file():
            raise FileNotFoundError("no such file")
        return pipeline.lora_state_dict(place, weight_name=name, unet_config=pipeline.unet.config, use_safetensors=True)
    except (OSError, SafetensorError) as error:
        raise SegGenError(f"distilled weights {distilled.weights} cannot be opened", expected="a whole safetensors file",
                          found=str(error).splitlines()[0][:200], remedy="check the path, or the network for a hub name") from error
    except (ValueError, KeyError, IndexError) as error:
        raise SegGenError(f"distilled weights {distilled.weights} have names that are not known", found=str(error).strip()[:200],
                          expected="a LoRA of an SDXL UNet: lora_unet_....lora_down.weight or unet.....lora_A.weight",
                          remedy="use the LoRA file of the method, not its full UNet or another model's") from error


def _check_fit(state: dict[str, torch.Tensor], unet: torch.nn.Module, where: str) -> None:
    """Each weight must belong to a module of ``unet`` and have its sizes."""
    foreign = [name for name in state if not name.startswith("unet.")]
    weights = {name.removeprefix("unet."): value for name, value in state.items() if name.startswith("unet.")}
    modules = dict(unet.named_modules())
    faults = foreign + [name for name, value in convert_unet_state_dict_to_peft(weights).items() if not _fits(name, value, modules)]
    if faults or not weights:
        raise SegGenError(f"distilled weights {where} do not fit the UNet", expected="LoRA weights of this base's UNet alone",
                          found=f"{len(faults)} of {len(state)} that do not: " + ", ".join(faults[:4]) + (", ..." if len(faults) > 4 else ""),
                          remedy="use weights made for the base of the generator")


def _fits(name: str, value: torch.Tensor, modules: dict[str, torch.nn.Module]) -> bool:
    module, _, side = name.partition(".lora_")
    weight = getattr(modules.get(module), "weight", None)
    if weight is None or not side or weight.ndim != value.ndim:
        return False
    return value.shape[1] == weight.shape[1] if side.startswith("A") else value.shape[0] == weight.shape[0]

"""A diffusers SDXL pipeline as one checkpoint of the original layout, the inverse of what ``from_single_file`` reads."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
UNET = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
        "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2"}
OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}


def write_original(pipeline, path: Path, extra: dict[str, torch.Tensor] | None = None, metadata: dict[str, str] | None = None) -> Path:
    """Write the pipeline's weights to ``path``; ``extra`` tensors are added."""
    tensors = {f"model.diffusion_model.{_unet(key, pipeline.unet)}": value for key, value in pipeline.unet.state_dict().items()}
    tensors |= {f"first_stage_model.{_vae(key, len(pipeline.vae.config.block_out_channels))}": v for key, v in pipeline.vae.state_dict().items()}
    first = pipeline.text_encoder.state_dict()
    tensors |= {f"conditioner.embedders.0.transformer.text_model.{key.removeprefix('text_model.')}": v for key, v in first.items()}
    tensors |= {f"conditioner.embedders.1.model.{key}": value for key, value in _open_clip(pipeline.text_encoder_2).items()}
    save_file({key: value.contiguous() for key, value in {**tensors, **(extra or {})}.items()}, path, metadata)
    return path


def _unet(key: str, unet) -> str:
    layers = unet.config.layers_per_block
    for ours, theirs in UNET.items():
        if key.startswith(ours + "."):
            return _resnet(theirs + key[len(ours):])
    way, block, part, number, rest = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", key).groups()
    block, number = int(block), int(number)
    if part == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
    if part == "upsamplers":
        attends = hasattr(unet.up_blocks[block], "attentions")
        return f"output_blocks.{block * (layers + 1) + layers}.{1 + attends}.{rest}"
    place = f"input_blocks.{1 + block * (layers + 1) + number}" if way == "down" else f"output_blocks.{block * (layers + 1) + number}"
    return _resnet(f"{place}.{int(part == 'attentions')}.{rest}")


def _resnet(key: str) -> str:
    head, name, ending = key.rpartition(".")[0].rpartition(".")[0], key.split(".")[-2], key.split(".")[-1]
    is_resnet = name in RESNET and "transformer_blocks" not in key
    return f"{head}.{RESNET[name]}.{ending}" if is_resnet else key


def _vae(key: str, levels: int) -> str:
    key = re.sub(r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.down.\1.block.\2", key)
    key = re.sub(r"encoder\.down_blocks\.(\d+)\.downsamplers\.0", r"encoder.down.\1.downsample", key)
    key = re.sub(r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.block.{m[2]}", key)
    key = re.sub(r"decoder\.up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.upsample", key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    return key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")


def _open_clip(encoder) -> dict[str, torch.Tensor]:
    state = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    tensors = {"positional_embedding": state["embeddings.position_embedding.weight"], "text_projection": state["text_projection.weight"].T,
               "token_embedding.weight": state["embeddings.token_embedding.weight"]}
    tensors |= {f"ln_final.{end}": state[f"final_layer_norm.{end}"] for end in ("weight", "bias")}
    for layer in range(encoder.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for end in ("weight", "bias"):
            tensors[f"{theirs}.attn.in_proj_{end}"] = torch.cat([state[f"{ours}.self_attn.{name}_proj.{end}"] for name in "qkv"])
            tensors |= {f"{theirs}.{there}.{end}": state[f"{ours}.{here}.{end}"] for here, there in OPEN_CLIP.items()}
    return tensors

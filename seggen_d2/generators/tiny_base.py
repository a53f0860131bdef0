"""A tiny base of SDXL's shape: the same classes, two text encoders and time ids, small enough for a CPU.

What SDXL brings to the method is that it has seen far more of the visual world than the labelled set. A tiny base
pre-trained on many unlabelled captioned pictures stands in for it wherever SDXL itself cannot be had.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from seggen_d2.foundation.errors import check_choice, check_range

from .base_shape import PREDICTIONS

MAX_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class TinyBaseShape:
    """The sizes of a tiny base; the defaults have 4 to 5 million parameters.

    Attributes:
        vae_channels: channels a level; each level but the last halves the sides.
        latent_channels: channels of the latents.
        unet_channels: channels a level of the UNet.
        attention_from: the first level that attends to the caption (and to itself); 1 is SDXL's, 0 suits latents of few cells.
        prediction: what the UNet predicts: ``epsilon`` (SDXL), ``v_prediction`` or ``sample``.
        text_width: hidden size of each of the two text encoders.
        text_layers: their layers.
        vocabulary: tokens of the byte-pair encoding.
        time_width: sines and cosines of each time id.
        groups: groups of the VAE's normalisation; divides each of its widths.
    """

    vae_channels: tuple[int, ...] = (24, 48)
    latent_channels: int = 4
    unet_channels: tuple[int, ...] = (32, 64, 128)
    attention_from: int = 1
    prediction: str = "epsilon"
    text_width: int = 64
    text_layers: int = 2
    vocabulary: int = 768
    time_width: int = 16
    groups: int = 4

    def __post_init__(self) -> None:
        check_choice("shape: prediction", self.prediction, PREDICTIONS)
        check_range("shape: attention_from", self.attention_from, 0, len(self.unet_channels) - 1)


def build_tiny_base(captions: Iterable[str], shape: TinyBaseShape, *, sample_side: int, seed: int) -> StableDiffusionXLPipeline:
    """An untrained SDXL pipeline whose tokenizer is made from ``captions``.

    Args:
        captions: texts that the byte-pair encoding is trained on; it can still spell any other text.
        shape: sizes.
        sample_side: the side of the square images that the base is trained on, pixels.
        seed: of the initial weights.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(captions, shape.vocabulary)
    text = dict(vocab_size=len(tokenizer), hidden_size=shape.text_width, intermediate_size=4 * shape.text_width,
                num_hidden_layers=shape.text_layers, num_attention_heads=4, max_position_embeddings=MAX_TOKENS,
                projection_dim=shape.text_width, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id)
    factor = 2 ** (len(shape.vae_channels) - 1)
    return StableDiffusionXLPipeline(
        vae=_vae(shape), unet=_unet(shape, sample_side // factor), scheduler=_scheduler(shape.prediction),
        text_encoder=CLIPTextModel(CLIPTextConfig(**text)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**text)),
        tokenizer=tokenizer, tokenizer_2=tokenizer, add_watermarker=False)


def _scheduler(prediction: str) -> EulerDiscreteScheduler:
    """SDXL's noise schedule and reference sampler."""
    return EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
                                  prediction_type=prediction, timestep_spacing="leading", steps_offset=1)


def _vae(shape: TinyBaseShape) -> AutoencoderKL:
    levels = len(shape.vae_channels)
    vae = AutoencoderKL(block_out_channels=shape.vae_channels, down_block_types=("DownEncoderBlock2D",) * levels,
                         up_block_types=("UpDecoderBlock2D",) * levels, layers_per_block=1, norm_num_groups=shape.groups,
                         latent_channels=shape.latent_channels, mid_block_add_attention=False, scaling_factor=1.0)
    # start with narrow posteriors (deviation 0.05): with those of deviation 1 a short training learns little else
    torch.nn.init.constant_(vae.quant_conv.bias[shape.latent_channels :].data, -6.0)
    vae.quant_conv.weight.data[shape.latent_channels :] *= 0.1
    return vae


def _unet(shape: TinyBaseShape, side: int) -> UNet2DConditionModel:
    plain, attending = shape.attention_from, len(shape.unet_channels) - shape.attention_from
    return UNet2DConditionModel(
        sample_size=side, in_channels=shape.latent_channels, out_channels=shape.latent_channels, layers_per_block=1,
        block_out_channels=shape.unet_channels, down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * attending,
        up_block_types=("CrossAttnUpBlock2D",) * attending + ("UpBlock2D",) * plain, transformer_layers_per_block=1, norm_num_groups=16,
        attention_head_dim=tuple(c // 32 for c in shape.unet_channels), use_linear_projection=True,
        cross_attention_dim=2 * shape.text_width, addition_embed_type="text_time", addition_time_embed_dim=shape.time_width,
        projection_class_embeddings_input_dim=shape.text_width + 6 * shape.time_width)


def build_tokenizer(captions: Iterable[str], vocabulary: int) -> CLIPTokenizer:
    """A CLIP tokenizer whose byte-pair merges come from ``captions``."""
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trained.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False)
    trained.train_from_iterator(captions, trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in model["merges"]]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges] + [START, END]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(words))}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps(vocab))
        (Path(folder) / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS, bos_token=START, eos_token=END,
                                             unk_token=END, pad_token=END)


def parameter_count(pipeline: StableDiffusionXLPipeline) -> int:
    """Parameters of all networks of a pipeline."""
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2)
    return sum(p.numel() for network in networks for p in network.parameters())

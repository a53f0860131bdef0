"""A tiny BLIP-2 of the real classes: random weights, a byte-level tokenizer of its own, small enough for a CPU."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Blip2Config, Blip2ForConditionalGeneration, OPTConfig, PreTrainedTokenizerFast, T5Config

IMAGE = "<image>"
SIDE = 32  # pixels of the pictures that it looks at
_QUERIES, _START, _PAD = 4, "</s>", "<pad>"


def save_tiny_blip2(folder: str | os.PathLike, words: Iterable[str], *, language_model: str = "opt", width: int = 32, seed: int = 0) -> None:
    """Write a tiny BLIP-2 as a transformers folder, to be opened like one from the hub.

    Args:
        folder: the model goes here.
        words: texts that its tokenizer is made from; it can still spell any other text.
        language_model: ``"opt"`` (decoder only) or ``"t5"`` (encoder and decoder), as the published ones have.
        width: hidden size of its three parts; a multiple of 4.
        seed: of the weights.
    """
    from .blip2 import image_processor_class

    torch.manual_seed(seed)
    tokenizer = _tokenizer(words, language_model)
    layers = {"hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 2 * width}
    config = Blip2Config(
        vision_config={**layers, "image_size": SIDE, "patch_size": 8},
        qformer_config={**layers, "cross_attention_frequency": 1},
        text_config=_text_config(tokenizer, language_model, width),
        num_query_tokens=_QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    model = Blip2ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor_class()(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


def _tokenizer(words: Iterable[str], language_model: str) -> PreTrainedTokenizerFast:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    special = [_PAD, _START, IMAGE]
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=special, show_progress=False)
    trained.train_from_iterator(words, trainer)
    template = f"{_START} $A" if language_model == "opt" else f"$A {_START}"
    trained.post_processor = processors.TemplateProcessing(single=template, special_tokens=[(_START, special.index(_START))])
    return PreTrainedTokenizerFast(tokenizer_object=trained, bos_token=_START, eos_token=_START, pad_token=_PAD)


def _text_config(tokenizer: PreTrainedTokenizerFast, language_model: str, width: int) -> OPTConfig | T5Config:
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if language_model == "opt":
        return OPTConfig(vocab_size=len(tokenizer), hidden_size=width, ffn_dim=2 * width, num_hidden_layers=2, num_attention_heads=4,
                         word_embed_proj_dim=width, max_position_embeddings=256, init_std=0.2, **ids)
    return T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=width // 4, d_ff=2 * width, num_layers=2, num_heads=4,
                    decoder_start_token_id=tokenizer.pad_token_id, is_encoder_decoder=True, **ids)

"""Captions by BLIP-2 (Li et al., 2023), through transformers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError
from transformers import AddedToken, AutoConfig, AutoTokenizer, Blip2ForConditionalGeneration, Blip2Processor, LogitsProcessorList

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.segmentation import Categories

from .captioner import CaptionRequest
from .label_list import LabelListCaptioner
from .nucleus import SeededNucleus
from .wording import Wording, read_blocklist

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LABELS = "{labels}"  # in a prompt: what the mask holds
LABEL_PROMPT = f"Question: what does this photo of {LABELS} show? Answer:"
LICENCES = {  # of the published weights, by how their names begin
    "blip2-opt": "BLIP-2: MIT; its language model OPT: non-commercial research only (Meta's OPT licence)",
    "blip2-flan-t5": "BLIP-2: MIT; its language model Flan-T5: Apache-2.0",
}
_IMAGE = "<image>"
_RETRIES = 3  # draws in place of a caption that says nothing, something blocked, or what another one says
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Blip2Options:
    """What BLIP-2 is asked for.

    Attributes:
        model: a folder, or a hub name. ``Salesforce/blip2-opt-2.7b`` writes as well, but its licence is non-commercial.
        beams: captions an image by beam search, the likeliest first.
        width: beams that the search keeps; at least ``beams``.
        nucleus: captions an image by nucleus sampling, after those.
        top_p, temperature: of nucleus sampling.
        max_tokens: the longest caption.
        prompt: words that the model goes on from; ``{labels}`` becomes what the mask holds.
        max_names: the most categories that ``{labels}`` lists.
        blocklist: a text file of phrases that no caption may hold; "" for the package's own, ``none`` for none.
        seed: changes every nucleus draw.
        dtype: ``auto`` (bfloat16 on a GPU, float32 on a CPU), float32, bfloat16 or float16.
        licence: of the model's weights, where it is neither of the published ones.
    """

    model: str = "Salesforce/blip2-flan-t5-xl"
    beams: int = 1
    width: int = 5
    nucleus: int = 0
    top_p: float = 0.9
    temperature: float = 1.0
    max_tokens: int = 40
    prompt: str = ""
    max_names: int = 8
    blocklist: str = ""
    seed: int = 0
    dtype: str = "auto"
    licence: str = ""

    def __post_init__(self) -> None:
        check_range("beams", self.beams, 0, 64)
        check_range("nucleus", self.nucleus, 0 if self.beams else 1, 64)
        check_range("the width of the beam search", self.width, max(1, self.beams), 64)
        check_range("top_p", self.top_p, 1e-3, 1)
        check_range("temperature", self.temperature, 1e-2, 10)
        check_range("max_tokens", self.max_tokens, 1, 256)
        check_choice("dtype", self.dtype, ("auto", *DTYPES))


class Blip2Captioner:
    """Describe images in batches: beams first, then nucleus draws, none of them empty or blocked, few of them alike.

    A caption that says nothing, holds a blocked phrase or repeats one before it is drawn again by nucleus sampling, a few
    times; what is blocked even then is cut out, a repetition stays. Draws depend on the seed, the image's id and the
    caption's number alone.

    Args:
        options: what to ask for.
        categories: the label space of the masks.
        device: of the model.

    Raises:
        SegGenError: the model is not there, or is no BLIP-2.
    """

    name = "blip2"

    def __init__(self, options: Blip2Options, categories: Categories, device: str | torch.device = "cpu"):
        self.options, self.device = options, torch.device(device)
        self.model, self.processor = load_blip2(options.model, pick_dtype(options.dtype, self.device), self.device)
        folder = Path(options.model)
        self.facts = {"captioner": self.name, "model": folder.name if folder.is_dir() else options.model,
                      "licence": options.licence or known_licence(folder.name)}
        self.wording = Wording(read_blocklist(options.blocklist))
        self.labels = LabelListCaptioner(categories, max_names=options.max_names)

    def __call__(self, batch: Sequence[CaptionRequest]) -> list[tuple[str, ...]]:
        inputs = self._inputs(batch)
        captions: list[list[str]] = [[] for _ in batch]
        if self.options.beams:
            _extend(captions, self._beams(inputs))
        if self.options.nucleus:
            numbers = [range(len(given), len(given) + self.options.nucleus) for given in captions]
            _extend(captions, self._nucleus(inputs, [self._seed(r, n) for r, each in zip(batch, numbers, strict=True) for n in each]))
        self._draw_again(batch, inputs, captions)
        return [tuple(self._mended(caption, request) for caption in given) for request, given in zip(batch, captions, strict=True)]

    def _inputs(self, batch: Sequence[CaptionRequest]) -> dict[str, torch.Tensor]:
        prompts = [self._prompt(request) for request in batch]
        inputs = self.processor(images=[request.image for request in batch], text=prompts, padding=True, return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.vision_model.dtype)
        return {name: value.to(self.device) for name, value in inputs.items()}

    def _prompt(self, request: CaptionRequest) -> str:
        prompt = self.options.prompt
        return prompt.replace(LABELS, self._listed(request)) if LABELS in prompt else prompt

    def _beams(self, inputs: dict[str, torch.Tensor]) -> list[str]:
        return self._generate(inputs, num_beams=self.options.width, num_return_sequences=self.options.beams, do_sample=False)

    def _nucleus(self, inputs: dict[str, torch.Tensor], seeds: Sequence[int]) -> list[str]:
        draws = SeededNucleus(seeds, self.options.max_tokens, top_p=self.options.top_p, temperature=self.options.temperature)
        each = len(seeds) // len(inputs["pixel_values"])
        return self._generate(inputs, do_sample=True, num_beams=1, num_return_sequences=each, top_k=0, top_p=1.0, temperature=1.0,
                              logits_processor=LogitsProcessorList([draws]))

    def _seed(self, request: CaptionRequest, number: int, attempt: int = 0) -> int:
        return derive_seed(self.options.seed, request.image_id, "caption", number, attempt)

    @torch.inference_mode()
    def _generate(self, inputs: dict[str, torch.Tensor], **ways) -> list[str]:
        """Texts, those of one image after each other."""
        tokens = self.model.generate(**inputs, max_new_tokens=self.options.max_tokens, **ways)
        prompt = 0 if self.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        return [self.wording.tidied(text) for text in self.processor.batch_decode(tokens[:, prompt:], skip_special_tokens=True)]

    def _draw_again(self, batch: Sequence[CaptionRequest], inputs: dict[str, torch.Tensor], captions: list[list[str]]) -> None:
        for attempt in range(1, _RETRIES + 1):
            bad = [(i, n) for i, given in enumerate(captions) for n, caption in enumerate(given)
                   if not self.wording.is_good(caption) or caption in given[:n]]
            if not bad:
                return
            images = torch.tensor([i for i, _ in bad], device=self.device)
            drawn = self._nucleus({name: value[images] for name, value in inputs.items()}, [self._seed(batch[i], n, attempt) for i, n in bad])
            for (i, n), caption in zip(bad, drawn, strict=True):
                if self.wording.is_good(caption) and (caption not in captions[i] or not self.wording.is_good(captions[i][n])):
                    captions[i][n] = caption

    def _mended(self, caption: str, request: CaptionRequest) -> str:
        mended = caption if self.wording.is_good(caption) else self.wording.mended(caption)
        if not mended:
            _log.warning("image %s: BLIP-2 says nothing usable (%r); this caption lists the mask's categories", request.image_id, caption)
        return mended or self._listed(request)

    def _listed(self, request: CaptionRequest) -> str:
        return self.labels.listed(request) or "a scene"


def _extend(captions: list[list[str]], more: Sequence[str]) -> None:
    each = len(more) // len(captions)
    for i, given in enumerate(captions):
        given += more[i * each : (i + 1) * each]


def known_licence(name: str) -> str:
    """The licence of published weights, by the last part of their name."""
    return next((licence for start, licence in LICENCES.items() if name.startswith(start)), "unknown: see the model's card")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of that name; ``auto`` is bfloat16 on a GPU and float32 elsewhere."""
    return DTYPES[("bfloat16" if device.type == "cuda" else "float32") if name == "auto" else name]


def image_processor_class() -> type:
    """The image processor that works in numpy and Pillow: the same pixels whether torchvision is there or not."""
    return getattr(transformers, "BlipImageProcessorPil", None) or transformers.BlipImageProcessor


def load_blip2(name: str, dtype: torch.dtype, device: torch.device) -> tuple[Blip2ForConditionalGeneration, Blip2Processor]:
    """Open a BLIP-2 from a folder or the hub; only safetensors are read.

    Raises:
        SegGenError: it is not there, is cut short, or is no BLIP-2.
    """
    try:
        config = AutoConfig.from_pretrained(name)
        if config.model_type != "blip-2":
            raise SegGenError(f"model {name} is no BLIP-2", expected="model_type: blip-2, such as Salesforce/blip2-flan-t5-xl",
                              found=f"model_type: {config.model_type}")
        images, tokenizer = image_processor_class().from_pretrained(name), AutoTokenizer.from_pretrained(name)
        model = Blip2ForConditionalGeneration.from_pretrained(name, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, SegGenError):
            raise
        raise SegGenError(f"BLIP-2 {name} cannot be opened", expected="a transformers folder with safetensors, or a hub name",
                          found=(str(error).splitlines() or [type(error).__name__])[0][:200],
                          remedy="check the path, or the network for a hub name; make a cut file again") from error
    tokenizer.padding_side = "left"  # new tokens follow the prompt directly
    processor = Blip2Processor(images, tokenizer, num_query_tokens=model.config.num_query_tokens)
    processor.image_token = AddedToken(_IMAGE, normalized=False, special=True)
    _fit_image_token(model, tokenizer)
    return model.to(device).eval(), processor


def _fit_image_token(model: Blip2ForConditionalGeneration, tokenizer: transformers.PreTrainedTokenizerBase) -> None:
    """Where a picture stands in the prompt: checkpoints of before that token get one."""
    token = tokenizer.convert_tokens_to_ids(_IMAGE)
    if token >= model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    model.config.image_token_index = token

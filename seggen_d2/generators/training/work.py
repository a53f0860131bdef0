"""A generator's training put together: dataset, captions, base, networks, validation, and in the end its pipeline and card."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline

from seggen_d2.captions import read_captions_of
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Palette
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.segmentation.palette import palette_like
from seggen_d2.sources import Source, load_dataset
from seggen_d2.sources.borders import dataset_palette
from seggen_d2.sources.leaks import check_apart

from ..bases import base_licence, load_base, local_folder
from ..directory import GeneratorCard, read_card
from ..examples.labelled import LabelledExamples, build_examples
from ..examples.texts import check_captions
from ..geometry import Geometry
from ..judging.alarms import BEST, AlarmOptions, alarm_of, held_out_part
from ..judging.condition_use import ConditionUse
from ..judging.held_out import HeldOut
from ..judging.segmenter import load_segmenter
from ..judging.validation import Mask2ImgValidation, Text2MaskValidation
from .devices import start_processes
from .generator_options import GeneratorOptions
from .lora import fuse_adapter, save_adapter
from .networks import cast_frozen, finished_pipeline, make_objective, with_controlnet
from .options import Validation

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
TARGETS = {"text2mask": "color_map", "mask2img": "image"}


class Work:
    """Everything that a generator's training needs, opened and checked against each other.

    Args:
        kind: ``text2mask`` or ``mask2img``.
        options: see :class:`GeneratorOptions`.

    Raises:
        SegGenError: an input is missing, or does not fit the others.
    """

    def __init__(self, kind: str, options: GeneratorOptions):
        self.kind, self.options, self.device = kind, options, start_processes().device
        torch.manual_seed(options.training.seed)
        self.source = load_dataset(options.dataset)
        self.captions = read_captions_of(self.source, options.captions, options.dataset)
        for path in options.exclude:
            check_apart(self.source.records(), load_dataset(path).records(), ours_is=options.dataset, theirs_is=path)
        self.held_out, self.held_captions, self.left_out = self._held_out()
        self.init = local_folder(options.init, "init") if options.init else None
        self.init_card = read_card(self.init, kind) if self.init else None
        self.palette = choose_palette_for(self.source, self.init_card, options)
        self.codec = mask_codec(self.source.task, self.palette, self.source.categories, edge_width=options.edge_width, edges=options.edges)
        self.pipeline = self._base()
        check_sizes(options.geometry, self.pipeline, options.base)
        check_captions(self.captions, self.pipeline, cut=options.long_captions == "cut", where=options.captions)
        self.objective = make_objective(kind, self.pipeline, options.loss, lora=options.lora, init=self.init)
        for network in (self.pipeline.vae, self.pipeline.text_encoder, self.pipeline.text_encoder_2):
            network.to(self.device)  # the cache needs no UNet

    def _held_out(self) -> tuple[Source, dict[str, Any], frozenset[str]]:
        if not self.options.validation.every:
            return self.source, self.captions, frozenset()
        return held_out_part(self.source, self.captions, self.options.validation, self.options.dataset)

    def _base(self) -> StableDiffusionXLPipeline:
        pipeline = load_base(self.options.base, config=self.options.base_config)
        for network in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
            network.requires_grad_(False)
        pipeline.register_to_config(force_zeros_for_empty_prompt=True)  # what captions that are left out become in training
        return pipeline

    def examples(self, folder: Path, *, limit: int = 0) -> LabelledExamples:
        """The training examples, from a cache in ``folder`` that is made where it lacks something."""
        return build_examples(self.source, self.captions, self.codec, self.palette, self.pipeline, self.options.geometry, folder,
                              target=TARGETS[self.kind], options=self.options.cache, leave_out=self.left_out, limit=limit)

    def validation(self, examples: LabelledExamples) -> Validation | None:
        """What is measured along the way, if anything; only the process that measures opens the judge."""
        options = self.options.validation
        if not options.every:
            return None

        measure = self._measure(options, examples)
        return Validation(measure, options.every, BEST[options.way(self.kind)], alarm_of(self.kind, options))

    def _measure(self, options: AlarmOptions, examples: LabelledExamples) -> Callable[[], dict[str, float]]:
        autocast = HALVES.get(self.options.training.mixed_precision)
        if options.way(self.kind) == "unjudged":
            use = ConditionUse(self._held_out_examples(examples), batch=options.batch, seed=options.seed, autocast=autocast)
            return lambda: use(self.objective)

        @functools.cache
        def judge() -> Callable[[DiffusionPipeline], dict[str, float]]:
            held_out = HeldOut(self.held_out, self.held_captions, self.options.geometry, self.codec, options)
            if self.kind == "text2mask":
                return Text2MaskValidation(held_out, examples.thumbnails, autocast=autocast)
            return Mask2ImgValidation(held_out, load_segmenter(options.segmenter, self.source.categories, self.device), autocast=autocast)

        return lambda: judge()(finished_pipeline(self.pipeline, self.objective))

    def _held_out_examples(self, examples: LabelledExamples) -> LabelledExamples:
        """Held-out pictures, each once, in the cache beside the training's own."""
        return build_examples(self.held_out, self.held_captions, self.codec, self.palette, self.pipeline, self.options.geometry,
                              examples.latents.store.folder.parent, target=TARGETS[self.kind],
                              options=replace(self.options.cache, mirrored=False), limit=self.options.validation.pictures, part="held-out-")

    def clear_for_training(self) -> None:
        """Leave to the device what a step needs: VAE and text encoders go, and what is frozen is held in half precision."""
        self.pipeline.to("cpu")
        if self.options.training.mixed_precision in HALVES:
            cast_frozen(self.objective, HALVES[self.options.training.mixed_precision])
        self.objective.to(self.device)

    def identity(self, examples: LabelledExamples) -> dict[str, Any]:
        """What a state must share with this training to be continued."""
        options = self.options
        return {"kind": self.kind, "base": options.base, "dataset": self.source.name, "geometry": asdict(options.geometry), "init": options.init,
                "loss": asdict(options.loss), "lora": {**asdict(options.lora), "targets": list(options.lora.targets)}, "data": examples.facts}

    def finished(self, adapter: Path) -> DiffusionPipeline:
        """The pipeline to save. What was held in half precision for the training is taken from the base anew."""
        if self.kind == "mask2img":
            exact = self.options.training.mixed_precision not in HALVES
            return with_controlnet(self.pipeline if exact else self._base(), self.objective.controlnet.to("cpu"))
        if not self.options.lora.rank:
            return finished_pipeline(self.pipeline, self.objective)
        save_adapter(self.pipeline.unet, adapter)
        pipeline = self._base()
        make_objective(self.kind, pipeline, init=self.init)
        fuse_adapter(pipeline, adapter)
        return pipeline

    def card(self, examples: LabelledExamples, facts: dict[str, Any]) -> dict[str, Any]:
        """The generator's card, but for its fingerprint."""
        options = self.options
        return {"kind": self.kind, "task": self.source.task, "categories": self.source.categories.to_json(), "palette": self.palette.to_json(),
                "geometry": options.geometry, "edge_width": options.edge_width, "edges": options.edges, "licence": self._licence(),
                "base": options.base,
                "training": {**{key: value for key, value in facts.items() if key != "seconds"}, "data": examples.facts, "init": options.init,
                             "loss": asdict(options.loss), "lora": asdict(options.lora)}}

    def _licence(self) -> str:
        own = self.options.licence or base_licence(self.options.base)
        inherited = self.init_card.licence if self.init_card else own
        return own if own == inherited else f"{own}; {self.options.init}: {inherited}"


def choose_palette_for(source: Source, init: GeneratorCard | None, options: GeneratorOptions) -> Palette:
    """The border-safe palette of the dataset, or one that keeps the colours of an earlier generator's equal names."""
    if init is None:
        return dataset_palette(source, edge_width=options.edge_width, edges=options.edges)
    where = f"the card of {options.init}"
    return palette_like(source.categories, init.read_categories(where), init.read_palette(where))


def check_sizes(geometry: Geometry, pipeline: StableDiffusionXLPipeline, base: str) -> None:
    """All sizes must come down evenly through the VAE and the UNet.

    Raises:
        SegGenError: some do not.
    """
    multiple = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
    odd = [size for size in geometry.buckets() if size[0] % multiple or size[1] % multiple]
    if odd:
        raise SegGenError(f"geometry: heights and widths do not fit the base {base}", expected=f"multiples of {multiple}",
                          found=", ".join(f"{height} x {width}" for height, width in odd[:5]),
                          remedy="set geometry.multiple to a multiple of it, or round geometry.height and geometry.width")

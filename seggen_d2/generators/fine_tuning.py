"""Fine-tune a base into Text2Mask or Mask2Img."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline

from seggen_d2.captions import read_captions_of
from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import write_json
from seggen_d2.foundation.options import save_options
from seggen_d2.segmentation import default_palette
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.sources import load_dataset

from .cache import CacheOptions
from .directory import KINDS, base_licence, load_base, read_card, save_generator
from .examples import LabelledExamples, build_examples
from .geometry import Geometry
from .objectives import DiffusionObjective, Mask2ImgObjective, Text2MaskObjective
from .prompts import check_captions
from .training import TrainingOptions, start_processes, train

log = logging.getLogger(__name__)
CONDITION_CHANNELS = (16, 32, 96, 256)


@dataclass(frozen=True)
class GeneratorOptions:
    """What ``tools/train_generator.py`` reads.

    Attributes:
        base: ``toy``, a diffusers folder, or a hub name.
        dataset: the labelled dataset's YAML.
        captions: its captions, a Parquet table.
        training: how long and how.
        geometry: sizes to train at: aspect buckets, or one fixed height and width; multiples of the VAE's factor.
        caption_dropout: share of captions left out, for classifier-free guidance.
        long_captions: ``error``, or ``cut`` at 77 tokens with a word in the log.
    """

    base: str
    dataset: str
    captions: str
    training: TrainingOptions
    geometry: Geometry = field(default_factory=Geometry)
    caption_dropout: float = 0.1
    long_captions: str = "error"

    def __post_init__(self) -> None:
        check_range("caption_dropout", self.caption_dropout, 0, 1)
        check_choice("long_captions", self.long_captions, ("error", "cut"))


def train_generator(kind: str, options: GeneratorOptions, output: Path, *, dry_run: bool = False) -> None:
    """Train a generator into ``output`` (states in ``output/training``, the model in ``output/model``).

    The same call resumes; a finished generator is left as it is.

    Raises:
        SegGenError: bad input; the message names it.
    """
    check_choice("kind", kind, KINDS)
    if (output / "model" / "seggen.json").is_file() and not dry_run:
        read_card(output / "model", kind)
        log.info("%s in %s is finished; remove the folder to train it anew", kind, output)
        return
    torch.manual_seed(options.training.seed)
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            _, objective, examples, _, _ = _prepare(kind, options, Path(folder))
            print_plan(objective, examples, options)
        return
    pipeline, objective, examples, source, palette = _prepare(kind, options, output / "cache")
    identity = {"kind": kind, "base": options.base, "dataset": source.name, "geometry": asdict(options.geometry),
                "caption_dropout": options.caption_dropout}
    facts = train(objective, examples, options.training, output / "training", identity=identity)
    if not start_processes().is_main_process:
        return
    save_options(output, options)
    shutil.rmtree(output / "model", ignore_errors=True)  # without its card it was never finished
    save_generator(output / "model", finished_pipeline(pipeline, objective), {
        "kind": kind, "task": source.task, "categories": source.categories.to_json(), "palette": palette.to_json(),
        "geometry": options.geometry, "licence": base_licence(options.base), "base": options.base,
        "original_size": examples.original_size, "training": {key: value for key, value in facts.items() if key != "seconds"}})
    write_json(output / "facts.json", facts)


def _prepare(kind: str, options: GeneratorOptions, folder: Path):
    source = load_dataset(options.dataset, task="semantic")
    captions = read_captions_of(source, options.captions, options.dataset)
    pipeline = load_base(options.base).to("cuda" if torch.cuda.is_available() else "cpu")
    _check_size(pipeline, options)
    check_captions(captions, pipeline, cut=options.long_captions == "cut", where=options.captions)
    palette = default_palette(len(source.categories))
    for network in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        network.requires_grad_(False)
    target = "color_map" if kind == "text2mask" else "image"
    examples = build_examples(source, captions, mask_codec(source.task, palette, source.categories), palette, pipeline, options.geometry,
                              folder, target=target, options=CacheOptions())
    return pipeline, make_objective(kind, pipeline, options.caption_dropout), examples, source, palette


def _check_size(pipeline: StableDiffusionXLPipeline, options: GeneratorOptions) -> None:
    multiple = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
    odd = [size for size in options.geometry.buckets() if size[0] % multiple or size[1] % multiple]
    if odd:
        raise SegGenError(f"geometry: heights and widths do not fit the base {options.base}", expected=f"multiples of {multiple}",
                          found=", ".join(f"{height} x {width}" for height, width in odd[:5]),
                          remedy="set geometry.multiple to a multiple of it, or round geometry.height and geometry.width")


def make_objective(kind: str, pipeline: StableDiffusionXLPipeline, caption_dropout: float) -> DiffusionObjective:
    """The object that tells the loop what to train."""
    if kind == "text2mask":
        return Text2MaskObjective(pipeline, caption_dropout)
    halvings = len(pipeline.vae.config.block_out_channels) - 1  # the condition must come down to the latents' size
    controlnet = ControlNetModel.from_unet(pipeline.unet, conditioning_embedding_out_channels=CONDITION_CHANNELS[: halvings + 1])
    return Mask2ImgObjective(pipeline, controlnet, caption_dropout)


def finished_pipeline(pipeline: StableDiffusionXLPipeline, objective: DiffusionObjective):
    """The pipeline to save: the fine-tuned one, or the base's with the ControlNet beside it."""
    if not isinstance(objective, Mask2ImgObjective):
        return pipeline
    parts = {name: part for name, part in pipeline.components.items() if name not in ("image_encoder", "feature_extractor")}
    return StableDiffusionXLControlNetPipeline(**parts, controlnet=objective.controlnet, add_watermarker=False)


def print_plan(objective: DiffusionObjective, examples: LabelledExamples, options: GeneratorOptions) -> None:
    """Print parameters, memory and time, from three batches really run; nothing is written."""
    import resource
    import time

    trained = sum(p.numel() for p in objective.parameters() if p.requires_grad)
    whole = sum(p.numel() for p in objective.parameters())
    seconds = []
    for draw in range(3):
        began = time.monotonic()
        batch = examples.batch(examples.numbers(draw, options.training.batch, options.training.seed), draw=draw)
        objective(batch, torch.Generator().manual_seed(draw)).backward()
        seconds.append(time.monotonic() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_step = sorted(seconds)[1] * options.training.gradient_accumulation
    print(f"{objective.name}: {trained / 1e6:.1f} million parameters trained of {whole / 1e6:.1f}; {len(examples)} examples (both ways round)")
    print(f"weights, gradients and Adam: {trained * 16 / 1e6:.0f} MB; peak memory so far: {peak:.0f} MB")
    print(f"{per_step:.2f} s a step, so {options.training.steps} steps take {per_step * options.training.steps / 60:.1f} minutes on this machine")

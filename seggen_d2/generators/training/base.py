"""Pre-train a tiny base on unlabelled captioned pictures: its VAE first, then UNet and text encoders."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from tqdm import tqdm

from seggen_d2.captions import read_captions_of
from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import write_json
from seggen_d2.foundation.options import save_options
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.sources import Source, load_dataset, read_image
from seggen_d2.sources.caption_table import read_captions
from seggen_d2.sources.toy_unlabelled import unlabelled_pictures

from ..examples.labelled import encode_pictures
from ..examples.texts import check_captions
from ..images import resize_image, to_signed
from ..tiny_base import MAX_TOKENS, TinyBaseShape, build_tiny_base, parameter_count
from .base_samples import SHOWN, write_samples
from .loop import Batch, Shuffled, TrainingOptions, start_processes, train
from .objectives import BaseObjective, DecoderObjective, LossOptions, VaeObjective

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaseOptions:
    """What ``tools/train_base.py`` reads.

    Attributes:
        height, width: pixels of the pictures.
        toy: that many toy pictures are drawn (0: use ``dataset``).
        dataset: a dataset YAML whose images (never masks) are used, with ``captions``.
        captions: their captions, a Parquet table.
        unlabelled_caption: of the images that ``captions`` lacks, one for all of them; "": it must have all.
        shape: sizes of the networks.
        vae, base: how the VAE, and then UNet and text encoders, are trained.
        decoder: how the VAE's decoder is trained on, by latents with noise, so that a UNet's small errors do not show; none: not at all.
        latent_noise: the most of that noise, in the latents' deviation.
        caption_dropout: share of captions left out, for classifier-free guidance.
        long_captions: ``error``, or ``cut`` at 77 tokens with a word in the log.
        drawings: share of flat-coloured random drawings among the VAE's pictures; they keep plain colours plain.
    """

    height: int
    width: int
    vae: TrainingOptions
    base: TrainingOptions
    toy: int = 0
    dataset: str = ""
    captions: str = ""
    unlabelled_caption: str = ""
    shape: TinyBaseShape = field(default_factory=TinyBaseShape)
    caption_dropout: float = 0.1
    drawings: float = 0.25
    decoder: TrainingOptions | None = None
    latent_noise: float = 0.5
    long_captions: str = "error"

    def __post_init__(self) -> None:
        check_choice("long_captions", self.long_captions, ("error", "cut"))
        for name in ("caption_dropout", "drawings", "latent_noise"):
            check_range(name, getattr(self, name), 0, 1)
        for name in ("height", "width"):
            check_range(name, getattr(self, name), 8, 8192)
        if self.toy and self.height != self.width:
            raise SegGenError("toy pictures are square", expected="height equal to width", found=f"{self.height} x {self.width}")


@dataclass(frozen=True)
class Pictures:
    """Unlabelled pictures: images ``(N, H, W, 3)`` uint8 RGB and N captions."""

    images: np.ndarray
    captions: list[str]


def toy_pictures(count: int, size: int, first: int = 0) -> Pictures:
    """``count`` of the toy world's unlabelled pictures, from the ``first`` on."""
    images, captions = zip(*unlabelled_pictures(count, size=size, first=first), strict=True)
    return Pictures(np.stack(images), list(captions))


def dataset_pictures(dataset: str, captions: str, height: int, width: int, unlabelled_caption: str = "") -> Pictures:
    """The images of a dataset, resized to one size; its masks are not opened.

    Args:
        unlabelled_caption: of the images that the table ``captions`` lacks; "": it must have all.

    Raises:
        SegGenError: images lack captions, or no image has one of its own.
    """
    source = load_dataset(dataset)
    records = source.records()
    texts = _some_captions(source, captions, dataset) if unlabelled_caption else read_captions_of(source, captions, dataset)
    images = [resize_image(read_image(r["file_name"]), height, width) for r in tqdm(records, desc="pictures", unit="image")]
    return Pictures(np.stack(images), [texts.get(str(r["image_id"]), (unlabelled_caption,))[0] for r in records])


def _some_captions(source: Source, captions: str, where: str) -> dict[str, tuple[str, ...]]:
    """Those of the images that the table has; a table of other images would leave one caption for all."""
    names, table = [str(record["image_id"]) for record in source.records()], read_captions(captions)
    found = {name: table[name] for name in names if name in table}
    if not found:
        raise SegGenError(f"captions {captions} are of other images than {where}", expected=f"some of its {len(names)} images, such as {names[0]}",
                          found=", ".join([*table][:5]) or "an empty table", remedy="make them of the labelled ones among its images")
    log.info("%d of %d pictures have a caption of their own, the others one for all", len(found), len(names))
    return found


class VaePictures(Shuffled):
    """Pictures ``(B, 3, H, W)`` in [-1, 1], mirrored at random, mixed with flat-coloured drawings."""

    def __init__(self, pictures: Pictures, drawings: float):
        self.pictures, self.drawings = pictures, drawings

    def __len__(self) -> int:
        return len(self.pictures.images)

    def batch(self, numbers: np.ndarray, *, draw: int = 0, seed: int = 0) -> Batch:
        rng = np.random.default_rng(derive_seed("vae-batch", *map(int, numbers)))
        images = self.pictures.images[numbers].copy()
        for image in images:
            if rng.random() < self.drawings:
                image[:] = drawing(rng, *image.shape[:2])
            elif rng.random() < 0.5:
                image[:] = image[:, ::-1].copy()
        return {"pixels": to_signed(images)}


def drawing(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A flat-coloured picture ``(H, W, 3)`` uint8: random half-planes and ellipses in random plain colours."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    image = np.broadcast_to(rng.integers(0, 256, 3), (height, width, 3)).astype(np.uint8)
    for _ in range(rng.integers(2, 14)):
        angle, cy, cx, ry, rx = rng.uniform(0, np.pi), *rng.uniform(0, 1, 2), *rng.uniform(0.03, 0.4, 2)
        u, v = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        shapes = ((u / rx) ** 2 + (v / ry) ** 2 < 1, (abs(u) < rx) & (abs(v) < ry), u > 0)
        image[shapes[rng.choice(3, p=(0.45, 0.45, 0.1))]] = rng.choice([0, 255], 3) if rng.random() < 0.3 else rng.integers(0, 256, 3)
    return image


class BasePictures(Shuffled):
    """Latents of all pictures, both ways round, with their tokens; in memory, since a tiny base's latents are small."""

    def __init__(self, pictures: Pictures, pipeline: StableDiffusionXLPipeline):
        mean, std = encode_pictures(pipeline, np.concatenate([pictures.images, pictures.images[:, :, ::-1]]))
        tokens = pipeline.tokenizer(pictures.captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
        height, width = pictures.images.shape[1:3]
        self.mean, self.std, self.tokens = mean, std, tokens["input_ids"].repeat(2, 1)
        self.time_ids = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.mean)

    def batch(self, numbers: np.ndarray, *, draw: int = 0, seed: int = 0) -> Batch:
        return {"latent_mean": self.mean[numbers], "latent_std": self.std[numbers], "tokens": self.tokens[numbers],
                "time_ids": self.time_ids.expand(len(numbers), 6)}


def train_base(options: BaseOptions, output: Path, *, licence: str) -> None:
    """Train a base and save it as a plain diffusers folder with fp16 safetensors; the same call resumes.

    Args:
        options: see :class:`BaseOptions`.
        output: the folder; states stay in ``output/vae``, ``output/decoder`` and ``output/base`` beside the model in ``output/model``,
            whose ``samples.png`` shows what is painted for captions of toy pictures that were not trained on, or of the dataset's first.
        licence: goes into the model card.

    Raises:
        SegGenError: neither toy pictures nor a dataset is named, or both are.
    """
    if bool(options.toy) == bool(options.dataset):
        raise SegGenError("name one source of pictures", expected="toy: COUNT, or dataset: FILE with captions: FILE",
                          found=f"toy: {options.toy}, dataset: {options.dataset!r}")
    pictures = (toy_pictures(options.toy, options.height) if options.toy
                else dataset_pictures(options.dataset, options.captions, options.height, options.width, options.unlabelled_caption))
    pipeline = build_tiny_base(pictures.captions, options.shape, sample_side=options.height, seed=options.base.seed)
    check_captions({str(i): text for i, text in enumerate(pictures.captions)}, pipeline,
                   cut=options.long_captions == "cut", where=options.captions or "the toy world")
    identity = {"shape": json.loads(json.dumps(asdict(options.shape))), "pictures": len(pictures.captions), "size": [options.height, options.width]}
    log.info("a base of %.1f million parameters", parameter_count(pipeline) / 1e6)
    vae_facts = train(VaeObjective(pipeline.vae), VaePictures(pictures, options.drawings), options.vae, output / "vae",
                      identity={**identity, "drawings": options.drawings})
    _set_scale(pipeline, pictures)
    if options.decoder is not None:
        train(DecoderObjective(pipeline.vae, options.latent_noise), VaePictures(pictures, options.drawings), options.decoder, output / "decoder",
              identity={**identity, "drawings": options.drawings, "latent_noise": options.latent_noise, "vae": vae_facts["steps"]})
    pipeline.vae.requires_grad_(False)
    base_facts = train(BaseObjective(pipeline, LossOptions(options.caption_dropout)), BasePictures(pictures, pipeline), options.base, output / "base",
                       identity={**identity, "caption_dropout": options.caption_dropout})
    if not start_processes().is_main_process:
        return
    save_options(output, options)
    shown = toy_pictures(SHOWN, options.height, options.toy) if options.toy else Pictures(pictures.images[:SHOWN], pictures.captions[:SHOWN])
    write_samples(pipeline, shown.images, shown.captions, output / "model" / "samples.png")
    pipeline.to(dtype=torch.float16).save_pretrained(output / "model", safe_serialization=True)
    write_json(output / "model" / "base.json", {"height": options.height, "width": options.width, "licence": licence,
               "vae": vae_facts, "base": base_facts, "options": asdict(options)})


def _set_scale(pipeline: StableDiffusionXLPipeline, pictures: Pictures) -> None:
    """Scale latents to unit deviation (Rombach et al. 2022, appendix G)."""
    mean, _ = encode_pictures(pipeline, pictures.images[:512])
    pipeline.vae.register_to_config(scaling_factor=round(1 / float(mean.std()), 4))



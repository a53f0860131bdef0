"""A synthesis job: options, generators and plan put together, and the shards it writes."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from seggen_d2.bank import BankInfo, BankWriter, Rejection, Sample
from seggen_d2.captions import read_captions_of
from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import read_bytes
from seggen_d2.foundation.seeds import derive_seed, fingerprint
from seggen_d2.generators.directory import GeneratorCard, load_generator, read_card
from seggen_d2.generators.prompts import check_captions
from seggen_d2.generators.sampling import SamplerOptions, sample_images
from seggen_d2.segmentation import ColorCodec, check_same_categories, check_same_palette, histogram, label_map_png
from seggen_d2.sources import FolderSource, load_dataset

from .masks import HumanMasks, MaskMaker, SampledMasks
from .plan import Plan, SampleSpec
from .quality import QualityOptions

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class SynthesisOptions:
    """What ``tools/synthesize.py`` reads.

    Attributes:
        dataset, captions: the real data that the bank is made from.
        mask2img: folder of a Mask2Img.
        text2mask: folder of a Text2Mask; MaskSyn alone needs it.
        replicas: samples a real image.
        masks, images: how each network is sampled.
        quality: which sampled masks are rejected.
        jpeg_quality: 1 to 100, without chroma subsampling.
        threads: CPU threads a worker; part of the job, since sums round by it.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda:0``, ...
        dtype: of the networks: float32, bfloat16 or float16.
        long_captions: ``error``, or ``cut`` at 77 tokens.
    """

    dataset: str
    captions: str
    mask2img: str
    text2mask: str = ""
    replicas: int = 10
    seed: int = 0
    batch: int = 16
    shard_size: int = 64
    masks: SamplerOptions = field(default_factory=lambda: SamplerOptions(steps=200))
    images: SamplerOptions = field(default_factory=SamplerOptions)
    quality: QualityOptions = field(default_factory=QualityOptions)
    jpeg_quality: int = 95
    threads: int = 1
    device: str = "auto"
    dtype: str = "float32"
    long_captions: str = "error"

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, DTYPES)
        check_choice("long_captions", self.long_captions, ("error", "cut"))
        check_range("jpeg_quality", self.jpeg_quality, 1, 100)
        check_range("threads", self.threads, 1, 1024)


class Job:
    """Everything that a worker needs; opening it checks all inputs against each other.

    Raises:
        SegGenError: an input is missing, or dataset, generators and bank do not fit each other.
    """

    def __init__(self, strategy: str, options: SynthesisOptions):
        self.strategy, self.options = strategy, options
        self.source = load_dataset(options.dataset, task="semantic")
        self.captions = self._read_captions()
        self.plan = Plan(strategy, list(self.captions), options.replicas, options.seed, options.shard_size, options.batch)
        self.cards = self._read_cards()
        self.card = self.cards["mask2img"]

    def _read_captions(self) -> dict[str, str]:
        captions = read_captions_of(self.source, self.options.captions, self.options.dataset)
        return {r["image_id"]: captions[r["image_id"]][0] for r in self.source.records()}

    def _read_cards(self) -> dict[str, GeneratorCard]:
        folders = {"mask2img": self.options.mask2img}
        if self.strategy == "masksyn":
            if not self.options.text2mask:
                raise SegGenError("MaskSyn needs a Text2Mask", expected="text2mask: FOLDER", found="no key text2mask")
            folders["text2mask"] = self.options.text2mask
        cards = {kind: read_card(folder, kind) for kind, folder in folders.items()}
        for kind, card in cards.items():
            check_same_categories(card.read_categories(folders[kind]), self.source.categories,
                                  a_is=f"the generator {folders[kind]}", b_is=f"the dataset {self.options.dataset}")
            check_same_palette(card.read_palette(folders[kind]), cards["mask2img"].read_palette(folders["mask2img"]),
                               a_is=f"the generator {folders[kind]}", b_is=f"the generator {folders['mask2img']}")
            ours, theirs = ((c.task, c.geometry) for c in (card, cards["mask2img"]))
            if ours != theirs:
                raise SegGenError("the generators are of another task or size", expected=f"{folders['mask2img']}: {theirs}",
                                  found=f"{folders[kind]}: {ours}", remedy="train both on one dataset at one size")
        return cards

    def info(self) -> BankInfo:
        """The bank's description: what decides its samples, without paths, times and hosts."""
        options = asdict(self.options)
        for key in ("dataset", "captions", "mask2img", "text2mask", "device", "long_captions") + (() if self.strategy == "masksyn" else ("masks", "quality")):
            options.pop(key)
        texts = "\n".join(f"{i}\t{caption}" for i, caption in self.captions.items())
        job = {"strategy": self.strategy, "dataset": self.source.name, "sources": len(self.captions),
               "captions": fingerprint(texts.encode()), **options}
        if self.strategy == "imgsyn":
            masks = (fingerprint(read_bytes(r["sem_seg_file_name"], "mask")) for r in self.source.records())
            job["masks"] = fingerprint("".join(masks).encode())
        generators = tuple({"kind": kind, "fingerprint": card.fingerprint, "licence": card.licence, "base": card.base}
                           for kind, card in sorted(self.cards.items()))
        return BankInfo(self.source.task, self.source.categories, self.card.read_palette("mask2img"), generators, job)

    def painter(self) -> Painter:
        """Load the networks."""
        return Painter(self)


class Painter:
    """Makes samples: a mask maker, then Mask2Img."""

    def __init__(self, job: Job):
        self.job, options = job, job.options
        torch.set_num_threads(options.threads)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
        load = {"dtype": DTYPES[options.dtype], "device": device}
        self.mask2img = load_generator(options.mask2img, "mask2img", **load)
        check_captions(job.captions, self.mask2img, cut=options.long_captions == "cut", where=options.captions)
        self.categories = job.source.categories
        self.codec = ColorCodec(job.card.read_palette("mask2img"), self.categories.ignore_id)
        self.masks = self._mask_maker(job.source, load)

    def _mask_maker(self, source: FolderSource, load: dict) -> MaskMaker:
        options, card = self.job.options, self.job.card
        if self.job.strategy == "imgsyn":
            files = {r["source_id"]: r["sem_seg_file_name"] for r in source.records()}
            return HumanMasks(files, self.categories, card.geometry.height, card.geometry.width)
        text2mask = load_generator(options.text2mask, "text2mask", **load)
        return SampledMasks(text2mask, self.job.captions, self.codec, self.categories, card.geometry.height, card.geometry.width, options.masks, options.quality,
                            self.job.cards["text2mask"].original_size)

    def __call__(self, specs: Sequence[SampleSpec]) -> tuple[list[Sample], list[Rejection]]:
        """Make one batch."""
        made = self.masks(specs)
        rejected = [Rejection(s.key, s.source_id, m) for s, m in zip(specs, made, strict=True) if isinstance(m, str)]
        kept = [(s, m) for s, m in zip(specs, made, strict=True) if not isinstance(m, str)]
        return self._paint(kept) if kept else [], rejected

    def _paint(self, kept: list[tuple[SampleSpec, np.ndarray]]) -> list[Sample]:
        captions = [self.job.captions[spec.source_id] for spec, _ in kept]
        maps = np.stack([self.codec.encode(labels) for _, labels in kept])
        seeds = [derive_seed(spec.seed, "image") for spec, _ in kept]
        images = sample_images(self.mask2img, captions, maps, seeds, self.job.options.images, self.job.card.original_size)
        return [self._sample(spec, labels, image, caption) for (spec, labels), image, caption in zip(kept, images, captions, strict=True)]

    def _sample(self, spec: SampleSpec, labels: np.ndarray, image: np.ndarray, caption: str) -> Sample:
        height, width = labels.shape
        return Sample(key=spec.key, image=_jpeg(image, self.job.options.jpeg_quality), mask=label_map_png(labels),
                      source_id=spec.source_id, strategy=spec.strategy, seed=spec.seed, caption=caption,
                      height=height, width=width, histogram=histogram(labels, self.categories))


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def run_shards(job: Job, output: Path, *, index: int = 0, count: int = 1) -> None:
    """Write the shards of worker ``index`` of ``count``: those whose number is ``index`` modulo ``count``.

    Finished shards are left as they are; the same call goes on after any stop.

    Raises:
        SegGenError: the folder holds a bank of another job, or an input is bad.
    """
    check_range("worker index", index, 0, count - 1)
    writer = BankWriter(output, job.info())
    todo = [n for n, shard in enumerate(job.plan.shards) if n % count == index and not writer.is_finished(shard)]
    if not todo:
        return
    painter, total = job.painter(), sum(len(batch) for n in todo for batch in job.plan.batches(n))
    with tqdm(total=total, desc=f"{job.strategy} worker {index + 1}/{count}", unit="sample", position=index, mininterval=1) as bar:
        for n in todo:
            samples, rejections = [], []
            for specs in job.plan.batches(n):
                made, rejected = painter(specs)
                samples += made
                rejections += rejected
                bar.update(len(specs))
            writer.write_shard(job.plan.shards[n], samples, rejections)

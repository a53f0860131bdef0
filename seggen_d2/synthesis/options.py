"""What a synthesis is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.options import build
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.sampling.sampler import SamplerOptions

from .plan import STRATEGIES
from .quality import QualityOptions

DTYPES = ("float32", "bfloat16", "float16")
APART = ("dataset", "captions", "mask2img", "text2mask", "base", "base_config", "licence", "geometry", "weights",  # a bank tells of them by other words
         "device", "long_captions")  # or not at all
MASKSYN_ALONE = ("masks", "quality")


@dataclass(frozen=True)
class SynthesisOptions:
    """What ``tools/synthesize.py`` reads.

    Attributes:
        dataset, captions: the real data that the bank is made from.
        mask2img: folder of a Mask2Img; MaskSyn and ImgSyn need it.
        text2mask: folder of a Text2Mask; MaskSyn alone needs it.
        base: what paints unlabelled samples: ``toy``, a diffusers folder, a .safetensors checkpoint, or a hub name.
        base_config: for a .safetensors base: folder or hub name of configurations and tokenizers; "" is SDXL-base's.
        licence: of the base, where its files do not tell it.
        geometry: sizes of unlabelled samples; those of the others are their Mask2Img's.
        replicas: samples a real image; files may give each strategy its own, ``{masksyn: 10, imgsyn: 50}``.
        samples: the budget, samples in all, in place of ``replicas``; files may give each strategy its own. 0 is none.
        weights: a file of a weight for each real image (``tools/weigh_sources.py``): the budget goes to images by their
            weights, the weightiest first. Without it, all images are treated alike.
        first_caption: which of a real image's captions, counted from 0, its first sample has; the next ones go on from there.
            A second bank that begins where the first one's captions end repeats none of them.
        seed: changes every sample.
        batch: samples that the networks see at once.
        shard_size: samples a shard; what a killed worker has to make again is at most one shard.
        masks, images: how each network is sampled; ``images.strength`` under 1 starts from the real photo.
        quality: which sampled masks are rejected.
        jpeg_quality: 1 to 100, without chroma subsampling.
        threads: CPU threads a worker; part of the job, since sums round by it.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda:0``, ...
        dtype: of the networks: float32, bfloat16 or float16.
        long_captions: ``error``, or ``cut`` at 77 tokens.
    """

    dataset: str
    captions: str
    mask2img: str = ""
    text2mask: str = ""
    base: str = ""
    base_config: str = ""
    licence: str = ""
    geometry: Geometry = field(default_factory=Geometry)
    replicas: int = 10
    samples: int = 0
    weights: str = ""
    first_caption: int = 0
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
        check_range("first_caption", self.first_caption, 0, 10**6)

    def facts(self, strategy: str) -> dict[str, Any]:
        """What of it decides a bank's samples: no paths, no device, nothing that ``strategy`` does not use."""
        unused = APART if strategy == "masksyn" else APART + MASKSYN_ALONE
        unused += ("replicas",) if self.samples else ("samples",)
        unused += () if self.first_caption else ("first_caption",)
        facts = {key: value for key, value in asdict(self).items() if key not in unused}
        for network in {"masks", "images"} & set(facts):
            del facts[network]["distilled"]  # told among the generators, by fingerprint and licence
        return facts


def options_for(strategy: str, values: dict[str, Any], where: str) -> SynthesisOptions:
    """The options that ``values``, read from ``where``, give ``strategy``.

    Raises:
        SegGenError: a key is unknown, missing, of the wrong type or out of range.
    """
    own = {name: _own(name, values[name], strategy, where) for name in ("replicas", "samples") if isinstance(values.get(name), dict)}
    return build(SynthesisOptions, {**values, **own}, where)


def _own(name: str, numbers: dict[str, int], strategy: str, where: str) -> int:
    if strategy not in numbers or not set(numbers) <= set(STRATEGIES):
        raise SegGenError(f"{where}: {name} do not tell those of {strategy}", expected="{masksyn: NUMBER, imgsyn: NUMBER, ...}, or one number",
                          found=str(numbers), remedy=f"name {strategy} there, or give {name} NUMBER")
    return numbers[strategy]

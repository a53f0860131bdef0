"""What a generator's training reads, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from seggen_d2.foundation.errors import check_choice
from seggen_d2.segmentation.mask_codec import EDGE_WIDTH

from ..examples.cache import CacheOptions
from ..geometry import Geometry
from ..judging.alarms import AlarmOptions
from .lora import LoraOptions
from .objectives import LossOptions
from .options import TrainingOptions


@dataclass(frozen=True)
class GeneratorOptions:
    """What ``tools/train_generator.py`` reads.

    Attributes:
        base: ``toy``, a diffusers folder, a .safetensors checkpoint, or a hub name.
        dataset: the labelled dataset's YAML, of any task.
        captions: its captions, a Parquet table.
        training: how long and how.
        geometry: sizes to train at: aspect buckets, or one fixed height and width; multiples of the VAE's factor.
        base_config: for a .safetensors base: folder or hub name of configurations and tokenizers; "" is SDXL-base's.
        init: a generator of the same kind to start from, a folder or hub name; equal category names keep its colours.
        loss: what the loss is made of.
        lora: adapters instead of the whole UNet, for Text2Mask.
        cache: where latents and text embeddings are kept, and how.
        validation: what is measured on held-out pairs along the way; the best weights are then saved.
        exclude: YAML files of datasets whose images must not be trained on, such as the validation set.
        edge_width, edges: how segments are outlined (panoptic and instance; see ``mask_codec``).
        licence: of the base, where its files do not tell it; it goes into the card and every bank.
        long_captions: ``error``, or ``cut`` at 77 tokens with a word in the log.
    """

    base: str
    dataset: str
    captions: str
    training: TrainingOptions
    geometry: Geometry = field(default_factory=Geometry)
    base_config: str = ""
    init: str = ""
    loss: LossOptions = field(default_factory=LossOptions)
    lora: LoraOptions = field(default_factory=LoraOptions)
    cache: CacheOptions = field(default_factory=CacheOptions)
    validation: AlarmOptions = field(default_factory=AlarmOptions)
    exclude: tuple[str, ...] = ()
    edge_width: int = EDGE_WIDTH
    edges: str = "all"
    licence: str = ""
    long_captions: str = "error"

    def __post_init__(self) -> None:
        check_choice("long_captions", self.long_captions, ("error", "cut"))

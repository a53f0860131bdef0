"""What a generator's training measures along the way, and when it says aloud that something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seggen_d2.captions import read_captions_of
from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.segmentation import Categories, check_same_categories
from seggen_d2.sources import Source, load_dataset
from seggen_d2.sources.leaks import check_apart

from .held_out import ValidationOptions

BEST = {"judged": ("miou", "max"), "unjudged": ("loss_held_out", "min"), "text2mask": ("misfit", "min")}
GAIN = 0.002  # a condition that lowers the loss by less is not used: one that is ignored makes no difference at all
UNSURE = 0.5  # a Text2Mask that has learnt the palette has far fewer pixels between its colours
ADVICE = ("ControlNets converge suddenly or never: train longer, raise learning_rate or batch, or check captions and colours; the "
          "training loss shows little")
COPIES = 0.05  # so many more copies of training masks than held-out masks are


@dataclass(frozen=True)
class AlarmOptions(ValidationOptions):
    """What is measured on held-out pairs along a training.

    Attributes:
        every: steps between measurements; 0 measures nothing, and the last weights are saved.
        dataset, captions: a held-out dataset's YAML and captions; "" holds ``pictures`` of the training set out.
        segmenter: what judges Mask2Img's images: a transformers folder or hub name, of this dataset's classes. Without one,
            the loss tells whether a picture's own condition helps more than another's.
        learnt_by: the step from which a condition that is still ignored, or a palette not yet learnt, is an alarm.
        least_heeded: below it a condition counts as ignored: 0 is an image that heeds its mask no more than another's, 1 a
            real photo.
    """

    every: int = 0
    dataset: str = ""
    captions: str = ""
    segmenter: str = ""
    learnt_by: int = 10_000
    least_heeded: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("validation: every", self.every, 0, 10**9)
        check_range("validation: learnt_by", self.learnt_by, 0, 10**9)
        check_range("validation: least_heeded", self.least_heeded, 0, 1)
        if bool(self.dataset) != bool(self.captions):
            raise SegGenError("validation: dataset and captions go together", expected="both, or neither to hold pictures of the training set out",
                              found=f"dataset: {self.dataset!r}, captions: {self.captions!r}")

    def way(self, kind: str) -> str:
        """How a generator of ``kind`` is measured: ``text2mask``, or Mask2Img ``judged`` by a segmenter or ``unjudged``."""
        return kind if kind == "text2mask" else "judged" if self.segmenter else "unjudged"


@dataclass(frozen=True)
class Part:
    """Some records of a dataset."""

    whole: Source
    chosen: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def task(self) -> str:
        return self.whole.task

    @property
    def categories(self) -> Categories:
        return self.whole.categories

    def records(self) -> list[dict[str, Any]]:
        return [dict(record) for record in self.chosen]


def held_out_part(source: Source, captions: dict[str, Any], options: AlarmOptions, where: str) -> tuple[Source, dict[str, Any], frozenset[str]]:
    """Held-out pairs: their dataset, its captions, and the ``image_id`` of those that must leave the training set.

    Raises:
        SegGenError: the validation set shares images with the training set, or has other categories or another task.
    """
    if not options.dataset:
        records = source.records()
        count = min(options.pictures, len(records) // 2)
        chosen = tuple(records[number * len(records) // count] for number in range(count)) if count else ()
        return Part(source, chosen), captions, frozenset(str(record["image_id"]) for record in chosen)
    held = load_dataset(options.dataset, task=source.task)
    check_same_categories(source.categories, held.categories, a_is=where, b_is=options.dataset)
    check_apart(source.records(), held.records(), ours_is=where, theirs_is=options.dataset)
    return held, read_captions_of(held, options.captions, options.dataset), frozenset()


def alarm_of(kind: str, options: AlarmOptions) -> Callable[[int, dict[str, float]], str]:
    """``(step, figures)`` to what is wrong, or ""."""
    return {"judged": _ignored, "unjudged": _unused, "text2mask": _unlearnt}[options.way(kind)](options)


def _ignored(options: AlarmOptions) -> Callable[[int, dict[str, float]], str]:
    def alarm(step: int, figures: dict[str, float]) -> str:
        if step < options.learnt_by or figures["heeded"] >= options.least_heeded:
            return ""
        return (f"the condition is still ignored: images score {figures['miou']:.1f} mIoU against their own masks, "
                f"{figures['miou_shuffled']:.1f} against others', real photos {figures['miou_real']:.1f}. {ADVICE}")

    return alarm


def _unused(options: AlarmOptions) -> Callable[[int, dict[str, float]], str]:
    def alarm(step: int, figures: dict[str, float]) -> str:
        if step < options.learnt_by or figures["gain"] >= GAIN:
            return ""
        return (f"the condition is still ignored: a picture's own mask lowers the loss by {figures['gain']:.2%} against another's. {ADVICE}")

    return alarm


def _unlearnt(options: AlarmOptions) -> Callable[[int, dict[str, float]], str]:
    def alarm(step: int, figures: dict[str, float]) -> str:
        if step >= options.learnt_by and figures["unsure"] > UNSURE:
            return f"the palette is not learnt: {figures['unsure']:.0%} of the pixels lie between its colours"
        if figures["copies"] > figures["copies_real"] + COPIES:
            return (f"{figures['copies']:.0%} of the sampled masks are copies of training masks ({figures['copies_real']:.0%} of held-out ones are "
                    "as near): stop earlier, or train on more photos")
        return ""

    return alarm

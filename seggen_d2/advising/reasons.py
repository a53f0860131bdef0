"""Why a bank may help or harm: what its statistics and a segmenter that has never seen it say. Hints, not verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seggen_d2.evaluation.scores import mean_of
from seggen_d2.evaluation.tables import none, number
from seggen_d2.segmentation.confusion import iou_of, shares

from .statistics import BankFacts, Counts
from .verdict import LOSES, Verdict

REPEATED = 0.9  # share of different images under which samples are called repeated
MISALIGNED = 0.75  # share of the agreement on real images under which labels are called misaligned
CONFUSED = 25.0  # points: how much more of a class is taken for another one in the bank than in real images
LIKER = 10.0  # points of total variation: how much more a class of the bank is seen like another real class than like its own
RARE = 0.25  # share of a class's real share of pixels under which it is called rare in the bank


@dataclass(frozen=True)
class Reason:
    """One finding.

    Attributes:
        kind: ``repeated``, ``misaligned``, ``confused``, ``absent``, ``rare``, ``scores``, ``sources`` or ``loses``.
        classes: that it is about; none where it is about the whole bank.
        text: a sentence. remedy: what can be done.
    """

    kind: str
    classes: tuple[str, ...]
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Alignment:
    """Labels against what probes of real data alone see: on real images held out, and on the bank.

    Attributes:
        real, bank: ``(N, N)`` pixels, labels by what is seen.
    """

    real: np.ndarray
    bank: np.ndarray

    def iou(self, of: np.ndarray) -> np.ndarray:
        """``(N,)`` percent."""
        return iou_of(np.stack([np.diag(of), of.sum(1), of.sum(0)], -1))

    def both(self) -> tuple[float, float]:
        """Mean IoU on real images and on the bank, percent, over the classes that both hold; NaN where there are none."""
        real, bank = self.iou(self.real), self.iou(self.bank)
        known = ~np.isnan(real) & ~np.isnan(bank)
        return float(mean_of(np.where(known, real, np.nan))), float(mean_of(np.where(known, bank, np.nan)))


def reasons_of(names: Sequence[str], real: Counts, bank: Counts, facts: Sequence[BankFacts], alignment: Alignment, verdict: Verdict) -> list[Reason]:
    """All that was found, the gravest first."""
    return [*_repeated(facts), *_misaligned(alignment), *_confused(names, alignment), *_losing(verdict), *_missing(names, real, bank),
            *_rare(names, real, bank), *_scored(facts), *_sources(facts)]


def _repeated(facts: Sequence[BankFacts]) -> Iterator[Reason]:
    for one in facts:
        if one.images < REPEATED * one.samples:
            yield Reason("repeated", (), f"Bank {one.root} holds {one.images} different images among {one.samples} samples.",
                         "make the samples again with seeds of their own; a repeated sample teaches nothing new")


def _misaligned(alignment: Alignment) -> Iterator[Reason]:
    real, bank = alignment.both()
    if bank < MISALIGNED * real:
        yield Reason("misaligned", (), f"Segmenters trained on real data alone agree with the bank's masks to {number(none(bank))} mIoU, and to "
                     f"{number(none(real))} with real labels that they have not seen: images and masks do not belong together as well as in real data.",
                     "look at samples (tools/inspect_bank.py); a filter (tools/score_bank.py ... --scores filter) leaves out what disagrees")


def _confused(names: Sequence[str], alignment: Alignment) -> Iterator[Reason]:
    real, bank = (shares(side, np.broadcast_to(side.sum(1, keepdims=True), side.shape)) for side in (alignment.real, alignment.bank))
    for place, name in enumerate(names):
        other = _most_seen(place, real, bank)
        if other is not None:
            yield Reason("confused", (name,), f"{bank[place, other]:.0f}% of what the bank calls {name} looks like {names[other]} to segmenters trained on "
                         f"real data; of real {name} it is {real[place, other]:.0f}%.", f"look whether the bank's label {name} stands on {names[other]}")
            continue
        other = _likest(place, real, bank)
        if other is not None:
            yield Reason("confused", (name,), f"To segmenters trained on real data, what the bank calls {name} looks as real {names[other]} does "
                         f"({bank[place, place]:.0f}% {name}, {bank[place, other]:.0f}% {names[other]}), not as real {name} "
                         f"({real[place, place]:.0f}% and {real[place, other]:.0f}%).", f"look whether the labels {name} and {names[other]} are exchanged")


def _most_seen(place: int, real: np.ndarray, bank: np.ndarray) -> int | None:
    """The class that the bank's ``place`` is mostly taken for, and that real pixels are far less."""
    other = int(np.argmax(np.where(np.arange(len(bank)) == place, -1, np.nan_to_num(bank[place]))))
    seen = bank[place, other]
    return other if seen > bank[place, place] and seen - real[place, other] > CONFUSED else None


def _likest(place: int, real: np.ndarray, bank: np.ndarray) -> int | None:
    """The class whose real pixels are seen as the bank's ``place`` is, by total variation; a weak segmenter's errors are the same on both sides."""
    apart = np.abs(real - bank[place]).sum(1) / 2
    if np.isnan(apart[place]):
        return None
    other = int(np.nanargmin(apart))
    return other if apart[place] - apart[other] > LIKER else None


def _losing(verdict: Verdict) -> Iterator[Reason]:
    losing = tuple(name for name, change in verdict.shown.classes.items() if change.verdict == LOSES)
    if losing and verdict.recommended.p_aug:
        yield Reason("loses", losing, f"The mean gains, and {', '.join(losing)} {'loses' if len(losing) == 1 else 'lose'} all the same.",
                     "look at these classes in the bank, or leave their pixels to be ignored, by a filter")


def _missing(names: Sequence[str], real: Counts, bank: Counts) -> Iterator[Reason]:
    absent = tuple(name for name, own, made in zip(names, real.pixels, bank.pixels, strict=True) if own and not made)
    if absent:
        yield Reason("absent", absent, f"The bank holds no pixel of {', '.join(absent)}.",
                     "each swap takes real examples of these classes away: keep p_aug low")


def _rare(names: Sequence[str], real: Counts, bank: Counts) -> Iterator[Reason]:
    rare = tuple(name for name, own, made in zip(names, real.shares, bank.shares, strict=True) if own and 0 < made < RARE * own)
    if rare:
        yield Reason("rare", rare, f"Of {', '.join(rare)} the bank holds less than {RARE:.0%} of the share of pixels in real data.",
                     "synthesise from captions or masks that hold them")


def _scored(facts: Sequence[BankFacts]) -> Iterator[Reason]:
    for one in facts:
        for name, (figure, bank, real) in one.alignment.items():
            beside = "" if real is None else f", on real held-out images {real:.1f}"
            yield Reason("scores", (), f"Bank {one.root}, scores/{name}: a segmenter's {figure} against the bank's masks is {number(bank)}{beside}.")


def _sources(facts: Sequence[BankFacts]) -> Iterator[Reason]:
    for one in facts:
        if one.sources < 1:
            yield Reason("sources", (), f"{1 - one.sources:.0%} of bank {one.root} name a source that is no image of the real set: whether they "
                         "show what was held out cannot be told.", "if they were made from images of the real set, the probes flatter the bank")

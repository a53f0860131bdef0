"""Advice as text: what the page and the terminal share."""

from __future__ import annotations

from collections.abc import Sequence

from seggen_d2.evaluation.comparison.words import signed
from seggen_d2.evaluation.tables import none, number, text_table

from .advice import Advice
from .verdict import HARMS, HELPS, LEVEL, ArmResult, Change

FEW = 30  # held-out images
CAVEATS = (
    "The generators were trained on all real images, those held out here among them. Samples made from a held-out image are never seen by its "
    "probes, but what the generators learned from it by heart may be: the probes can flatter a bank.",
    "Probes are short trainings of a small segmenter. A longer training of a larger one may gain where they see nothing, and gains may be of another size.",
    "Of classes told at {level:.0%} each, about one in {odds:.0f} that do not change is said to gain or lose all the same.",
)


def headline(found: Advice) -> str:
    """The verdict in a sentence."""
    shown, word = found.verdict.shown, found.verdict.word
    figure = f"mIoU {signed(shown.overall.value, 1)} {bounds(shown.overall)} at {shown.arm}, against {number(shown.overall.base)} on real data alone"
    return {HELPS: f"It helps: {figure}.", HARMS: f"It harms: {figure}."}.get(word, f"No difference was seen: {figure}.")


def recommendation(found: Advice) -> str:
    """What to do, in a sentence or two."""
    verdict = found.verdict
    if verdict.word == HARMS:
        return "Use p_aug 0: train without it."
    if verdict.word != HELPS:
        return f"Use p_aug 0 unless a longer look says more: more --seeds, --iterations and real images (here {found.images}) narrow the intervals."
    verb = "helps" if len(verdict.as_good) == 1 else "help"
    also = f" {' and '.join(map(str, verdict.as_good))} {verb} as well, not told apart from it." if verdict.as_good else ""
    keys = f"SEGGEN.P_AUG {verdict.recommended.p_aug:g}" + (f" SEGGEN.FILTER {verdict.recommended.filter}" if verdict.recommended.filter else "")
    return f"Use {verdict.recommended}: {keys}.{also}"


def caveats(found: Advice) -> list[str]:
    """What a reader must know before believing it."""
    told = [line.format(level=LEVEL, odds=1 / (1 - LEVEL)) for line in CAVEATS]
    if found.images < FEW:
        told.append(f"{found.images} held-out images are few: intervals of so few are too narrow.")
    if found.options.seeds == 1:
        told.append("There is one training a fold: how far trainings differ by their seeds is not in the intervals. Give --seeds 2 or more.")
    if found.folds < found.options.folds:
        told.append(f"{found.options.folds - found.folds} of {found.options.folds} folds had no sample left that was not made from their held-out images.")
    return told


def bounds(change: Change) -> str:
    """``[low, high]``."""
    return f"[{signed(change.interval.low, 1)}, {signed(change.interval.high, 1)}]"


def chance(change: Change) -> str:
    """Of a gain, such as ``97%``."""
    return number(none(100 * change.chance), 0) + "%"


def cells(change: Change) -> list[str]:
    """Without, difference, interval, chance, verdict."""
    return [number(none(change.base)), signed(change.value, 1), bounds(change), chance(change), change.verdict]


def made(found: Advice) -> str:
    """How it was found, in a line."""
    options = found.options
    weights = f" from {options.weights}" if options.weights else ""
    return (f"{found.probes} probes of {options.iterations} iterations of {options.batch} images at {options.size} px ({options.backbone}{weights}): "
            f"{found.folds} folds of {found.dataset}, {options.seeds} seeds; tested on {found.images} held-out images; {found.replicates:,} paired bootstrap "
            "draws of images and trainings")


def summary(found: Advice) -> str:
    """What is printed."""
    ways = text_table(("way", "without", "difference", f"{found.verdict.level:.1%} interval", "chance of a gain", "verdict"),
                      [(str(one.arm), *cells(one.overall)) for one in found.verdict.arms])
    why = [f"- {reason.text}" + (f" To do: {reason.remedy}." if reason.remedy else "") for reason in found.reasons] or ["- nothing stands out"]
    return "\n".join([headline(found), recommendation(found), "", ways, "", _classes(found, found.verdict.shown), "", "why it may be so:", *why, "",
                      "before believing it:", *(f"- {line}" for line in caveats(found)), "", made(found)])


def _classes(found: Advice, shown: ArmResult) -> str:
    header = (f"class, IoU at {shown.arm}", "without", "difference", f"{LEVEL:.0%} interval", "chance of a gain", "verdict")
    rows = [(name, *cells(change), *statistics(found, place)) for place, (name, change) in enumerate(shown.classes.items())]
    return text_table((*header, "pixels % real", "bank", "labels agree % real", "bank"), rows)


def statistics(found: Advice, place: int) -> Sequence[str]:
    """Of a class: its share of pixels in real data and in the bank, and how far probes of real data agree with the labels of both."""
    agree = [found.alignment.iou(side)[place] for side in (found.alignment.real, found.alignment.bank)]
    return [number(float(found.real.shares[place])), number(float(found.bank.shares[place])), *(number(none(float(value))) for value in agree)]

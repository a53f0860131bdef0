"""What a :class:`Survival` says, in words."""

from __future__ import annotations

from .survival import LOST, RELIABLE, ClassSurvival, Survival

MEASURES = {"semantic": "IoU", "panoptic": "PQ", "instance": "PQ"}


def survival_text(found: Survival) -> str:
    """A table of the classes, worst first; then sizes, losses, and what to do about them."""
    measure = MEASURES[found.task]
    held = sorted((c for c in found.classes if c.objects), key=lambda c: c.score)
    width = max([5, *(len(c.name) for c in held)])
    lines = [f"{'class':<{width}}  {measure:>6}  {'colours':>7}  {'objects':>7}  {'back':>5}  {'smallest':>8}  most taken for",
             *(_line(c, width) for c in held), "", f"mean {measure} {found.score:.1f} over {found.masks} masks; {found.without_vae:.1f} by colours alone", ""]
    return "\n".join([*lines, *_sizes(found), "", *_advice(found, measure)])


def _line(c: ClassSurvival, width: int) -> str:
    taken = f"{c.taken_for} ({c.taken_share:.0%})" if c.taken_share >= 0.005 else ""
    smallest = "-" if c.smallest is None else f"{c.smallest:.0f} px"
    return f"{c.name:<{width}}  {c.score:>6.1f}  {c.without_vae or 0:>7.1f}  {c.objects:>7}  {c.survived / c.objects:>5.0%}  {smallest:>8}  {taken}".rstrip()


def _sizes(found: Survival) -> list[str]:
    lines = [f"objects of {low} to {high} px at the working size: {came} of {objects} come back" for low, high, objects, came in found.sizes]
    smallest = "no object comes back" if found.smallest is None else f"the smallest that comes back has a side of {found.smallest:.0f} px"
    sure = f"{RELIABLE:.0%} or more come back"
    safe = f"from {found.safe_from} px on {sure}" if found.safe_from else f"there is no size from which on {sure}"
    return [*lines, f"{smallest}; {safe}"]


def _advice(found: Survival, measure: str) -> list[str]:
    lost = [c for c in found.classes if c.lost]
    if not lost:
        return [f"no class falls under {measure} {LOST:.0f}"]
    lines = [f"this method will lose {len(lost)} of {sum(c.objects > 0 for c in found.classes)} classes ({measure} under {LOST:.0f}):"]
    return lines + [f"  {c.name}: {_remedy(c, found)}" for c in lost]


def _remedy(c: ClassSurvival, found: Survival) -> str:
    if c.merge_with:
        return f"{c.taken_share:.0%} of it comes back as {c.merge_with}: merge the two, or leave one out"
    if found.safe_from is None or c.median < found.safe_from:
        remedy = "cut large photos (geometry: max_shrink), or merge it into another class"
        return f"its objects are small (the middle one has a side of {c.median:.0f} px): {remedy}"
    return "its pixels come back as several others: merge it into a class like it, or leave it out"

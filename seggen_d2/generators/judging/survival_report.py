"""What became of a dataset's masks on their way through colours and a VAE, as figures and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LOST = 50.0  # percent: a class below it is lost to the method
TAKEN = 0.2  # share of a lost class's pixels in one other class from which on the two should be merged
RELIABLE = 0.9  # share of the objects of a size that survive, for the size to count as safe
HALF = 0.5  # likewise, for a size whose losses have another cause than size
MEASURES = {"semantic": "IoU", "panoptic": "PQ", "instance": "PQ"}


@dataclass(frozen=True)
class ClassSurvival:
    """What becomes of one class.

    Attributes:
        name: the class.
        score: IoU (semantic) or PQ, percent, after the VAE; None where no mask holds it.
        without_vae: the same after colours alone.
        objects: how many there are: segments, objects, or connected regions of a semantic mask.
        survived: how many of them come back.
        smallest: side, pixels, of the smallest that comes back: the root of its area; None where none does.
        median: side of the middle one of all.
        taken_for: the class that most of its other pixels come back as; "" where that is none.
        taken_share: the share of its pixels that do.
        images: how many hold it, at their own size; ``objects`` are counted at the working size.
    """

    name: str
    score: float | None
    without_vae: float | None
    objects: int
    survived: int
    smallest: float | None
    median: float | None
    taken_for: str
    taken_share: float
    images: int

    @property
    def lost(self) -> bool:
        return self.gone or (self.score is not None and self.score < LOST and self.objects > 0)

    @property
    def gone(self) -> bool:
        """Whether resizing to the working size leaves nothing of it, before any colour."""
        return self.images > 0 and not self.objects


@dataclass(frozen=True)
class Survival:
    """What becomes of a dataset.

    Attributes:
        task: of the dataset.
        masks: how many were sent.
        score, without_vae: mean IoU or PQ of the classes, percent.
        classes: each of them.
        sizes: ``(from, to, objects, survived)`` by side, pixels; doubling.
    """

    task: str
    masks: int
    score: float
    without_vae: float
    classes: tuple[ClassSurvival, ...]
    sizes: tuple[tuple[int, int, int, int], ...]

    @property
    def smallest(self) -> float | None:
        """Side, pixels, of the smallest object that comes back."""
        return min((c.smallest for c in self.classes if c.smallest is not None), default=None)

    @property
    def safe_from(self) -> int | None:
        """The side, pixels, from which on nine in ten objects of every size come back; None where there is none."""
        return self._from(RELIABLE)

    def _from(self, share: float) -> int | None:
        found = None
        for low, _, objects, survived in reversed(self.sizes):
            if survived < share * objects:
                break
            found = low
        return found

    def is_small(self, c: ClassSurvival) -> bool:
        """Whether the middle one of a class's objects is smaller than sizes of which half come back, whatever their class."""
        enough = self._from(HALF)
        return c.median is not None and (enough is None or c.median < enough)

    def merge_with(self, c: ClassSurvival) -> str:
        """The class to merge a lost one with; "" where it is not lost, too small, or lost to no one class."""
        return c.taken_for if c.lost and c.taken_share >= TAKEN and not self.is_small(c) else ""

    def to_json(self) -> dict[str, Any]:
        classes = [{**asdict(c), "lost": c.lost, "gone": c.gone, "merge_with": self.merge_with(c)} for c in self.classes]
        return {**asdict(self), "classes": classes, "smallest": self.smallest, "safe_from": self.safe_from}


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
    lines = [f"this method will lose {len(lost)} of {sum(c.images > 0 for c in found.classes)} classes ({measure} under {LOST:.0f}):"]
    return lines + [f"  {c.name}: {_remedy(c, found)}" for c in lost]


def _remedy(c: ClassSurvival, found: Survival) -> str:
    smaller = "cut large photos (geometry: max_shrink), or merge it into another class"
    if c.gone:
        return f"nothing is left of it at the working size, though {c.images} images hold it: {smaller}"
    if other := found.merge_with(c):
        return f"{c.taken_share:.0%} of it comes back as {other}: merge the two, or leave one out"
    if found.is_small(c):
        return f"its objects are small (the middle one has a side of {c.median:.0f} px): {smaller}"
    return "its pixels come back as several others: merge it into a class like it, or leave it out"

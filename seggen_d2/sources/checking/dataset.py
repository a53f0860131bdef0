"""Tells what is wrong with a dataset, file by file, before hours of training."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..parallel import mapped
from .examine import Examine, Finding
from .examine_segments import listed
from .problems import ERROR, KINDS, SEVERITIES, Problem
from .survey import Survey, survey

RARE = 3  # photos of a category


@dataclass(frozen=True)
class CategoryUse:
    """How much of a dataset is of one category.

    Attributes:
        name: its name; ``id N`` where the list of categories is not known.
        photos: how many show it.
        pixels: of all photos.
    """

    name: str
    photos: int
    pixels: int


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        name, task: the dataset's.
        photos: how many were looked at.
        problems: all of them, in the order of the files.
        use: of each category, in the order of ids.
        unlabelled: share of the pixels of no category.
    """

    name: str
    task: str
    photos: int
    problems: tuple[Problem, ...]
    use: tuple[CategoryUse, ...]
    unlabelled: float

    def count(self, severity: str) -> int:
        """Problems of ``error``, ``warning`` or ``note``."""
        return sum(KINDS[problem.kind].severity == severity for problem in self.problems)

    @property
    def failed(self) -> bool:
        return self.count(ERROR) > 0

    def to_json(self) -> dict:
        groups = defaultdict(list)
        for problem in self.problems:
            groups[problem.kind].append({"file": problem.file, "detail": problem.detail})
        return {
            "dataset": self.name, "task": self.task, "photos": self.photos, "unlabelled": round(self.unlabelled, 6),
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "categories": [{"name": use.name, "photos": use.photos, "pixels": use.pixels} for use in self.use],
            "problems": {kind: {"severity": KINDS[kind].severity, "title": KINDS[kind].title, "to_do": KINDS[kind].remedy, "files": files}
                         for kind, files in groups.items()},
        }


def check_dataset(
    path: str | os.PathLike,
    *,
    against: Sequence[str | os.PathLike] = (),
    images: str | os.PathLike = "",
    masks: str | os.PathLike = "",
    workers: int = 1,
) -> Report:
    """Look at every photo and mask of a dataset.

    Args:
        path: see :func:`seggen_d2.sources.checking.survey.survey`; ``images`` and ``masks`` likewise.
        against: other datasets (validation sets), none of whose photos may stand in this one.
        workers: processes.

    Raises:
        SegGenError: ``path`` cannot be opened at all.
    """
    found = survey(path, images, masks)
    findings = _look(found, workers, "check")
    others = [survey(other) for other in against]
    problems = [*found.problems, *(problem for finding in findings for problem in finding.problems)]
    problems += _duplicates(found, findings)
    for other in others:
        problems += _leaks(found, findings, other, _look(other, workers, f"against {other.name}"))
    totals, photos = Counter(), Counter()
    for finding in findings:
        totals.update(finding.pixels)
        photos.update(finding.pixels.keys())
    problems += _of_use(found, totals, photos)
    pixels = max(sum(totals.values()), 1)
    return Report(found.name, found.task, len(found.items), tuple(problems), tuple(_use(found, totals, photos)), totals[found.ignore_id] / pixels)


def _look(found: Survey, workers: int, what: str) -> list[Finding]:
    examine = Examine(found.task, len(found.categories or ()), found.ignore_id)
    return list(mapped(examine, found.items, workers, what))


def _duplicates(found: Survey, findings: Sequence[Finding]) -> Iterable[Problem]:
    first: dict[str, str] = {}
    for item, finding in zip(found.items, findings, strict=True):
        if finding.digest and first.setdefault(finding.digest, item.image) != item.image:
            yield Problem("duplicate", item.image, f"the same bytes as {first[finding.digest]}")


def _leaks(found: Survey, findings: Sequence[Finding], other: Survey, theirs: Sequence[Finding]) -> Iterable[Problem]:
    known = {finding.digest: item.image for item, finding in zip(other.items, theirs, strict=True) if finding.digest}
    for item, finding in zip(found.items, findings, strict=True):
        if finding.digest in known:
            yield Problem("leak", item.image, f"the same bytes as {known[finding.digest]} of {other.name}")


def _of_use(found: Survey, totals: Counter, photos: Counter) -> Iterable[Problem]:
    """Problems that no file shows by itself: categories never or hardly seen, ids that seem to be one too high."""
    if found.categories is None or not totals:
        return
    names = found.categories.names
    for number, name in enumerate(names):
        if not totals[number]:
            yield Problem("unused-category", name, f"id {number}")
        elif photos[number] < RARE and len(found.items) >= 10:
            yield Problem("rare-category", name, f"id {number}, in {photos[number]} of {len(found.items)} photos")
    if found.task == "semantic":
        yield from _shift(found, totals)


def _shift(found: Survey, totals: Counter) -> Iterable[Problem]:
    count, strange = len(found.categories or ()), [i for i in totals if i >= len(found.categories or ()) and i != found.ignore_id]
    if strange == [count]:
        detail = f"{listed({i: totals[i] for i in strange})}, one past the last category's, and id 0 on {totals[0]:,}"
        yield Problem("shifted", found.name, detail)
    elif not strange and not totals[found.ignore_id] and totals[0]:
        yield Problem("maybe-shifted", found.name, f"id 0 ({(found.categories.names)[0]}) on {totals[0]:,} pixels, {found.ignore_id} on none")


def _use(found: Survey, totals: Counter, photos: Counter) -> Iterable[CategoryUse]:
    if found.categories is None:
        numbers = sorted(i for i in totals if i != found.ignore_id)
        return [CategoryUse(f"id {i}", photos[i], totals[i]) for i in numbers]
    return [CategoryUse(name, photos[i], totals[i]) for i, name in enumerate(found.categories.names)]

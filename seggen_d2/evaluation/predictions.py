"""Scores predictions that lie on disk, image by image; none is counted in silence."""

from __future__ import annotations

import heapq
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range, nearest
from seggen_d2.foundation.options import load_yaml
from seggen_d2.sources import Source, load_dataset

from .scores import Scores, check_classes
from .tables import scores_table
from .tasks import OF_PANOPTIC, Task, open_task

MISSING = ("error", "skip", "empty")
DATASETS = "datasets"  # the folder below the current one where datasets are looked for by name


@dataclass(frozen=True)
class Evaluation:
    """What saved predictions are worth.

    Attributes:
        dataset, task: what was scored.
        images: how many images were scored, those predicted as nothing included.
        missing: the ids of images without prediction.
        treated: what was done with those: ``skip`` or ``empty``.
        scores: the figures.
        worst: ``(figure, record)`` of the worst images, worst first; the figure is the task's ``rank`` of the image alone.
        notes: what a reader of the figures must know.
    """

    dataset: str
    task: str
    images: int
    missing: tuple[Any, ...]
    treated: str
    scores: Scores
    worst: tuple[tuple[float, dict[str, Any]], ...] = ()
    notes: tuple[str, ...] = ()
    judged: Task | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """``{dataset, task, images, missing, missing_are, notes, worst, figures, per_class}``; percent, None where not defined."""
        worst = [{"image_id": record["image_id"], self.judged.rank if self.judged else "figure": value} for value, record in self.worst]
        return {"dataset": self.dataset, "task": self.task, "images": self.images, "missing": list(self.missing), "missing_are": self.treated,
                "notes": list(self.notes), "worst": worst, **self.scores.to_json()}


def evaluate_predictions(
    predictions: str | os.PathLike,
    dataset: str | os.PathLike,
    *,
    task: str = "",
    classes: Sequence[str] = (),
    missing: str = "",
    semantic: str | os.PathLike = "",
    instances: str | os.PathLike = "",
    instance_dataset: str | os.PathLike = "",
    worst: int = 0,
) -> Evaluation:
    """Score saved predictions.

    Args:
        predictions: a folder of label-map PNGs (semantic), COCO's panoptic JSON beside its PNGs, or COCO's results JSON (instance).
        dataset: the dataset's YAML file, or its name.
        task: how to score; by default the dataset's own task.
        classes: names; each mean is told over those alone, too, with a ``*`` (the paper's mIoU*).
        missing: what to do with images without prediction: ``error``; ``skip`` leaves them out of all figures; ``empty``
            takes them for predicted as nothing. By default ``error``, and ``empty`` for instances, whose format
            cannot tell an image without objects from one that was never predicted.
        semantic, instances: the other two outputs of a panoptic model, for mIoU_pan and AP_pan^Th as upstream has them.
        instance_dataset: the truth of AP_pan^Th, COCO's instance annotations; by default the things of the panoptic truth.
        worst: so many of the worst images are told.

    Raises:
        SegGenError: predictions are missing, broken, of another size or another dataset, or hold unknown ids; a class is none;
            the dataset is unknown, or of no use for the task.
    """
    check_range("worst", worst, 0, 10_000)
    source = open_dataset(dataset)
    kind, classes = task or source.task, check_classes(classes, source.categories)
    main = _evaluation(open_task(kind, predictions, source), kind, classes, missing, worst)
    if not (semantic or instances):
        return main
    if kind != "panoptic":
        raise SegGenError("--semantic and --instances are the other outputs of a panoptic model", expected="task: panoptic", found=f"task: {kind}")
    scores, notes = main.scores, list(main.notes)
    for other, names in _others(source, semantic, instances, instance_dataset):
        found = _evaluation(other, kind, (), missing, 0)
        scores, notes = scores | found.scores.renamed(names), notes + [f"{names[other.rank]}: {note}" for note in found.notes]
    if instances and not instance_dataset:
        notes.append("AP_pan^Th is against the things of the panoptic truth; upstream's is against COCO's instance annotations (--instance-dataset)")
    return Evaluation(main.dataset, kind, main.images, main.missing, main.treated, scores, main.worst, tuple(notes), main.judged)


def _others(
    source: Source, semantic: str | os.PathLike, instances: str | os.PathLike, instance_dataset: str | os.PathLike
) -> list[tuple[Task, dict[str, str]]]:
    """A panoptic model's other outputs, and the names of their figures."""
    found: list[tuple[Task, dict[str, str]]] = []
    if instances:
        truth = open_dataset(instance_dataset, "instance") if instance_dataset else source
        found.append((open_task("instance", instances, truth), OF_PANOPTIC["instance"]))
    if semantic:
        found.append((open_task("semantic", semantic, source, ratio=0), OF_PANOPTIC["semantic"]))
    return found


def _evaluation(task: Task, kind: str, classes: Sequence[str], missing: str, worst: int) -> Evaluation:
    records, policy = distinct_records(task.source), check_choice("missing", missing or task.absent, MISSING)
    lacking = [record for record in records if not task.saved.has(record)]
    if lacking and (policy == "error" or len(lacking) == len(records)):
        raise _missing(task, lacking, len(records))
    left_out = {record["image_id"] for record in lacking} if policy == "skip" else set()
    scored = [record for record in records if record["image_id"] not in left_out]
    counted, ranked = _count(task, scored, worst)
    notes = [*task.notes, *([_note(lacking, len(records), policy)] if lacking else [])]
    ids = tuple(record["image_id"] for record in lacking)
    return Evaluation(task.source.name, kind, len(scored), ids, policy if lacking else "", task.scores(counted, classes), ranked, tuple(notes), task)


def distinct_records(source: Source) -> list[dict[str, Any]]:
    """The records, each of an image of its own."""
    records = source.records()
    ids = Counter(record["image_id"] for record in records)
    twice = [str(i) for i, count in ids.items() if count > 1]
    if twice:
        raise SegGenError(f"dataset {source.name} holds {len(twice)} images twice", expected="one annotation an image", found=", ".join(twice[:10]),
                          remedy="mend its JSON")
    return records


def _count(task: Task, records: Sequence[dict[str, Any]], worst: int) -> tuple[Any, tuple[tuple[float, dict[str, Any]], ...]]:
    """The sum over images, and the worst of them."""
    counted, ranked = task.none(), []  # a heap of the worst so far, the best of them first
    for place, one in enumerate(score_saved(task, records)):
        counted += one
        value = task.scores(one).figures[task.rank] if worst else math.nan
        if not math.isnan(value):
            (heapq.heappush if len(ranked) < worst else heapq.heappushpop)(ranked, (-value, -place))
    return counted, tuple((-value, records[-place]) for value, place in sorted(ranked, reverse=True))


def score_saved(task: Task, records: Sequence[dict[str, Any]], words: str = "scoring") -> Iterator[Any]:
    """What was counted in each image, with a progress bar; those without prediction as predicted as nothing."""
    for record in tqdm(records, desc=words, unit="image", disable=None, leave=False):
        yield task.score(record, task.saved.read(record) if task.saved.has(record) else task.nothing(record))


def _missing(task: Task, lacking: Sequence[dict[str, Any]], count: int) -> SegGenError:
    named = ", ".join(task.saved.name(record) for record in lacking[:20]) + (f", and {len(lacking) - 20} more" if len(lacking) > 20 else "")
    remedy = "predict these images as well; or --missing skip leaves them out, --missing empty counts them as predicted as nothing"
    return SegGenError(f"{len(lacking)} of {count} predictions are missing", expected=f"one for each image of dataset {task.source.name}", found=f"no {named}",
                       remedy="check the path: none of the images is predicted" if len(lacking) == count else remedy)


def _note(lacking: Sequence[dict[str, Any]], count: int, policy: str) -> str:
    named = ", ".join(str(record["image_id"]) for record in lacking[:20]) + (f", and {len(lacking) - 20} more" if len(lacking) > 20 else "")
    words = {"skip": "left out of all figures, which are no figures of the whole dataset", "empty": "counted as predicted as nothing"}[policy]
    return f"{len(lacking)} of {count} images have no prediction and are {words}: {named}"


def evaluation_text(found: Evaluation) -> str:
    """The figures as text, under what they are of."""
    head = [f"{found.dataset}, {found.task}, {found.images} images scored", *(f"note: {note}" for note in found.notes)]
    return "\n".join([*head, scores_table(found.scores)])


def open_dataset(name: str | os.PathLike, task: str = "") -> Source:
    """A dataset by its YAML file, or by the ``name`` that a YAML file below ``datasets/`` holds.

    Raises:
        SegGenError: there is none, or several; or see :func:`load_dataset`.
    """
    if Path(name).suffix in (".yaml", ".yml") or Path(name).is_file():
        return load_dataset(name, task)
    known: dict[str, list[Path]] = {}
    for file in sorted(Path(DATASETS).rglob("*.yaml")):
        values = load_yaml(file)
        if "images" in values and "name" in values:
            known.setdefault(str(values["name"]), []).append(file)
    files = known.get(str(name), [])
    if len(files) != 1:
        raise SegGenError(f"{'no dataset is' if not files else 'several datasets are'} named {str(name)!r}",
                          expected=f"a dataset's YAML file, or the name in one below {Path(DATASETS).absolute()}",
                          found=", ".join(map(str, files)) or ", ".join(known) or "no dataset there",
                          remedy="name the file" if files else nearest(str(name), known))
    return load_dataset(files[0], task)


def score_folder(predictions: str | os.PathLike, dataset: str | os.PathLike) -> dict[str, Any]:
    """mIoU of ``predictions/IMAGE_ID.png`` against the masks of a semantic dataset.

    Args:
        predictions: a folder of single-channel PNGs of category ids, each of its image's size.
        dataset: the dataset's YAML file.

    Returns:
        ``{"dataset", "images", "miou", "pixel_accuracy", "per_class": {name: IoU}}``; percent, None where not defined.

    Raises:
        SegGenError: a prediction is missing, cannot be read, has another size, or holds unknown ids.
    """
    task = open_task("semantic", predictions, load_dataset(dataset, task="semantic"), ratio=0)
    records = task.source.records()
    lacking = [record for record in records if not task.saved.has(record)]
    if lacking:
        raise _missing(task, lacking, len(records))
    return {"dataset": task.source.name, "images": len(records), **_count(task, records, 0)[0].matrix.metrics()}

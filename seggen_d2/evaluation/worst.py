"""The page of an evaluation: its figures, and the worst images as pictures. One file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.data_uris import shrunk
from seggen_d2.foundation.files import write_bytes
from seggen_d2.foundation.markup import Markup, join, table, tag
from seggen_d2.segmentation import ColorCodec, default_palette, resize_labels
from seggen_d2.sources import read_image

from . import charts
from .document import document
from .pictures import MOST, named_mask, photo
from .predictions import Evaluation
from .tables import none, number
from .tasks import SHOWN, Task

WRONG = (214, 40, 57)  # the colour of pixels that went wrong
RANKING = "Those with the least {} of their own, worst first."
DRAWN = f" Objects are drawn from a score of {SHOWN} on."


def write_page(evaluation: Evaluation, output: str | os.PathLike) -> Path:
    """Write the page of an evaluation that told its worst images.

    Raises:
        SegGenError: an image, or its prediction, cannot be read any more.
    """
    task = evaluation.judged
    categories = task.source.categories
    palette = default_palette(len(categories))
    codec = ColorCodec(palette, categories.ignore_id)
    scores = evaluation.scores
    shown = [sample(task, value, record, codec) for value, record in tqdm(evaluation.worst, desc="pictures", unit="image", disable=None)]
    text = document(
        "evaluation",
        title=f"{evaluation.dataset}, {evaluation.task}",
        facts=_facts(evaluation, len(categories)),
        notes=charts.bullets(evaluation.notes) if evaluation.notes else join(),
        figures=table(["figure", charts.right("%")], [[name, charts.heat(none(value))] for name, value in scores.figures.items()], "heat"),
        per_class=_per_class(scores.per_class),
        ranking=join(RANKING.format(task.rank) + (DRAWN if evaluation.task == "instance" else "")),
        worst=join(shown) or tag("p", "None was asked for, or none has a figure.", class_="quiet"),
        legend=charts.legend(categories.names, palette.colors, palette.ignore_color) if len(categories) <= charts.FOLD else join(),
    )
    write_bytes(output, text.encode())
    return Path(output)


def _facts(evaluation: Evaluation, categories: int) -> Markup:
    told = [(f"{evaluation.images:,}", "images scored"), (f"{len(evaluation.missing):,}", "without prediction"), (str(categories), "categories")]
    told += [(number(none(value), 2), name) for name, value in list(evaluation.scores.figures.items())[:1]]
    return charts.facts(told)


def _per_class(columns: Mapping[str, Mapping[str, float]]) -> Markup:
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [[name, *(charts.heat(none(column.get(name))) for column in columns.values())] for name in names]
    return charts.folded(table(["category", *(charts.right(name) for name in columns)], rows, "heat"), len(names))


def sample(task: Task, value: float, record: dict[str, Any], codec: ColorCodec) -> Markup:
    """One image: photo, truth, prediction, and what went wrong; ``value`` is its figure."""
    predicted = task.saved.read(record) if task.saved.has(record) else task.nothing(record)
    view, image, names = task.view(record, predicted), read_image(record["file_name"]), task.source.categories.names
    tiles = [photo(image, "image"), named_mask(view.truth, codec, names, "truth"), named_mask(view.predicted, codec, names, "prediction"),
             photo(_marked(image, view.wrong), "wrong")]
    head = f"{record['image_id']}: {task.rank} {number(value)}" + ("" if task.saved.has(record) else ", no prediction")
    return tag("article", tag("p", head, class_="caption"), tag("div", tiles, class_="tiles large"), class_="sample")


def _marked(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """``(h, w, 3)`` uint8 RGB: the image, paler, and over it what is ``wrong`` (``(H, W)`` bool of any size)."""
    small = 0.5 * shrunk(image, MOST) + 0.5 * 255
    small[resize_labels(wrong, *small.shape[:2])] = WRONG
    return small.astype(np.uint8)

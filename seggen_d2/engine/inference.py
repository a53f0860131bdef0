"""A trained model over a dataset: predicted label maps, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seggen_d2.evaluation import ConfusionMatrix
from seggen_d2.foundation.files import write_bytes
from seggen_d2.mapping import SemanticTargets
from seggen_d2.modeling import Mask2Former
from seggen_d2.segmentation import label_map_png
from seggen_d2.sources import FolderSource


@torch.no_grad()
def predict(
    model: Mask2Former,
    records: Sequence[dict[str, Any]],
    mapper: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    batch_size: int = 1,
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Each record with its predicted (H, W) category ids, at the image's own size. The model is left in its mode."""
    training = model.training
    model.eval()
    try:
        for start in range(0, len(records), batch_size):
            part = records[start : start + batch_size]
            for record, output in zip(part, model([mapper(record) for record in part]), strict=True):
                yield record, output["sem_seg"].argmax(0).cpu().numpy()
    finally:
        model.train(training)


def evaluate(
    model: Mask2Former,
    source: FolderSource,
    mapper: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    batch_size: int = 1,
    predictions: Path | None = None,
) -> dict[str, Any]:
    """The metrics of the model on a dataset, in percent: ``dataset``, ``images``, ``miou``, ``per_class``...

    Args:
        mapper: of test images. batch_size: images at once.
        predictions: a folder for the predicted label maps, ``IMAGE_ID.png``, that tools/evaluate.py reads.
    """
    targets, matrix, records = SemanticTargets(source.categories), ConfusionMatrix(source.categories), source.records()
    for record, predicted in predict(model, records, mapper, batch_size=batch_size):
        matrix.update(predicted, targets.read(record), record["file_name"])
        if predictions:
            write_bytes(predictions / f"{record['image_id']}.png", label_map_png(predicted))
    return {"dataset": source.name, "images": len(records), **matrix.metrics()}

"""A trained model over a dataset: predicted label maps, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from seggen_d2.mapping import SemanticTargets
from seggen_d2.modeling import Mask2Former
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
    model: Mask2Former, source: FolderSource, mapper: Callable[[dict[str, Any]], dict[str, Any]], *, batch_size: int = 1
) -> dict[str, Any]:
    """``{"miou": percent, "per_class": {name: percent}, ...}`` of the model's predictions on ``source``."""
    targets, n = SemanticTargets(source.categories), len(source.categories)
    counts = np.zeros((n, n), np.int64)
    for record, predicted in predict(model, source.records(), mapper, batch_size=batch_size):
        labels = targets.read(record)
        known = labels < n
        counts += np.bincount(labels[known].astype(np.int64) * n + predicted[known], minlength=n * n).reshape(n, n)
    iou = 100 * np.diag(counts) / np.maximum(1, counts.sum(0) + counts.sum(1) - np.diag(counts))
    return {"miou": float(iou.mean()), "per_class": dict(zip(source.categories.names, iou.tolist(), strict=True))}

"""A trained model over records, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn


@torch.no_grad()
def predict(
    model: nn.Module,
    records: Sequence[dict[str, Any]],
    mapper: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    batch_size: int = 1,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each record with the model's results (``Outputs.read``) at the image's own size. The model is left in its mode."""
    training = model.training
    model.eval()
    try:
        for start in range(0, len(records), batch_size):
            part = records[start : start + batch_size]
            yield from zip(part, model([mapper(record) for record in part]), strict=True)
    finally:
        model.train(training)

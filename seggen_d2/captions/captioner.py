"""The interface that every captioner has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class CaptionRequest:
    """One image to describe.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        labels: ``(H, W)`` category ids; a captioner that only looks at pictures leaves them alone.
        attributes: ``{"scene": words, "categories": {name: words}}`` where the source knows more than labels.
    """

    image: np.ndarray
    labels: np.ndarray
    attributes: dict[str, Any] = field(default_factory=dict)


class Captioner(Protocol):
    """A batch of requests in, as many captions out, in order; no caption is empty."""

    name: str

    def __call__(self, batch: Sequence[CaptionRequest]) -> list[str]: ...

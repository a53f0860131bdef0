"""The interface that every captioner has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from seggen_d2.segmentation.masks import Mask


@dataclass(frozen=True)
class CaptionRequest:
    """One image to describe.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        mask: of the image; a captioner that only looks at pictures leaves it alone.
        attributes: ``{"scene": words, "categories": {name: words}}`` where the source knows more than labels.
        image_id: the image's name in its dataset; captioners that draw derive their seeds from it.
    """

    image: np.ndarray
    mask: Mask
    attributes: dict[str, Any] = field(default_factory=dict)
    image_id: str = ""


class Captioner(Protocol):
    """A batch of requests in, the captions of each out, in order; every image has as many, and none is empty.

    Attributes:
        name: how it is called in commands and progress bars.
        facts: what a table of its captions tells of it: :data:`~seggen_d2.sources.caption_table.FACTS`.
    """

    name: str
    facts: dict[str, str]

    def __call__(self, batch: Sequence[CaptionRequest]) -> list[tuple[str, ...]]: ...

"""Captions and masks: are the classes that a caption names in the mask, and the other way round?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from seggen_d2.segmentation.naming import Naming

from .samples import Part
from .sidecar import Sidecar

MIN_SHARE = 0.002  # of the labelled pixels, from which a class counts as held: as captions of label lists have it


class Captions:
    """Scores of the kind ``captions``, percent: ``caption_precision`` (of the classes named, those held) and ``caption_recall`` (of those held, those named).

    Null where a caption names no class, or a mask holds none. They are read from the index alone.
    """

    kind = "captions"

    def __init__(self, sidecar: Sidecar, naming: Naming):
        self.sidecar, self.naming = sidecar, naming

    def columns(self, part: Part, tick: Callable[[], Any]) -> dict[str, Any]:
        """Both figures of each sample, and how many classes its caption names."""
        rows = []
        for caption, pixels in zip(part.column("caption").tolist(), part.column("histogram"), strict=True):
            named, held = set(self.naming.named(caption)), set(np.flatnonzero(pixels > MIN_SHARE * pixels.sum()).tolist())
            rows.append((_percent(named & held, named), _percent(named & held, held), len(named)))
            tick()
        precision, recall, named = zip(*rows, strict=True)
        return {"caption_precision": pa.array(precision, pa.float64()), "caption_recall": pa.array(recall, pa.float64()), "caption_named": list(named)}

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """Means over the samples where each is defined."""
        table = self.sidecar.table(self.kind, parts)
        found: dict[str, Any] = {"samples": len(table), "naming_no_class": int((table["caption_named"].to_numpy() == 0).sum())}
        for name in ("precision", "recall"):
            values = table[f"caption_{name}"].drop_null().to_numpy()
            found[name] = float(values.mean()) if len(values) else None
        return found


def _percent(part: set[int], whole: set[int]) -> float | None:
    return 100 * len(part) / len(whole) if whole else None

"""The nearest real photo of each sample, as a network sees them and as they look when small: has a generator learned photos by heart?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from tqdm import tqdm

from seggen_d2.mapping.images import read_upright

from .distances import distances
from .feature_models import FeatureModel
from .nearest import among_themselves, nearest
from .samples import Part, Real, batches
from .sidecar import Sidecar

SIDE = 16  # pixels
QUANTILE = 0.01  # of how near real photos are to each other: what is nearer than this is flagged
MOST = 2000  # real photos whose neighbours are looked for
PAIRS = 12  # that a summary names


def thumbnails(records: Sequence[dict[str, Any]]) -> np.ndarray:
    """``(B, 768)`` float32: each image at 16 x 16 pixels, its mean taken off and of length 1.

    Of two of them with correlation r the Euclidean distance is sqrt(2 - 2 r).
    """
    small = (read_upright(record["file_name"]).resize((SIDE, SIDE), Image.Resampling.BOX) for record in records)
    rows = np.stack([np.asarray(image, np.float32).ravel() for image in small])
    rows -= rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


class Photos:
    """Scores of the kind ``photos``: columns ``photos_photo``, a real image's id, and ``photos_distance``.

    The image that a sample was made from counts as any other: to paint it again is what is looked for.

    Args:
        sidecar: of the bank. real: the images that generators were trained on.
        embed: makes vectors of images. batch: images at once.
    """

    kind, keeps_vectors = "photos", False

    def __init__(self, sidecar: Sidecar, real: Real, embed: FeatureModel = thumbnails, batch: int = 32):
        self.sidecar, self.real, self.embed, self.batch = sidecar, real, embed, batch

    @cached_property
    def vectors(self) -> np.ndarray:
        """``(R, D)`` float32 of the real images."""
        return matrix(self.sidecar.real(self.kind, self.real.print, self._of_real)["vector"])

    def _of_real(self) -> dict[str, Any]:
        with tqdm(total=len(self.real.records), desc=f"{self.kind} of {self.real.source.name}", unit="image", disable=None) as bar:
            return {"image_id": self.real.ids, "vector": lists(self._embedded(self.real.records, bar.update))}

    def _embedded(self, records: Sequence[dict[str, Any]], tick: Callable[[], Any]) -> np.ndarray:
        found: dict[int, np.ndarray] = {}
        for batch in batches([{**record, "place": place} for place, record in enumerate(records)], self.batch):
            for record, vector in zip(batch, self.embed(batch), strict=True):
                found[record["place"]] = vector
                tick()
        return np.stack([found[place] for place in range(len(records))])

    def columns(self, part: Part, tick: Callable[[], Any]) -> dict[str, Any]:
        """The nearest real photo of each sample."""
        own = self._embedded(list(part.records()), tick)
        places, far = nearest(own, self.vectors)
        found = {f"{self.kind}_photo": [self.real.ids[place] for place in places], f"{self.kind}_distance": far}
        return {**found, "vector": lists(own)} if self.keeps_vectors else found

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """How many samples are nearer to a real photo than real photos are to each other, and the nearest pairs."""
        photo, distance = f"{self.kind}_photo", f"{self.kind}_distance"
        table = self.sidecar.table(self.kind, parts, ["key", photo, distance])
        far, real = table[distance].to_numpy(), among_themselves(self.vectors, MOST)
        threshold = float(np.quantile(real, QUANTILE)) if len(real) else None
        flagged = int((far < threshold).sum()) if threshold is not None else 0
        pairs = table.rename_columns(["key", "photo", "distance"]).sort_by("distance").slice(0, PAIRS).to_pylist()
        return {"samples": len(table), "real": len(self.vectors), "median": float(np.median(far)),
                "real_median": float(np.median(real)) if len(real) else None, "threshold": threshold, "quantile": QUANTILE,
                "flagged": flagged, "share": flagged / len(table), "nearest": pairs}


class Features(Photos):
    """Scores of the kind ``features``: the nearest photo in a network's features, and how far both sets are apart there."""

    kind, keeps_vectors = "features", True

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """As of photos, and ``distances``."""
        made = matrix(self.sidecar.table(self.kind, parts, ["vector"])["vector"])
        return {**super().summary(parts), "distances": distances(self.vectors, made)}


def lists(rows: np.ndarray) -> pa.Array:
    """``(S, D)`` as a column of lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """The inverse of :func:`lists`."""
    flat = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(len(column), -1)

"""How often classes occur in the real data."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.sources import Source
from seggen_d2.sources.masks import read_mask

from .pictures import flattened
from .survey import Frequencies


def real_frequencies(source: Source, most: int, seed: int = 0) -> Frequencies | None:
    """Frequencies over the masks of ``source``, or over ``most`` of them drawn at random; None for ``most`` of 0.

    Raises:
        SegGenError: a mask cannot be read.
    """
    records, classes = source.records(), len(source.categories)
    if not most:
        return None
    found = Frequencies.none(classes)
    if len(records) > most:
        found.note = f"{most} of {len(records)} real masks, drawn at random"
        places = np.random.default_rng(derive_seed("inspect-real", seed)).choice(len(records), most, replace=False)
        records = [records[place] for place in sorted(places.tolist())]
    for record in tqdm(records, desc="real masks", unit="mask"):
        found.add(np.bincount(flattened(read_mask(record, source)).labels().ravel(), minlength=classes)[None, :classes])
    return found

"""Filters of semantic banks by hand, for the tests."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seggen_d2.bank import Bank
from seggen_d2.bank.filter_files import CORRECTED, FIELDS, METADATA, archive_name, print_of, rows_name, weights_name
from seggen_d2.bank.format import index_name, member_offsets, tar_blocks
from seggen_d2.segmentation import label_map_png

FILTER = "scores/noise"


def write_filter(root: Path, corrected: Mapping[int, np.ndarray] | None = None, dropped: Sequence[int] = (), weights: Sequence[float] = ()) -> None:
    """A filter of the bank at ``root``.

    Args:
        corrected: masks by the sample's number, as ``ignore`` reads them; ``relabel`` has them upside down.
        dropped: numbers of samples. weights: of all samples; 1 by default.
    """
    bank, start = Bank(root), 0
    for shard in bank.shards:
        index = bank.store.fetch([index_name(shard)])[0]
        keys = pq.read_table(index)["key"].to_pylist()
        numbers = range(start, start := start + len(keys))
        masks = {number: corrected[number] for number in numbers if number in (corrected or {})}
        rows = {"key": keys, **{reading: _archived(bank, reading, shard, numbers, masks) for reading in CORRECTED}}
        kept = [int(number not in dropped) for number in numbers]
        drawn = {"key": keys, "kept": kept, "weight": [float(k * (weights[n] if weights else 1)) for n, k in zip(numbers, kept, strict=True)]}
        told = {METADATA: json.dumps({"samples": print_of(index)}).encode()}
        for name, columns in ((rows_name(FILTER, shard), rows), (weights_name(FILTER, shard), drawn)):
            path = Path(bank.store.address(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns).replace_schema_metadata(told), path)


def _archived(bank: Bank, reading: str, shard: str, numbers: range, masks: Mapping[int, np.ndarray]) -> list[dict[str, int]]:
    data = {number: label_map_png(mask if reading == "ignore" else mask[::-1]) for number, mask in masks.items()}
    offsets, _ = member_offsets([len(part) for part in data.values()])
    bank.store.write(archive_name(FILTER, reading, shard), tar_blocks([(f"{number}.png", part) for number, part in data.items()]))
    places = {number: (offset, len(part), zlib.crc32(part)) for offset, (number, part) in zip(offsets, data.items(), strict=True)}
    return [dict(zip(FIELDS, (*places.get(number, (0, 0, 0)), 0, 0, 0), strict=True)) for number in numbers]

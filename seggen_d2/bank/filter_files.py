"""What a filter is on disk, beside the bank and never in it: which samples it keeps, and the masks that it corrects.

    scores/NAME/filter-SHARD.parquet   a row a sample: ``key``, what was measured, and for each reading a struct that tells
                                       where the sample's corrected members lie (length 0: the sample is as the bank has it)
    scores/NAME/weights-SHARD.parquet  ``key``, ``kept`` (0 or 1) and ``weight``
    scores/NAME/READING-SHARD.tar      ``KEY.png`` and, of panoptic and instance banks, ``KEY.json``, as a shard holds them

Whoever writes these files corrects masks: a score, or people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.files import json_bytes
from seggen_d2.foundation.seeds import fingerprint

from .format import NAME

CORRECTED = ("ignore", "relabel")  # readings with masks of their own
READINGS = (*CORRECTED, "drop")  # drop: masks as the bank has them, without the samples that the filter leaves out
FIELDS = tuple(f"{kind}_{fact}" for kind in ("png", "json") for fact in ("offset", "length", "crc32"))
KEPT, WEIGHT = "kept", "weight"
METADATA, SAMPLES = b"seggen", "samples"  # of the parquet files: JSON that tells the print of the samples
_FORM = re.compile(rf"(scores/{NAME.pattern})(?::(\w+))?")
_IDENTITY = ("key", "jpg_crc32", "png_crc32")  # columns of the index that tell a sample from any other


def parse_filter(text: str) -> tuple[str, str]:
    """``scores/NAME`` or ``scores/NAME:READING`` as the folder ``scores/NAME`` and the reading, by default ``ignore``.

    Raises:
        SegGenError: it has another form, or there is no such reading.
    """
    match = _FORM.fullmatch(text)
    if not match:
        raise SegGenError(f"{text!r} names no filter", expected="scores/NAME, or scores/NAME:READING with one of " + ", ".join(READINGS), found=text,
                          remedy="make one with tools/score_bank.py --scores filter --name NAME")
    return match[1], check_choice(f"the reading of filter {text}", match[2] or READINGS[0], READINGS)


def rows_name(folder: str, shard: str) -> str:
    """What was measured of a shard's samples, as a name in the bank's store; ``folder`` is ``scores/NAME``."""
    return f"{folder}/filter-{shard}.parquet"


def weights_name(folder: str, shard: str) -> str:
    """Which samples of a shard are kept, and their weights."""
    return f"{folder}/weights-{shard}.parquet"


def archive_name(folder: str, reading: str, shard: str) -> str:
    """The corrected members of a shard."""
    return f"{folder}/{reading}-{shard}.tar"


def print_of(index: Path, places: np.ndarray | slice = slice(None)) -> str:
    """16 hexadecimal digits over keys, images and masks of the samples at ``places`` of a local index."""
    from .columns import column_of

    columns: Sequence[np.ndarray] = [column_of([index], name)[places] for name in _IDENTITY]
    return fingerprint(json_bytes([column.tolist() for column in columns]))

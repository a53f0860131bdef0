"""What the swap adds to a mapper: rows for ``tools/benchmark.py``. Needs torch, through the mapper that it times."""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from seggen_d2.bank import Bank, BankInfo, BankWriter, Sample, export_folders
from seggen_d2.foundation.measure import interleaved, median_ratio, row
from seggen_d2.segmentation import default_palette, histogram, label_map_png
from seggen_d2.sources import load_dataset
from seggen_d2.sources.toy import CATEGORIES, toy_scene

from .swap import SwapMapper

BAR = 1.03
BATCH = 8  # samples a turn


def swap_rows(side: int = 512, samples: int = 48, turns: int = 32) -> list[dict[str, Any]]:
    """Milliseconds a sample with the swap, against the bare mapper that gets the same images as plain files.

    The real dataset is the bank itself, written out as files. For every number both ways map the same image with the
    same augmentation draws; they differ in the swap's draw, its look-up, and in where the bytes come from.

    Args:
        side: pixels a side of images and crops (512: Mask2Former's crop for ADE20K with R50).
        samples: images.
        turns: both ways map a batch each turn; figures are medians over turns.
    """
    with tempfile.TemporaryDirectory() as folder:
        bank = _bank(Path(folder) / "bench-swap", side, samples)
        records = load_dataset(export_folders(bank, Path(folder) / "plain")).records()
        cases = ((0.6, "uniform"), (0.6, "paired"), (1.0, "uniform"), (0.0, "uniform"))
        rows = [_swap_row(_mapper(side), bank, records, p_aug, sampling, turns) for p_aug, sampling in cases]
        bank.close()
    return rows


def _swap_row(
    mapper: Callable[..., Any], bank: Bank, records: list[dict[str, Any]], p_aug: float, sampling: str, turns: int
) -> dict[str, Any]:
    swap = SwapMapper(mapper, bank, p_aug, sampling=sampling)
    chooser = SwapMapper(lambda record, number: dict(record), bank, p_aug, sampling=sampling)
    plain = {Path(record["file_name"]).stem: record for record in records}

    def real(number: int) -> dict[str, Any]:
        return records[number % len(records)]

    numbers = range(BATCH * turns)
    same = [plain[Path(chooser(real(number), number)["file_name"]).stem] for number in numbers]

    def bare_turn(turn: int) -> None:
        for number in numbers[turn * BATCH :][:BATCH]:
            mapper(same[number], number=number)

    def swap_turn(turn: int) -> None:
        for number in numbers[turn * BATCH :][:BATCH]:
            swap(real(number), number)

    bare_turn(0), swap_turn(0)  # warm
    swapped, bare = interleaved([swap_turn, bare_turn], turns)
    value, reference = (1e3 * statistics.median(seconds) / BATCH for seconds in (swapped, bare))
    name = f"mapper with the swap, p_aug {p_aug:g}, {sampling}"
    return row(
        name, value, "ms", median_ratio(swapped, bare), f"bare mapper, plain files: {reference:.3f} ms; bar {BAR}"
    )


def _mapper(side: int) -> Callable[..., Any]:
    from seggen_d2.mapping import DatasetMapper, SemanticTargets, training_augmentations

    lengths = [side * tenth // 10 for tenth in range(5, 21)]
    steps = training_augmentations(lengths, 4 * side, crop=(side, side), color_jitter=True, flip=True)
    return DatasetMapper(steps, SemanticTargets(CATEGORIES))


def _bank(root: Path, side: int, samples: int) -> Bank:
    """Toy scenes, each the variant of its own plain file."""
    info = BankInfo("semantic", CATEGORIES, default_palette(len(CATEGORIES)), (), {"samples": samples})
    BankWriter(root, info).write_shard("imgsyn-00000", [_sample(number, side) for number in range(samples)])
    return Bank(root, check=True)  # as trainings open it


def _sample(number: int, side: int) -> Sample:
    scene, key, jpeg = toy_scene(number, size=side), f"imgsyn-{number:09d}", io.BytesIO()
    Image.fromarray(scene.image).save(jpeg, "JPEG", quality=90)
    mask, counts = label_map_png(scene.labels), histogram(scene.labels, CATEGORIES)
    return Sample(key, jpeg.getvalue(), mask, key, "imgsyn", number, "a scene", side, side, counts)

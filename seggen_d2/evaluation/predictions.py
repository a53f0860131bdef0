"""Scores predictions that lie on disk: one label-map PNG for each image of a dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import read_label_map
from seggen_d2.segmentation.confusion import ConfusionMatrix
from seggen_d2.sources import load_dataset


def score_folder(predictions: str | os.PathLike, dataset: str | os.PathLike) -> dict[str, Any]:
    """mIoU of ``predictions/IMAGE_ID.png`` against the masks of a dataset.

    Args:
        predictions: a folder of single-channel PNGs of category ids, each of its image's size.
        dataset: the dataset's YAML file.

    Returns:
        ``{"dataset", "images", "miou", "pixel_accuracy", "per_class": {name: IoU}}``; percent, None where not defined.

    Raises:
        SegGenError: a prediction is missing, cannot be read, has another size, or holds unknown ids.
    """
    source = load_dataset(dataset, task="semantic")
    records = source.records()
    files = [Path(predictions) / f"{record['image_id']}.png" for record in records]
    missing = [file for file in files if not file.is_file()]
    if missing:
        named = ", ".join(str(file) for file in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise SegGenError(
            f"{len(missing)} of {len(files)} predictions are missing in {predictions}",
            expected="a PNG IMAGE_ID.png for each image of the dataset",
            found=f"no {named}",
            remedy="predict these images as well, or check the folder",
        )
    matrix = ConfusionMatrix(source.categories)
    for file, record in zip(tqdm(files, desc="scoring", unit="image", disable=None), records, strict=True):
        matrix.update(read_label_map(file), read_label_map(record["sem_seg_file_name"]), str(file))
    return {"dataset": source.name, "images": len(files), **matrix.metrics()}

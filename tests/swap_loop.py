"""A training loop of numpy alone around a bank and the swap; prints what came of it as JSON.

It is run by a Python that has the bare package and nothing else: python swap_loop.py FOLDER
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from seggen_d2.bank import Bank, BankInfo, BankWriter, Sample, open_member
from seggen_d2.mixing import NumberedDataset, NumberedSampler, SwapMapper
from seggen_d2.segmentation import Categories, default_palette, histogram, label_map_png, read_label_map
from seggen_d2.sources import read_image

CATEGORIES = Categories.from_names(["sky", "road", "tree"])
SIDE, BATCH, STEPS, P_AUG = 16, 8, 60, 0.6
COLORS = np.array([[80, 120, 220], [110, 110, 110], [40, 140, 50]])


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of categories, each in its colour under noise: image ``(H, W, 3)`` uint8, labels ``(H, W)``."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, len(COLORS), (2, 2)).repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)
    return (COLORS[labels] + draw.normal(0, 12, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8), labels


def write_real(folder: Path, count: int) -> list[dict]:
    """Scenes as plain files; records with two file names and nothing else."""
    folder.mkdir(parents=True)
    records = []
    for number in range(count):
        image, labels = scene(number)
        Image.fromarray(image).save(folder / f"{number}.png")
        (folder / f"{number}-mask.png").write_bytes(label_map_png(labels))
        records.append({"file_name": str(folder / f"{number}.png"), "sem_seg_file_name": str(folder / f"{number}-mask.png")})
    return records


def write_bank(root: Path, count: int) -> Bank:
    """Other scenes of the same kind."""
    writer = BankWriter(root, BankInfo("semantic", CATEGORIES, default_palette(len(CATEGORIES)), (), {"samples": count}))
    writer.write_shard("imgsyn-00000", [synthetic(number) for number in range(count)])
    return Bank(root)


def synthetic(number: int) -> Sample:
    image, labels = scene(1000 + number)
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "JPEG", quality=95)
    return Sample(f"imgsyn-{number:09d}", jpeg.getvalue(), label_map_png(labels), str(number % 4), "imgsyn", number, "a scene",
                  SIDE, SIDE, histogram(labels, CATEGORIES))


def read(record: dict, number: int) -> dict:
    """The mapper: a host's own, which knows nothing of banks but ``open_member``."""
    image = read_image(open_member(record["file_name"]), record["file_name"])
    labels = read_label_map(open_member(record["sem_seg_file_name"]), record["sem_seg_file_name"])
    return {"pixels": image.reshape(-1, 3) / 127.5 - 1, "labels": labels.ravel()}


def step(weights: np.ndarray, samples: list[dict], rate: float = 2.0) -> tuple[np.ndarray, float]:
    """One step of logistic regression on pixels: new weights ``(4, categories)`` and the loss before it."""
    pixels, labels = (np.concatenate([sample[name] for sample in samples]) for name in ("pixels", "labels"))
    inputs = np.column_stack([pixels, np.ones(len(pixels))])
    scores = inputs @ weights
    chances = np.exp(scores - scores.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(chances[rows, labels]).mean()
    chances[rows, labels] -= 1
    return weights - rate * inputs.T @ chances / len(labels), float(loss)


def main(folder: Path) -> None:
    records = write_real(folder / "real", 12)
    swap = SwapMapper(read, write_bank(folder / "bank", 24), P_AUG)
    dataset, stream = NumberedDataset(records, swap), iter(NumberedSampler(len(records)))
    weights, losses, swapped = np.zeros((4, len(CATEGORIES))), [], 0
    for _ in range(STEPS):
        samples = [dataset[next(stream)] for _ in range(BATCH)]
        swapped += sum(sample["is_synthetic"] for sample in samples)
        weights, loss = step(weights, samples)
        losses.append(loss)
    print(json.dumps({"first": losses[0], "last": losses[-1], "share": swapped / (STEPS * BATCH), "failures": swap.failures,
                      "numpy": np.__version__, "modules": sorted(sys.modules)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A small labelled world on disk for the training tests: toy scenes, a bank, and a config that trains in seconds."""

from __future__ import annotations

import io
from pathlib import Path

import yaml
from PIL import Image

from seggen_d2.bank import BankInfo, BankWriter, Sample
from seggen_d2.bank.mask_members import mask_members
from seggen_d2.foundation.options import merge
from seggen_d2.mixing import NumberedSampler
from seggen_d2.segmentation import Categories, default_palette, histogram, label_map_png
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_labelled
from seggen_d2.sources.toy import CATEGORIES, toy_scene
from seggen_d2.sources.toy_folder import write_toy_folder

SIZE = 32
TINY = {
    "MODEL": {
        "BACKBONE": {"NAME": "tiny-resnet", "OPTIONS": {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}},
        "SEM_SEG_HEAD": {"CONVS_DIM": 32, "MASK_DIM": 32, "TRANSFORMER_ENC_LAYERS": 1, "ENC_FEEDFORWARD_DIM": 32},
        "MASK_FORMER": {
            "HIDDEN_DIM": 32,
            "NUM_OBJECT_QUERIES": 10,
            "DEC_LAYERS": 2,
            "NHEADS": 2,
            "DIM_FEEDFORWARD": 32,
            "TRAIN_NUM_POINTS": 64,
            "SIZE_DIVISIBILITY": 16,
        },
        "DEVICE": "cpu",
    },
    "DATASETS": {"TRAIN": ["toy_train"], "TEST": ["toy_test"]},
    "DATALOADER": {"NUM_WORKERS": 0},
    "INPUT": {"MIN_SIZE_TRAIN": [28, 32], "MIN_SIZE_TEST": 0, "CROP": {"SIZE": [SIZE, SIZE]}},
    "SOLVER": {
        "IMS_PER_BATCH": 2,
        "MAX_ITER": 4,
        "BASE_LR": 1e-3,
        "BACKBONE_MULTIPLIER": 1.0,
        "LOG_PERIOD": 2,
        "CHECKPOINT_PERIOD": 2,
    },
    "TEST": {"IMS_PER_BATCH": 2},
    "SEGGEN": {"P_AUG": 0.5},
}


def png(image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_dataset(root: Path, name: str, numbers: range, categories: Categories = CATEGORIES) -> str:
    """Toy scenes as a folder dataset; its YAML file."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for number in numbers:
        scene = toy_scene(number, size=SIZE)
        (root / "images" / f"scene{number}.png").write_bytes(png(scene.image))
        (root / "masks" / f"scene{number}.png").write_bytes(label_map_png(scene.labels))
    keys = {
        "name": name,
        "images": "images",
        "masks": "masks",
        "categories": list(categories.names),
        "ignore_id": categories.ignore_id,
    }
    (root / "dataset.yaml").write_text(yaml.safe_dump(keys))
    return str(root / "dataset.yaml")


def write_bank(
    root: Path, numbers: range, *, sources: list[str], task: str = "semantic", names: tuple[str, ...] = CATEGORIES.names
) -> str:
    """A bank whose samples are toy scenes, made from ``sources`` in turn."""
    categories = Categories.from_names(names)
    writer = BankWriter(
        root,
        BankInfo(
            task, categories, default_palette(len(names)), ({"kind": "mask2img", "fingerprint": "0"},), {"seed": 0}
        ),
    )
    samples = []
    for place, number in enumerate(numbers):
        scene = toy_scene(number, size=SIZE)
        buffer = io.BytesIO()
        Image.fromarray(scene.image).save(buffer, "JPEG")
        samples.append(
            Sample(
                f"imgsyn-{place:09d}",
                buffer.getvalue(),
                label_map_png(scene.labels),
                sources[place % len(sources)],
                "imgsyn",
                number,
                "a scene",
                SIZE,
                SIZE,
                histogram(scene.labels, categories),
            )
        )
    writer.write_shard("imgsyn-00000", samples)
    return str(root)


def copied_bank(dataset: str | Path, folder: Path, strategy: str) -> str:
    """A bank of a dataset's own photos and masks, of any task."""
    source, samples = load_dataset(dataset), []
    for place, record in enumerate(source.records()):
        (image, mask), jpeg = read_labelled(record, source), io.BytesIO()
        Image.fromarray(image).save(jpeg, "JPEG")
        members = mask_members(mask, source.categories)
        if source.task == "semantic" or members.get("segments") or members.get("annotations"):
            samples.append(Sample(f"{strategy}-{place:09d}", jpeg.getvalue(), source_id=str(record["source_id"]), strategy=strategy, seed=place,
                                  caption="a scene", height=record["height"], width=record["width"], **members))
    facts = {"strategy": strategy, "seed": 0}
    info = BankInfo(source.task, source.categories, default_palette(len(source.categories)), ({"kind": "mask2img", "fingerprint": "0"},), facts)
    BankWriter(folder, info).write_shard(f"{strategy}-00000", samples)
    return str(folder)


def write_world(root: Path) -> Path:
    """``toy_train`` (4 scenes), ``toy_test`` (2), a bank of 4 samples, and ``config.yaml``, all under ``root``."""
    stuff = Categories.from_names(CATEGORIES.names)
    datasets = [
        write_dataset(root / "train", "toy_train", range(4), stuff),
        write_dataset(root / "test", "toy_test", range(100, 102), stuff),
    ]
    bank = write_bank(root / "bank", range(10, 14), sources=["scene0", "scene1"])
    config = {
        **TINY,
        "OUTPUT_DIR": str(root / "out"),
        "SEGGEN": {**TINY["SEGGEN"], "DATASETS": datasets, "BANKS": [bank]},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    return root / "config.yaml"


ON = {"semantic": {"SEMANTIC_ON": True}, "panoptic": {"PANOPTIC_ON": True, "INSTANCE_ON": True}, "instance": {"INSTANCE_ON": True, "SEMANTIC_ON": False}}


def write_task_world(root: Path, task: str, prefix: str = "toy") -> Path:
    """``config.yaml`` of a task: PREFIX_train (4 scenes), PREFIX_test (2) and a bank of the training scenes themselves."""
    data = []
    for split, count in (("train", 4), ("test", 2)):
        file = write_toy_folder(root / split, split, count, size=SIZE, task=task)
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "name": f"{prefix}_{split}"}))
        data.append(str(file))
    own = {
        "OUTPUT_DIR": str(root / "out"),
        "MODEL": {"MASK_FORMER": {"TEST": ON[task]}},
        "DATASETS": {"TRAIN": [f"{prefix}_train"], "TEST": [f"{prefix}_test"]},
        "INPUT": {"DATASET_MAPPER_NAME": f"mask_former_{task}", "IMAGE_SIZE": SIZE},
        "SEGGEN": {"DATASETS": data, "BANKS": [copied_bank(data[0], root / "bank", "imgsyn")]},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(merge(TINY, own)))
    return root / "config.yaml"


def losses_with_and_without_swap(run, steps: int) -> tuple[dict, dict, dict]:
    """A batch's losses through the bare mapper, through the swap at p_aug 0, and at p_aug 1."""
    import torch

    stream = iter(NumberedSampler(len(run.records), seed=0))
    pairs, swap = [next(stream) for _ in range(steps)], run.mapper_at(0.0)

    def losses(mapper) -> dict:
        torch.manual_seed(4)
        return run.model([mapper(run.records[index], number) for index, number in pairs])

    run.model.train()
    return losses(swap.mapper), losses(swap), losses(run.mapper_at(1.0))

"""Trainings of a few iterations with the real packages on real images, each with a bank: train, resume, evaluate."""

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from toy_world import TINY, write_bank, write_task_world

from seggen_d2.bank import import_bank
from seggen_d2.evaluation.predictions import evaluate_predictions
from seggen_d2.foundation.options import merge
from seggen_d2.plugin.training.command import Arguments, run
from seggen_d2.segmentation import label_map_png, read_label_map
from seggen_d2.sources import load_dataset

from .hosts_world import MASK_DINO
from .training_world import DATA, STOCK

CAMVID = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
CROP = 64
TASKS = {
    "semantic": {"INPUT.DATASET_MAPPER_NAME": "mask_former_semantic"},
    "panoptic": {
        "INPUT.DATASET_MAPPER_NAME": "coco_panoptic_lsj",
        "MODEL.MASK_FORMER.TEST.PANOPTIC_ON": True,
        "MODEL.MASK_FORMER.TEST.INSTANCE_ON": True,
    },
    "instance": {
        "INPUT.DATASET_MAPPER_NAME": "coco_instance_lsj",
        "MODEL.MASK_FORMER.TEST.INSTANCE_ON": True,
        "MODEL.MASK_FORMER.TEST.SEMANTIC_ON": False,
    },
}


def dataset(root, **keys):
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.yaml").write_text(yaml.safe_dump(keys))
    return str(root / "dataset.yaml")


def camvid(root, name):
    """8 training and 2 test photos as they are, and toy scenes with CamVid's names in the bank."""
    files = [
        dataset(
            root / part,
            name=f"{name}_{part}",
            images=str(DATA / "camvid/images" / part),
            masks=str(DATA / "camvid/annotations" / part),
            categories=CAMVID,
            limit=limit,
        )
        for part, limit in (("train", 8), ("val", 2))
    ]
    return files, write_bank(root / "bank", range(4), sources=["0001TP_006690"], names=tuple(CAMVID))


def ade20k(root, name):
    """Two photos to train on, the third to test on; ids moved from 1..150 to 0..149, as Detectron2 has them."""
    images = sorted((DATA / "ade20k_sample/images").glob("*.jpg"))
    rows = (DATA / "ade20k_sample/objectInfo150.csv").read_text().splitlines()[1:]
    names = [row.split(",")[-1].split(";")[0] for row in rows]
    names = [f"{number} {text}" for number, text in enumerate(names)]  # two are called alike
    files = []
    for part, own in (("train", images[:2]), ("val", images[2:])):
        (root / part / "masks").mkdir(parents=True)
        (root / part / "images").mkdir()
        for image in own:
            labels = read_label_map(DATA / "ade20k_sample/annotations" / f"{image.stem}.png").astype(int)
            (root / part / "masks" / f"{image.stem}.png").write_bytes(label_map_png((labels - 1) % 256))
            shutil.copyfile(image, root / part / "images" / image.name)
        keys = {"images": "images", "masks": "masks", "categories": names}
        files.append(dataset(root / part, name=f"{name}_{part}", **keys))
    import_bank(load_dataset(files[0]), root / "bank")
    return files, str(root / "bank")


def coco(root, name, task):
    """One photo to train on and to fill the bank with, the other to test on."""
    folder, files = DATA / "coco_sample", []
    source = "panoptic_examples.json" if task == "panoptic" else "panoptic_coco_detection_format.json"
    whole = json.loads((folder / source).read_text())
    known = json.loads((folder / "panoptic_coco_categories.json").read_text())
    things = {item["id"] for item in known if item["isthing"] or task == "panoptic"}
    for part, image in zip(("train", "val"), whole["images"], strict=True):
        kept = [a for a in whole["annotations"] if a["image_id"] == image["id"]]
        kept = [a for a in kept if a.get("category_id", min(things)) in things]
        categories = [item for item in whole["categories"] if item["id"] in things]
        keys = {"name": f"{name}_{part}", "task": task, "images": str(folder / "input_images"), "json": "own.json"}
        if task == "panoptic":
            keys["masks"] = str(folder / "panoptic_examples")
        files.append(dataset(root / part, **keys))
        own = {**whole, "images": [image], "annotations": kept, "categories": categories}
        (root / part / "own.json").write_text(json.dumps(own))
    import_bank(load_dataset(files[0]), root / "bank")
    return files, str(root / "bank")


def write_config(root, name, files, bank, keys):
    own = {
        "OUTPUT_DIR": str(root / "out"),
        "DATASETS": {"TRAIN": [f"{name}_train"], "TEST": [f"{name}_val"]},
        "INPUT": {
            "MIN_SIZE_TRAIN": [CROP, 80],
            "MIN_SIZE_TEST": CROP,
            "CROP": {"SIZE": [CROP, CROP]},
            "IMAGE_SIZE": CROP,
        },
        "SOLVER": {"MAX_ITER": 3, "LOG_PERIOD": 1},
        "SEGGEN": {"ENGINE": "detectron2", "DATASETS": files, "BANKS": [bank], "P_AUG": 0.5},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(merge(TINY, own)))
    return str(root / "config.yaml"), tuple(str(word) for pair in keys.items() for word in pair)


def check_training(config, words, metric):
    """Two iterations, a third after a resume, and the evaluation of what that left: the same results."""
    run(Arguments(config, (*words, "SOLVER.MAX_ITER", "2")))
    results = run(Arguments(config, words, resume=True))
    again = run(Arguments(config, words, eval_only=True))
    task, name = metric
    assert math.isfinite(results[task][name])
    assert {key: value for key, value in again[task].items() if value == value} == {
        key: value for key, value in results[task].items() if value == value
    }
    folder = Path(config).parent / "out"
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    assert {line["iteration"] for line in lines} >= {0, 1, 2}
    kinds = {key.partition("/")[0] for line in lines for key in line if key.endswith("/total_loss")}
    assert kinds == {"real", "synthetic"} and max(line.get("swap/failed", 0) for line in lines) == 0
    assert torch.load(folder / "model_final.pth", weights_only=True)["trainer"]["iteration"] == 2


CASES = [
    ("camvid", "semantic", ("sem_seg", "mIoU")),
    ("ade20k", "semantic", ("sem_seg", "mIoU")),
    ("coco", "panoptic", ("panoptic_seg", "PQ")),
    ("coco", "instance", ("segm", "AP")),
]


@pytest.mark.parametrize("kind", ["ours", "stock"])
@pytest.mark.parametrize(("data", "task", "metric"), CASES, ids=[f"{data} {task}" for data, task, _ in CASES])
def test_training(tmp_path, kind, data, task, metric):
    if not DATA.is_dir():
        pytest.skip("the real images are not here")
    if kind == "stock":
        pytest.importorskip("mask2former")
    name = f"training_{data}_{task}_{kind}"
    if data == "coco":
        files, bank = coco(tmp_path, name, task)
    else:
        files, bank = {"camvid": camvid, "ade20k": ade20k}[data](tmp_path, name)
    keys = {**TASKS[task], **(STOCK if kind == "stock" else {}), "SEED": 2}
    check_training(*write_config(tmp_path, name, files, bank, keys), metric)


def test_a_hosts_own_mapper_under_this_trainer(tmp_path):
    pytest.importorskip("mask2former")
    if not DATA.is_dir():
        pytest.skip("the real images are not here")
    files, bank = camvid(tmp_path, "training_host")
    keys = {"SEGGEN.MAPPER": "host", "DATALOADER.NUM_WORKERS": 1, "INPUT.SIZE_DIVISIBILITY": CROP, "SEED": 2}
    check_training(*write_config(tmp_path, "training_host", files, bank, keys), ("sem_seg", "mIoU"))


def train_mask_dino(folder, config, *words):
    """The tool in a process of its own: Mask DINO and Mask2Former take the same names in Detectron2's registries."""
    if importlib.util.find_spec("maskdino") is None:
        pytest.skip("Mask DINO is not here")
    root = Path(__file__).parents[2]
    (folder / "op").mkdir()
    (folder / "op/MultiScaleDeformableAttention.py").touch()  # its calls fail, and the pure torch path serves
    command = [sys.executable, "-W", "ignore", str(root / "tools/train_net.py"), "--config-file", str(root / "configs" / config)]
    out = subprocess.run(
        [*command, *map(str, words), "OUTPUT_DIR", str(folder / "out")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "op"), str(root), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert out.returncode == 0, out.stdout[-1500:] + out.stderr[-3000:]
    assert (folder / "out/model_final.pth").exists()
    return json.loads((folder / "out/metrics_final.json").read_text())


def test_mask_dino_through_the_tool(tmp_path):
    if not DATA.is_dir():
        pytest.skip("the real images are not here")
    files, bank = coco(tmp_path, "dino", "panoptic")
    small = {
        "MODEL.BACKBONE.NAME": "build_resnet_backbone",
        "INPUT.IMAGE_SIZE": CROP,
        "SEGGEN.DATASETS": files,
        "SEGGEN.BANKS": [bank],
        "SEGGEN.BANK_ROOT": "",
        "DATASETS.TRAIN": ["dino_train"],
        "DATASETS.TEST": ["dino_val"],
        "SOLVER.MAX_ITER": 2,
    }
    words = [*MASK_DINO.options(), *(word for pair in small.items() for word in pair)]
    found = train_mask_dino(tmp_path, "coco/panoptic-segmentation/maskdino_swin-large_swap.yaml", *words)
    assert found["results"]["panoptic_seg"]["PQ"] >= 0


def test_mask_dino_at_toy_size(tmp_path):
    """The toy config as it is, by its own launch command; only the stages are shorter."""
    write_task_world(tmp_path, "panoptic")
    data = ("SEGGEN.DATASETS", [str(tmp_path / part / "dataset.yaml") for part in ("train", "test")], "SEGGEN.BANKS", [str(tmp_path / "bank")])
    stages = [{"P_AUG": 1.0, "ITERATIONS": 1}, {"P_AUG": 0.0, "ITERATIONS": 1}]
    found = train_mask_dino(tmp_path, "toy/maskdino_pretrain-finetune.yaml", *data, "SEGGEN.STAGES", stages, "TEST.SAVE_PREDICTIONS", True)
    assert found["task"] == "panoptic" and {"PQ", "AP_pan^Th", "mIoU_pan"} <= found["figures"].keys()
    saved = evaluate_predictions(tmp_path / "out/predictions/toy_test", tmp_path / "test/dataset.yaml")
    assert saved.scores.figures["PQ"] == pytest.approx(found["value"]) and saved.images == 2

"""Two processes (gloo, CPU) learn what one learns from the batch of both."""

import json

import pytest
import torch
from detectron2.engine import launch

from seggen_d2.segmentation import label_map_png
from seggen_d2.sources.toy import toy_scene

from .training_world import write_toy
from .two_processes import points, train


def test_points_are_the_same_for_every_segment():
    assert torch.equal(points(2, 5, 2)[0], points(1, 5, 2)[0]) and len(points(1, 5, 2)[0].unique(dim=0)) == 5


def halves(number, size=32):
    """Two segments an image, whichever it is."""
    labels = toy_scene(number, size=size).labels.copy()
    labels[: size // 2], labels[size // 2 :] = 0, 1 + number % 3
    return labels


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The metrics and weights of one process and of two, on images of two segments and on toy scenes."""
    configs = {kind: write_config(tmp_path_factory.mktemp(kind), kind) for kind in ("equal", "scenes")}
    for number in range(4):
        (configs["equal"].parent / f"train/masks/scene{number}.png").write_bytes(label_map_png(halves(number)))
    words = [str(config) for config in configs.values()]
    train(words, "out1")
    launch(train, 2, dist_url="auto", args=(words, "out2"))
    return {(kind, n): outcome(config.parent / f"out{n}") for kind, config in configs.items() for n in (1, 2)}


def write_config(root, kind):
    return write_toy(
        root,
        kind,
        SEED=3,
        SEGGEN={"P_AUG": 0.0},
        SOLVER={
            "IMS_PER_BATCH": 4,
            "MAX_ITER": 1,
            "LOG_PERIOD": 1,
            "OPTIMIZER": "SGD",
            "BASE_LR": 0.1,
            "CLIP_GRADIENTS": {"ENABLED": False},
        },
        INPUT={"MIN_SIZE_TRAIN": [32], "CROP": {"ENABLED": False}, "COLOR_AUG_SSD": False},
        MODEL={"BACKBONE": {"FREEZE_NORM": True}},
    )


def outcome(folder):
    """The first line of the metrics, and the trained weights."""
    first = json.loads((folder / "metrics.json").read_text().splitlines()[0])
    return first, torch.load(folder / "model_final.pth", weights_only=True)["model"]


@pytest.mark.parametrize("kind", ["equal", "scenes"])
def test_mask_and_dice_losses_are_those_of_one(runs, kind):
    one, two = runs[kind, 1][0], runs[kind, 2][0]
    names = [name for name in one if name.startswith(("loss_mask", "loss_dice"))]
    assert len(names) == 4
    assert [two[name] for name in names] == pytest.approx([one[name] for name in names], rel=1e-4)


def test_with_equally_many_segments_so_is_all_else(runs):
    (one, weights_of_one), (two, weights_of_two) = runs["equal", 1], runs["equal", 2]
    assert two["total_loss"] == pytest.approx(one["total_loss"], rel=1e-4)
    assert two["loss_ce"] == pytest.approx(one["loss_ce"], rel=1e-4)
    for name, value in weights_of_one.items():
        torch.testing.assert_close(value, weights_of_two[name], rtol=1e-3, atol=1e-5, msg=name)

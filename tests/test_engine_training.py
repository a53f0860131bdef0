# ruff: noqa: E402
"""Training from a config to metrics: the swap's identity, resume, stages, optimiser groups, what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from safetensors.torch import load_file
from toy_world import losses_with_and_without_swap, write_bank, write_dataset, write_world

from seggen_d2.engine import command
from seggen_d2.engine.checkpoint import last_checkpoint, load_backbone, load_network
from seggen_d2.engine.config import load_config
from seggen_d2.engine.from_config import experiment
from seggen_d2.engine.model_from_config import model_of
from seggen_d2.engine.optimizer import learning_rate_factor, parameter_groups
from seggen_d2.engine.run import Stopped, evaluate_run, train
from seggen_d2.evaluation import score_folder
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.sources.toy import CATEGORIES


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def train_net(config, pairs, **options):
    command.train_net(load_config(config, pairs)[0], **options)


def weights(folder):
    return load_file(folder / "model_final" / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def metric_lines(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def test_p_aug_0_gives_the_bare_mappers_losses_bit_for_bit(config):
    bare, swapped, synthetic = losses_with_and_without_swap(experiment(load_config(config)[0]), 6)
    assert all(torch.equal(bare[name], swapped[name]) for name in bare)
    assert any(not torch.equal(bare[name], value) for name, value in synthetic.items())


def test_a_run_writes_what_it_promises_and_the_same_command_again_does_nothing(config, tmp_path, capsys):
    train_net(config, ["OUTPUT_DIR", str(tmp_path)])
    metrics = json.loads((tmp_path / "metrics_final.json").read_text())
    assert 0 <= metrics["miou"] <= 100 and set(metrics["per_class"]) == set(CATEGORIES.names)
    assert metrics["iterations"] == 4 and metrics["seconds"] > 0 and metrics["peak_rss_mb"] > 50
    lines = metric_lines(tmp_path)
    assert [line["iteration"] for line in lines] == [2, 4] and all(line["total_loss"] > 0 for line in lines)
    assert {"loss_real", "loss_synthetic", "loss_ce", "loss_mask", "loss_dice", "lr"} <= {
        key for line in lines for key in line
    }
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["SOLVER"]["MAX_ITER"] == 4
    assert not list(tmp_path.rglob("*.bin")) and (tmp_path / "stage-0/checkpoint-4/model.safetensors").exists()
    before = (tmp_path / "model_final/model.safetensors").stat().st_mtime_ns
    train_net(config, ["OUTPUT_DIR", str(tmp_path)])
    assert (
        "finished" in capsys.readouterr().out
        and (tmp_path / "model_final/model.safetensors").stat().st_mtime_ns == before
    )
    train_net(config, ["OUTPUT_DIR", str(tmp_path), "TEST.SAVE_PREDICTIONS", "True"], eval_only=True)
    assert f"mIoU {metrics['miou']:.2f}" in capsys.readouterr().out
    scores = score_folder(tmp_path / "predictions/toy_test", load_config(config)[0].SEGGEN.DATASETS[1])
    assert scores["miou"] == metrics["miou"] and scores["per_class"] == metrics["per_class"]


def test_a_dry_run_prints_the_plan_and_writes_nothing(config, tmp_path, capsys):
    train_net(config, ["OUTPUT_DIR", str(tmp_path / "none")], dry_run=True)
    printed = capsys.readouterr().out
    assert (
        "4 iterations of 2 images, p_aug 0.5" in printed
        and "4 real samples" in printed
        and not (tmp_path / "none").exists()
    )


def test_a_dry_run_tells_of_weights_that_are_not_there(config, tmp_path):
    own = ["OUTPUT_DIR", str(tmp_path / "none")]
    stages = [{"P_AUG": 0.5, "ITERATIONS": 1}, {"P_AUG": 0.0, "ITERATIONS": 1, "START_WEIGHTS": f"{tmp_path}/none.pth"}]
    for words in (["MODEL.WEIGHTS", str(tmp_path)], ["MODEL.WEIGHTS", "none.pkl"], ["SEGGEN.STAGES", str(stages)]):
        with pytest.raises(SegGenError, match=r"there is no checkpoint at|checkpoint .* does not exist"):
            train_net(config, own + words, dry_run=True)
    (tmp_path / "model.safetensors").touch()
    train_net(config, [*own, "MODEL.WEIGHTS", str(tmp_path)], dry_run=True)
    stages[1]["START_WEIGHTS"] = str(tmp_path / "none/stage-0/checkpoint-1")
    train_net(config, [*own, "SEGGEN.STAGES", str(stages)], dry_run=True)


def test_the_checkpoint_opens_with_transformers_alone(config, tmp_path):
    from transformers import Mask2FormerForUniversalSegmentation

    run = experiment(load_config(config, ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "1", "SEGGEN.P_AUG", "0"])[0])
    train(run)
    network = Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path / "model_final")
    assert same(network.state_dict(), run.model.network.state_dict()) and network.config.id2label[0] == "sky"


@pytest.mark.parametrize(
    "options",
    [[], ["SOLVER.ACCUMULATE", "2", "MODEL.MASK_FORMER.SIZE_DIVISIBILITY", "64"], ["DATALOADER.NUM_WORKERS", "2"]],
    ids=["plain", "accumulated", "workers"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(config, tmp_path, options, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(experiment(load_config(config, ["OUTPUT_DIR", str(whole), *options])[0]))
    arguments = ["OUTPUT_DIR", str(parts), *options]
    stop_after(monkeypatch, 2)
    with pytest.raises(Stopped, match="iteration 2"):
        train_net(config, arguments)
    monkeypatch.undo()
    assert not (parts / "model_final").exists()
    train_net(config, arguments)
    assert same(weights(whole), weights(parts))
    timeless = [
        [{key: value for key, value in line.items() if key != "seconds_per_iteration"} for line in metric_lines(folder)]
        for folder in (whole, parts)
    ]
    assert timeless[0] == timeless[1]


def stop_after(monkeypatch, iterations):
    """As if Ctrl-C came during that iteration."""
    import signal

    from seggen_d2.engine import trainer

    seen, original = [], trainer.SegmentationTrainer.compute_loss

    def compute_loss(self, *args, **kwargs):
        seen.append(1)
        if len(seen) == iterations * self.args.gradient_accumulation_steps:
            signal.raise_signal(signal.SIGINT)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(trainer.SegmentationTrainer, "compute_loss", compute_loss)


def test_mixed_precision_trains(config, tmp_path):
    train_net(config, ["OUTPUT_DIR", str(tmp_path), "SOLVER.AMP.ENABLED", "True", "SOLVER.LOG_PERIOD", "1"])
    losses = [line["total_loss"] for line in metric_lines(tmp_path)]
    assert len(losses) == 4 and all(0 < loss < 1000 for loss in losses)


def test_stages_follow_each_other_and_resume_in_the_second(config, tmp_path, monkeypatch):
    stages = "[{'P_AUG': 1.0, 'ITERATIONS': 2, 'BASE_LR': 1e-3}, {'P_AUG': 0.0, 'ITERATIONS': 3, 'BASE_LR': 1e-4}]"
    whole = ["OUTPUT_DIR", str(tmp_path / "whole"), "SEGGEN.STAGES", stages, "SOLVER.LOG_PERIOD", "1"]
    train_net(config, whole)
    lines = metric_lines(tmp_path / "whole")
    assert [(line["stage"], line["iteration"], line["synthetic_share"]) for line in lines] == [
        (0, 1, 1),
        (0, 2, 1),
        (1, 3, 0),
        (1, 4, 0),
        (1, 5, 0),
    ]
    assert lines[0]["lr"] == pytest.approx(1e-3) and lines[2]["lr"] == pytest.approx(1e-4)
    parts = ["OUTPUT_DIR", str(tmp_path / "parts"), *whole[2:]]
    stop_after(monkeypatch, 4)
    with pytest.raises(Stopped, match="iteration 4"):
        train_net(config, parts)
    monkeypatch.undo()
    train_net(config, parts)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_stage_can_start_from_other_weights(config, tmp_path):
    train_net(config, ["OUTPUT_DIR", str(tmp_path / "first"), "SOLVER.MAX_ITER", "1"])
    run = experiment(
        load_config(
            config,
            [
                "OUTPUT_DIR",
                str(tmp_path / "next"),
                "SEED",
                "9",
                "SEGGEN.STAGES",
                str(
                    [
                        {
                            "P_AUG": 0.0,
                            "ITERATIONS": 1,
                            "BASE_LR": 1e-12,
                            "START_WEIGHTS": f"{tmp_path}/first/model_final",
                        }
                    ]
                ),
            ],
        )[0]
    )
    train(run)
    first, after = weights(tmp_path / "first"), weights(tmp_path / "next")
    trained = {name for name, _ in run.model.network.named_parameters()}
    assert all(torch.allclose(first[key], after[key], atol=1e-6) for key in trained)


def test_another_config_does_not_go_on_unasked(config, tmp_path, caplog):
    arguments = ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "2"]
    train_net(config, arguments)
    with pytest.raises(SegGenError, match="SOLVER.MAX_ITER: 2 -> 4"):
        train_net(config, arguments[:2])
    train_net(config, arguments[:2], resume=True)
    assert [line["iteration"] for line in metric_lines(tmp_path)] == [2, 4] and "another config" in caplog.text


def test_a_checkpoint_cut_short_is_passed_over(config, tmp_path):
    train_net(config, ["OUTPUT_DIR", str(tmp_path)])
    assert last_checkpoint(tmp_path / "stage-0").name == "checkpoint-4"
    (tmp_path / "stage-0/checkpoint-4/trainer_state.json").write_text('{"global_')
    assert last_checkpoint(tmp_path / "stage-0").name == "checkpoint-2"


def test_a_checkpoint_of_another_model_is_refused(config, tmp_path):
    cfg = load_config(config)[0]
    model = model_of(cfg, Categories.from_names(CATEGORIES.names))
    other = model_of(
        load_config(config, ["MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "7", "MODEL.MASK_FORMER.DEC_LAYERS", "3"])[0],
        Categories.from_names("ab"),
    )
    other.network.save_pretrained(tmp_path / "other")
    with pytest.raises(
        SegGenError, match=r"another model(.|\n)*unexpected(.|\n)*of another shape \(.*class_predictor.bias 3 for 9"
    ):
        load_network(model, tmp_path / "other")
    with pytest.raises(SegGenError, match="no checkpoint at"):
        load_network(model, tmp_path)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/model.safetensors").write_bytes((tmp_path / "other/model.safetensors").read_bytes()[:1000])
    with pytest.raises(SegGenError, match="truncated"):
        load_network(model, tmp_path / "cut")


def test_a_backbone_loads_from_its_own_folder(config, tmp_path):
    one, other = (
        model_of(load_config(config, ["SEED", str(seed)])[0], Categories.from_names("ab")) for seed in (1, 2)
    )
    one.backbone.save_pretrained(tmp_path)
    load_backbone(other, str(tmp_path))
    assert same(one.backbone.state_dict(), other.backbone.state_dict())
    with pytest.raises(SegGenError, match="MODEL.BACKBONE.WEIGHTS"):
        load_backbone(
            model_of(
                load_config(config, ["MODEL.BACKBONE.OPTIONS.embedding_size", "12"])[0], Categories.from_names("ab")
            ),
            str(tmp_path),
        )


def refused(config, words, *pairs):
    with pytest.raises(SegGenError, match=re.escape(words)):
        experiment(load_config(config, [str(word) for word in pairs])[0])


def test_data_and_banks_that_do_not_fit_are_refused(config, tmp_path):
    refused(config, "did you mean 'toy_train'?", "DATASETS.TRAIN", "toy_tran")
    refused(config, "DATASETS.TEST names no dataset", "DATASETS.TEST", "[]")
    refused(config, "bank.json", "SEGGEN.BANKS", tmp_path / "none")
    swapped = "[{'P_AUG': 0.6, 'ITERATIONS': 2}]"
    refused(config, "no bank to swap from", "SEGGEN.BANKS", "[]", "SEGGEN.STAGES", swapped)
    refused(
        config,
        "another task",
        "SEGGEN.BANKS",
        write_bank(tmp_path / "panoptic", range(0), sources=["scene0"], task="panoptic"),
    )
    refused(
        config,
        "'kite'",
        "SEGGEN.BANKS",
        write_bank(tmp_path / "other", range(1), sources=["scene0"], names=(*CATEGORIES.names[:-1], "kite")),
    )
    refused(
        config,
        "made from 1 images of the test set toy_test",
        "SEGGEN.BANKS",
        write_bank(tmp_path / "leak", range(2), sources=["scene0", "scene100"]),
    )
    refused(config, "P_AUG is out of range", "SEGGEN.STAGES", "[{'P_AUG': 1.2, 'ITERATIONS': 2}]")
    sets = load_config(config)[0].SEGGEN.DATASETS
    twice = write_dataset(tmp_path / "twice", "toy_test", range(1))
    refused(config, "two files", "SEGGEN.DATASETS", [*sets, twice])


def test_ids_shared_by_training_and_test_set_are_warned_of(config, tmp_path, caplog):
    stuff = Categories.from_names(CATEGORIES.names)
    test = write_dataset(tmp_path / "again", "again", range(2), stuff)
    sets = load_config(config)[0].SEGGEN.DATASETS
    experiment(load_config(config, ["SEGGEN.DATASETS", str([*sets, test]), "DATASETS.TEST", "again"])[0])
    assert "cannot be checked" in caplog.text


def test_evaluating_draws_nothing_and_keeps_the_mode(config):
    run = experiment(load_config(config)[0])
    state = torch.get_rng_state()
    run.model.train()
    first, second = evaluate_run(run)[0]["miou"], evaluate_run(run)[0]["miou"]
    assert first == second and run.model.training and torch.equal(state, torch.get_rng_state())


def test_parameter_groups_are_mask2formers(config):
    model = model_of(load_config(config)[0], Categories.from_names("ab"))
    groups = parameter_groups(
        model, base_lr=1.0, backbone_multiplier=0.1, weight_decay=0.05, weight_decay_norm=0.0, weight_decay_embed=0.0
    )
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    of = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    named = {name: of[id(parameter)] for name, parameter in model.network.named_parameters()}
    assert {named[name] for name in named if "queries_" in name} == {(1.0, 0.0)}
    levels = {name: named[name] for name in named if "level_embed" in name}
    assert sorted(levels.values()) == [(1.0, 0.0), (1.0, 0.05)], levels  # upstream decays the pixel decoder's
    assert {named[name] for name in named if name.startswith("model.pixel_level_module.encoder.")} == {
        (0.1, 0.0),
        (0.1, 0.05),
    }
    assert named["class_predictor.weight"] == (1.0, 0.05)
    with torch.device("meta"):
        from seggen_d2.modeling import build_mask2former

        swin = SimpleNamespace(model=build_mask2former(2, backbone="swin-tiny"))
    groups = parameter_groups(
        swin.model,
        base_lr=1.0,
        backbone_multiplier=0.1,
        weight_decay=0.05,
        weight_decay_norm=0.0,
        weight_decay_embed=0.0,
    )
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    tables = [
        decays[id(parameter)]
        for name, parameter in swin.model.named_parameters()
        if "relative_position_bias_table" in name
    ]
    assert tables and set(tables) == {0.0}


def test_learning_rates_begin_and_end_where_they_should():
    poly = learning_rate_factor(100, warmup_iterations=10, warmup_factor=0.1)
    assert poly(0) == pytest.approx(0.1) and poly(50) == pytest.approx(0.5**0.9) and poly(100) == 0
    assert all(poly(t) >= poly(t + 1) for t in range(10, 100))
    steps = learning_rate_factor(100, schedule="WarmupMultiStepLR", steps=[0.5, 80])
    assert [round(steps(t), 4) for t in (0, 49, 50, 79, 80)] == [1, 1, 0.1, 0.1, 0.01]


def test_upstream_weights_are_files_not_addresses(config, tmp_path):
    address = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"
    with pytest.raises(SegGenError, match=re.escape("https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/")):
        train_net(config, ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.WEIGHTS", address])
    with pytest.raises(SegGenError, match="none.pkl does not exist"):
        train_net(config, ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.WEIGHTS", str(tmp_path / "none.pkl")])


def test_a_checkpoint_in_upstreams_names_starts_a_training(config, tmp_path):
    from seggen_d2.modeling.upstream_names import to_upstream

    run = experiment(load_config(config, ["SEED", "9"])[0])
    torch.save({"model": to_upstream(run.model.network.state_dict())}, tmp_path / "start.pth")
    pairs = ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.WEIGHTS", str(tmp_path / "start.pth"), "SOLVER.MAX_ITER", "1"]
    train_net(config, [*pairs, "SOLVER.BASE_LR", "1e-9", "SEGGEN.BANKS", "[]"])
    begun, ended = run.model.network.state_dict(), weights(tmp_path / "out")
    moved = [name for name, value in ended.items() if value.is_floating_point() and "running" not in name
             and not torch.allclose(value, begun[name], atol=1e-6)]
    assert not moved


def test_two_processes_train_one_model_and_one_evaluates(config, tmp_path):
    script = Path(__file__).with_name("two_segmenters.py")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script), str(config), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["weights"] == second["weights"] and (first["evaluations"], second["evaluations"]) == (1, 0)
    assert done.stdout.count("mIoU") == 1 and (tmp_path / "run/metrics_final.json").exists()

"""Schedules, rarity and the weight of synthetic samples with Detectron2: what is honoured, and what is refused at the start."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin import build_detection_train_loader, swap
from seggen_d2.plugin.training.loader import build_train_loader
from seggen_d2.plugin.training.plan import plan
from seggen_d2.plugin.training.stages import stage_configs, train_stages
from seggen_d2.plugin.training.trainer import Trainer
from seggen_d2.plugin.weighing import SyntheticWeight

from .training_world import keyed, write_toy
from .world import Model, make_world, train

TWO = "[{'P_AUG': 1.0, 'ITERATIONS': 2}, {'P_AUG': 0.8, 'ITERATIONS': 3, 'P_AUG_SCHEDULE': 'linear', 'P_AUG_END': 0.2}]"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("mixing"), "mixing", SOLVER={"LOG_PERIOD": 1})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def take(loader, batches):
    return [sample for batch, _ in zip(loader, range(batches), strict=False) for sample in batch]


def told(samples):
    return [(sample["is_synthetic"], sample["file_name"]) for sample in samples]


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_the_loader_follows_the_schedule_and_a_later_start_goes_on(config):
    cfg = keyed(config, {"SEGGEN.P_AUG": 1.0, "SEGGEN.P_AUG_SCHEDULE": "linear", "SOLVER.MAX_ITER": 20})
    samples = take(build_train_loader(cfg), 20)
    later = build_train_loader(cfg)
    later.sampler.start_number = 24
    assert told(samples[24:]) == told(take(later, 8))
    flags = [synthetic for synthetic, _ in told(samples)]
    assert sum(flags[:10]) > sum(flags[-10:]) and 10 < sum(flags) < 30
    constant = told(take(build_train_loader(keyed(config, {"SEGGEN.P_AUG": 0.5})), 6))
    assert constant == told(take(build_train_loader(keyed(config, {"SEGGEN.P_AUG": 0.5, "SEGGEN.P_AUG_SCHEDULE": "constant"})), 6))


def test_each_stage_has_its_own_schedule_from_its_own_first_sample(config, tmp_path):
    cfg = keyed(config, {"SEGGEN.STAGES": TWO, "OUTPUT_DIR": tmp_path})
    parts = stage_configs(cfg)
    assert [(part.SEGGEN.P_AUG, part.SEGGEN.P_AUG_SCHEDULE, part.SEGGEN.P_AUG_END) for part in parts] == [(1.0, "constant", 0.0), (0.8, "linear", 0.2)]
    schedule = Trainer(parts[1], iterations_before=2).data_loader.dataset.mapper.p_aug
    assert (schedule.first, schedule.samples, schedule.start, schedule.end) == (4, 6, 0.8, 0.2)
    assert "p_aug 0.8 to 0.2 (linear, 0.5 on average)" in plan(cfg)


def test_a_schedule_that_rises_from_0_opens_its_banks(config):
    loader = build_train_loader(keyed(config, {"SEGGEN.P_AUG": 0.0, "SEGGEN.P_AUG_SCHEDULE": "cosine", "SEGGEN.P_AUG_END": 1.0}))
    assert len(loader.dataset.mapper.banks) == 1


def test_a_projects_own_loader_refuses_a_schedule_and_says_what_to_do(world):
    cfg = world.config(P_AUG=0.6, P_AUG_SCHEDULE="linear")
    for build in (lambda: build_detection_train_loader(cfg), lambda: swap(lambda record: record, cfg)):
        with pytest.raises(SegGenError, match=r"tools/train_net.py(.|\n)*P_AUG 0.3, which draws as many"):
            build()


# -- rarity ------------------------------------------------------------------------------------------------------------


def test_rarity_in_both_loaders(config, world):
    keys = {"SEGGEN.SAMPLING": "paired", "SEGGEN.P_AUG_BY": "rarity"}
    own = build_train_loader(keyed(config, keys)).dataset.mapper
    host = swap(lambda record: record, world.config(SAMPLING="paired", P_AUG_BY="rarity"))
    for made in (own, host):
        assert len(made.p_aug_of.factors) == 4 and min(made.p_aug_of.factors.values()) == 1.0
    assert any(sample["is_synthetic"] for sample in take(build_detection_train_loader(world.config(P_AUG=0.9, SAMPLING="paired", P_AUG_BY="rarity")), 8))
    with pytest.raises(SegGenError, match="goes with sampling 'paired' alone"):
        build_train_loader(keyed(config, {"SEGGEN.P_AUG_BY": "rarity"}))


# -- the weight of synthetic samples -----------------------------------------------------------------------------------


def gradients(model, batch, weight=None):
    """Of the model's whole loss, with the hooks of ``weight`` on it; and the losses."""
    hooks = None if weight is None else SyntheticWeight(model, weight)
    model.zero_grad()
    torch.manual_seed(3)
    losses = model(batch)
    sum(losses.values()).backward()
    if hooks:
        hooks.remove()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return found, {name: value.item() for name, value in losses.items()}


def apart(one, other):
    scale = max(value.abs().max().item() for value in one.values())
    return max((one[name] - other[name]).abs().max().item() for name in one) / scale


def tiny(stock):
    """A Mask2Former on a ResNet-18, stock or this package's, and a batch whose second sample is synthetic."""
    pytest.importorskip("mask2former")
    from .mask2former_pair import pair, samples

    batch = samples([(64, 64)] * 3, segments=(3, 2, 4))
    for sample, synthetic in zip(batch, (False, True, False), strict=True):
        sample["is_synthetic"] = synthetic
    return pair("resnet18", MODEL__RESNETS__RES2_OUT_CHANNELS=64)[0 if stock else 1].train(), batch


@pytest.mark.parametrize("stock", [True, False], ids=["stock Mask2Former", "SegGenMask2Former"])
def test_the_weight_acts_on_the_gradients_of_synthetic_samples_alone(stock):
    model, batch = tiny(stock)
    plain, losses = gradients(model, batch)
    none, half = (gradients(model, batch, weight) for weight in (0.0, 0.5))
    assert none[1] == half[1] == pytest.approx(losses)  # what is reported stays
    assert apart({n: (none[0][n] + plain[n]) / 2 for n in plain}, half[0]) < 1e-5
    other = [{**one, "image": 255 - one["image"]} if one["is_synthetic"] else one for one in batch]
    assert apart(none[0], gradients(model, other, 0.0)[0]) < 1e-4 < 1e-2 < apart(plain, none[0])


def test_the_hook_and_the_other_engine_give_the_same_gradient():
    model, batch = tiny(stock=False)
    ours, _ = gradients(model, batch, 0.3)
    criterion, weights = model.model.criterion, torch.tensor([1.0, 0.3, 1.0])
    model.zero_grad()
    torch.manual_seed(3)
    handle = criterion.register_forward_hook(lambda module, args, output: {name: values * weights for name, values in output.items()})
    sum(model(batch).values()).backward()  # the mean of weighted values a sample: what engine/trainer.py minimises
    handle.remove()
    assert apart(ours, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}) < 1e-5


def test_at_weight_1_and_in_real_batches_the_criterion_gets_the_predictions_themselves():
    model, seen = Model(), []
    model.criterion.register_forward_pre_hook(lambda module, args: seen.append(args[0]["pred"].grad_fn.name()))
    real, synthetic = ({"image": torch.ones(3, 4, 4), "sem_seg": torch.zeros(4, 4), "is_synthetic": made} for made in (False, True))
    for weight, batch in ((1.0, [real, synthetic]), (0.5, [real, real]), (0.5, [real, synthetic])):
        hooks = SyntheticWeight(model, weight)
        model.criterion._forward_pre_hooks.move_to_end(next(iter(model.criterion._forward_pre_hooks)))  # the one that looks comes last
        model(batch)
        hooks.remove()
    assert seen == ["AddmmBackward0", "AddmmBackward0", "ViewBackward0"]


def moved(model):
    """Whether training has changed ``model`` (``world.train`` builds it after seed 0)."""
    torch.manual_seed(0)
    return any(not torch.equal(one, other) for one, other in zip(model.parameters(), Model().parameters(), strict=True))


def test_a_projects_trainer_weights_through_the_hook(world, tmp_path):
    weights = {}
    for weight in (0.0, 1.0, 0.5):
        _, model, _ = train(world.config(P_AUG=1.0, SYNTHETIC_WEIGHT=weight), tmp_path / str(weight))
        weights[weight] = moved(model)
    assert weights == {0.0: False, 1.0: True, 0.5: True}
    _, mixed, _ = train(world.config(P_AUG=0.5, SYNTHETIC_WEIGHT=0.0), tmp_path / "mixed")
    assert moved(mixed)  # by its real samples


class Plain(nn.Module):
    """A model without a criterion."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, batch):
        return {"loss": self.layer(torch.stack([sample["image"].float().mean((1, 2)) for sample in batch])).mean()}


def test_a_model_that_cannot_be_weighted_is_refused_before_the_first_step(world, tmp_path):
    train(world.config(P_AUG=0.5), tmp_path / "unweighted", Plain())
    with pytest.raises(SegGenError, match="cannot act on this model(.|\n)*Plain"):
        train(world.config(P_AUG=0.5, SYNTHETIC_WEIGHT=0.5), tmp_path / "weighted", Plain())


def test_the_trainer_weights_and_logs(config, tmp_path):
    cfg = keyed(config, {"OUTPUT_DIR": tmp_path, "SEGGEN.SYNTHETIC_WEIGHT": 0.5, "SEGGEN.P_AUG_SCHEDULE": "cosine", "SOLVER.MAX_ITER": 3})
    train_stages(cfg)
    assert (tmp_path / "model_final.pth").exists()

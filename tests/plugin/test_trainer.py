"""The trainer: resumed runs equal uninterrupted ones, parts equal the whole batch, averages, precision, stops."""

import json
import os
import signal

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin.training.ema import EMA_FINAL, WeightAverage
from seggen_d2.plugin.training.stages import train_stages
from seggen_d2.plugin.training.step import StepTrainer
from seggen_d2.plugin.training.trainer import Stopped, Trainer

from .training_world import keyed, write_toy

PLAIN = {"MODEL.META_ARCHITECTURE": "MeanColour", "MODEL.BACKBONE.NAME": "build_resnet_backbone"}


@META_ARCH_REGISTRY.register()
class MeanColour(nn.Module):
    """A model whose loss is a mean over images, so that parts of a batch add up."""

    def __init__(self, cfg):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, samples):
        means = torch.stack([sample["image"].float().mean((1, 2)) / 255 for sample in samples])
        return {"loss": self.layer(means).square().mean()}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("trainer"), "trainer")


def weights(folder, name="model_final.pth"):
    return torch.load(folder / name, weights_only=True)["model"]


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=name, **(tolerance or {"rtol": 0, "atol": 0}))


class SignalAt(HookBase):
    def __init__(self, iteration):
        self.iteration = iteration

    def after_step(self):
        if self.trainer.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)


def stopped_after(cfg, iterations):
    """Train until a signal comes."""
    trainer = Trainer(cfg)
    trainer.register_hooks([SignalAt(iterations - 1)])
    trainer._hooks = [trainer._hooks[-1], *trainer._hooks[:-1]]
    with pytest.raises(Stopped, match=f"after iteration {iterations}"):
        trainer.train()


def test_a_stopped_run_goes_on_as_if_it_had_not_been(config, tmp_path):
    keys = {"SEGGEN.EMA": 0.9, "SOLVER.ACCUMULATE": 2, "SOLVER.IMS_PER_BATCH": 4, "SOLVER.CHECKPOINT_PERIOD": 100}
    whole = keyed(config, {**keys, "OUTPUT_DIR": tmp_path / "whole"})
    results = train_stages(whole)
    parts = keyed(config, {**keys, "OUTPUT_DIR": tmp_path / "parts", "DATALOADER.NUM_WORKERS": 1})
    stopped_after(parts, 2)
    assert (tmp_path / "parts/model_0000001.pth").exists() and not (tmp_path / "parts/model_final.pth").exists()
    assert train_stages(parts, resume=True)["sem_seg"]["mIoU"] == results["sem_seg"]["mIoU"]
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert_same(weights(tmp_path / "whole", EMA_FINAL), weights(tmp_path / "parts", EMA_FINAL))
    lines = [json.loads(line) for line in (tmp_path / "parts/metrics.json").read_text().splitlines()]
    assert {"total_loss", "lr", "real/total_loss"} <= set().union(*lines) and lines[-1]["iteration"] >= 3
    assert json.loads((tmp_path / "parts/metrics_final.json").read_text())["miou"] == results["sem_seg"]["mIoU"]
    assert "sem_seg_ema" in results and list((tmp_path / "parts").glob("events.out.tfevents*"))


def test_parts_of_a_batch_give_its_gradient(config, tmp_path):
    keys = {**PLAIN, "SOLVER.IMS_PER_BATCH": 4, "SOLVER.MAX_ITER": 3}
    trained = []
    for parts in (1, 2, 4):
        trainer = Trainer(keyed(config, {**keys, "SOLVER.ACCUMULATE": parts, "OUTPUT_DIR": tmp_path / str(parts)}))
        trainer.evaluate = dict
        trainer._hooks = trainer._hooks[:2]
        trainer.train()
        trained.append(trainer.model.state_dict())
    assert_same(trained[0], trained[1], rtol=1e-5, atol=1e-7)
    assert_same(trained[0], trained[2], rtol=1e-5, atol=1e-7)


def test_an_average_follows_the_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.5)
    nn.init.ones_(model.weight)
    average.update()  # the first decay is (1 + 1) / (10 + 1)
    assert average.averages["weight"].item() == pytest.approx(9 / 11)
    for _ in range(200):
        average.update()
    assert average.averages["weight"].item() == pytest.approx(1)
    nn.init.zeros_(model.weight)
    with average.applied():
        assert model.weight.item() == pytest.approx(1)
    assert model.weight.item() == 0
    with pytest.raises(SegGenError, match="SEGGEN.EMA"):
        WeightAverage(model, 1.0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_on_a_cpu_too(config, tmp_path, precision):
    keys = {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.DTYPE": precision, "SOLVER.MAX_ITER": 2, "OUTPUT_DIR": tmp_path}
    trainer = Trainer(keyed(config, keys))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values() if value.is_floating_point())
    assert any(not torch.equal(before[name], after[name]) for name in after)
    assert trainer._trainer.scaler.is_enabled() == (precision == "fp16")


def test_a_loss_that_is_not_finite_is_said(config, tmp_path, monkeypatch):
    keys = {**PLAIN, "OUTPUT_DIR": tmp_path}
    trainer = Trainer(keyed(config, keys))
    with torch.no_grad():
        trainer.model.layer.weight.fill_(float("nan"))
    with pytest.raises(SegGenError, match="not finite at iteration 0"):
        trainer.train()


def test_an_unknown_precision_is_refused():
    with pytest.raises(SegGenError, match="SOLVER.AMP.DTYPE"):
        StepTrainer(nn.Linear(1, 1), [], None, precision="int8")

"""The optimiser against Mask2Former's own: the same rate and decay for each parameter, the same step."""

import copy

import pytest
import torch

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin.training.optimizer import build_optimizer, clip_norm

from .training_world import STOCK, keyed, upstream_tool, write_toy

SWIN = {
    "MODEL.BACKBONE.NAME": "D2SwinTransformer",
    "MODEL.SWIN.EMBED_DIM": 16,
    "MODEL.SWIN.DEPTHS": "[1, 1, 1, 1]",
    "MODEL.SWIN.NUM_HEADS": "[1, 1, 2, 2]",
    "MODEL.SWIN.WINDOW_SIZE": 4,
}
MODELS = {
    "ours": {},
    "ours, Swin": SWIN,
    "stock": STOCK,
    "stock, Swin": {"MODEL.META_ARCHITECTURE": "MaskFormer", **SWIN},
}
SOLVER = {  # every rule gets a number of its own
    "SOLVER.BASE_LR": 0.01,
    "SOLVER.BACKBONE_MULTIPLIER": 0.1,
    "SOLVER.WEIGHT_DECAY": 0.05,
    "SOLVER.WEIGHT_DECAY_NORM": 0.02,
    "SOLVER.WEIGHT_DECAY_EMBED": 0.03,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("optimizer"), "optimizer")


def rules(optimizer, model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("kind", MODELS)
def test_rates_and_decays_are_mask2formers(config, kind):
    trainer = upstream_tool().Trainer
    cfg = keyed(config, {**SOLVER, **MODELS[kind]})
    model = trainer.build_model(cfg)
    ours, upstream = rules(build_optimizer(cfg, model), model), rules(trainer.build_optimizer(cfg, model), model)
    assert ours == upstream and len(ours) == sum(p.requires_grad for p in model.parameters())
    assert sorted({lr for lr, _ in ours.values()}) == pytest.approx([0.001, 0.01])
    assert {0.02, 0.03, 0.05} <= {decay for _, decay in ours.values()}
    assert (0.0 in {decay for _, decay in ours.values()}) == ("Swin" in kind)


@pytest.mark.parametrize("name", ["ADAMW", "SGD"])
@pytest.mark.parametrize("kind", ["full_model", "norm", "value"])
def test_a_clipped_step_is_mask2formers(config, name, kind):
    keys = {"SOLVER.OPTIMIZER": name, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": kind, "SOLVER.BASE_LR": 0.01}
    cfg = keyed(config, keys)
    torch.manual_seed(0)
    one = torch.nn.ModuleDict({"backbone": torch.nn.Linear(4, 4), "head": torch.nn.Linear(4, 2)})
    other = copy.deepcopy(one)
    ours, upstream = build_optimizer(cfg, one), upstream_tool().Trainer.build_optimizer(cfg, other)
    for _ in range(3):
        for model in (one, other):
            model.zero_grad()
            model["head"](model["backbone"](torch.arange(8.0).view(2, 4))).square().sum().backward()
        if clip_norm(cfg):
            torch.nn.utils.clip_grad_norm_(one.parameters(), clip_norm(cfg))
        ours.step()
        upstream.step()
    assert clip_norm(cfg) == (0.01 if kind == "full_model" else 0.0)
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_an_unknown_optimizer_is_refused(config):
    cfg = keyed(config, {"SOLVER.OPTIMIZER": "LION"})
    with pytest.raises(SegGenError, match="ADAMW"):
        build_optimizer(cfg, torch.nn.Linear(1, 1))

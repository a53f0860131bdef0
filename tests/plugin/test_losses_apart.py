"""The hook in Detectron2's trainers: the losses of real and synthetic samples apart, and a training that it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from detectron2.engine import DefaultTrainer, SimpleTrainer
from detectron2.utils.events import EventStorage
from torch import nn

from seggen_d2.bank.format import tar_path
from seggen_d2.plugin import SegGenHook, build_detection_train_loader
from seggen_d2.plugin.losses import LossesApart, criterion_losses, mean_losses, sample_losses

from .world import Criterion, Model, make_world, states, train


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def test_training_is_the_same_with_the_hook_and_without(world, tmp_path):
    ends = []
    for hook in (True, False):
        _, model, _ = train(world.config(P_AUG=0.5), tmp_path / str(hook), hook=hook)
        ends.append(([p.tolist() for p in model.parameters()], states()))
    assert ends[0] == ends[1]


def test_losses_of_real_and_synthetic_samples_reach_the_log(world, tmp_path):
    rows, _, watch = train(world.config(P_AUG=0.5), tmp_path)
    together = {key for row in rows for key in row}
    for kind in ("real", "synthetic"):
        assert {f"{kind}/loss_mask", f"{kind}/total_loss"} <= together
        assert f"{kind}/loss_mask_0" not in together and f"{kind}/loss_unused" not in together
    assert {"swap/synthetic_share", "swap/failed"} <= together
    assert watch.totals["real"] + watch.totals["synthetic"] == 12 and all(watch.totals[k] for k in ("real", "synthetic"))


def test_only_every_log_period_is_measured(world, tmp_path):
    cfg = world.config(P_AUG=1.0)
    cfg.SOLVER.LOG_PERIOD = 3
    rows, _, watch = train(cfg, tmp_path, iterations=7)
    assert [row["iteration"] for row in rows if "synthetic/loss_mask" in row] == [2, 5, 6]  # and at the end
    assert watch.totals == Counter(synthetic=14)
    assert all("real/loss_mask" not in row for row in rows)


def test_a_step_of_several_parts_is_told_as_one(world):
    trainer, storage = SimpleNamespace(iter=0), EventStorage()
    hook = SegGenHook(world.config())
    hook.trainer = trainer
    parts = [({"real": {"samples": 1, "x": 2.0}}, 40, 3), ({"real": {"samples": 3, "x": 6.0}}, 4, 1)]
    with storage:
        for step in range(2):
            trainer.iter = storage.iter = step
            for losses, real, failed in parts:
                hook._report(losses, Counter(real=real, synthetic=real, failed=failed))
            latest = {key: value for key, (value, _) in storage.latest().items()}
            assert latest == {"real/x": 5.0, "swap/synthetic_share": 0.5, "swap/failed": 4}
    assert hook.totals == Counter(real=88, synthetic=88, failed=8)


def test_a_part_of_the_batch_gives_what_it_would_give_alone():
    criterion, flags = Criterion(), [True, False, True]
    pred = torch.arange(12.0).reshape(3, 4)
    targets = [{"labels": torch.arange(n)} for n in (1, 2, 3)]
    parts = criterion_losses(criterion, ({"pred": pred, "aux_outputs": [{"pred": pred}]}, targets), {}, flags)
    rows = {"real": [1], "synthetic": [0, 2]}
    for kind, chosen in rows.items():
        alone = pred[chosen]
        outputs = {"pred": alone, "aux_outputs": [{"pred": alone}]}
        same = criterion_losses(criterion, (outputs, [targets[i] for i in chosen]), {}, [kind == "synthetic"] * len(chosen))
        assert parts[kind] == same[kind] and parts[kind]["samples"] == len(chosen)
        assert parts[kind]["total_loss"] == pytest.approx(2 * parts[kind]["loss_mask"])


def test_no_process_waits_for_another_one(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        pred = torch.ones(1, 4)
        criterion_losses(Criterion(), ({"pred": pred, "aux_outputs": []}, [{"labels": [1]}]), {}, [True])
        assert torch.distributed.is_initialized()
    finally:
        torch.distributed.destroy_process_group()


PROCESSES = """
import json, os, sys, torch
from detectron2.engine import launch
from detectron2.utils import comm
from seggen_d2.plugin.losses import LossesApart
from torch import nn

class Criterion(nn.Module):
    def forward(self, outputs, targets):
        count = torch.tensor(float(len(targets)))
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(count)
        return {"loss": outputs["pred"].sum() / count}

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.criterion = nn.Linear(1, 1, bias=False), Criterion()
        nn.init.ones_(self.layer.weight)

    def forward(self, batch):
        values = torch.tensor([[sample["value"]] for sample in batch])
        return self.criterion({"pred": self.layer(values)}, batch)

def main():
    torch.distributed.barrier()
    model, reports = Model(), []
    LossesApart(model, lambda: True, lambda *report: reports.append(report))
    kinds = ((False, False), (False, True)) if comm.get_rank() == 0 else ((True, True), (True, True))
    for number, flags in enumerate(kinds):  # a process that holds one kind alone must not keep the other one waiting
        batch = [{"value": 1.0 + 2 * comm.get_rank() + place, "is_synthetic": flag} for place, flag in enumerate(flags)]
        ddp = nn.parallel.DistributedDataParallel(model) if not number else ddp
        ddp(batch)["loss"].backward()
    if comm.is_main_process():
        print(json.dumps([[losses, dict(counts)] for losses, counts in reports]), flush=True)
    comm.synchronize()
    del ddp
    torch.distributed.destroy_process_group()

if __name__ == "__main__":
    launch(main, 2, dist_url="auto")
"""


def test_processes_that_hold_different_kinds_report_together(tmp_path):
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES)
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, timeout=200,
                          env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    (first, counts), (second, _) = json.loads(done.stdout.splitlines()[-1])
    assert counts == {"real": 2, "synthetic": 2}
    assert first["real"] == {"samples": 2, "loss": 1.5, "total_loss": 1.5}  # 1 and 2 on the first process
    assert first["synthetic"]["loss"] == 3.5  # 3 and 4 on the second
    assert second["real"]["loss"] == 1.0 and second["synthetic"]["samples"] == 3
    assert second["synthetic"]["loss"] == pytest.approx((2.0 + 2 * 3.5) / 3)


def test_losses_by_sample_are_taken_as_they_are():
    losses = {"loss_ce": torch.tensor([1.0, 2.0, 6.0]), "loss_ce_0": torch.ones(3)}
    found = sample_losses(losses, [False, True, True])
    assert found == {
        "real": {"samples": 1, "loss_ce": 1.0, "total_loss": 2.0},
        "synthetic": {"samples": 2, "loss_ce": 4.0, "total_loss": 5.0},
    }


def test_means_over_processes_weigh_by_samples():
    parts = [{"real": {"samples": 1, "x": 1.0}}, {"real": {"samples": 3, "x": 5.0}, "synthetic": {"samples": 2, "x": 7.0}}, {}]
    assert mean_losses(parts) == {"real": {"samples": 4, "x": 4.0}, "synthetic": {"samples": 2, "x": 7.0}}


class Plain(nn.Module):
    """A model with neither ``last_losses`` nor a criterion."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, batch):
        return {"loss": sum(self.layer(sample["image"].float().mean((1, 2))).sum() for sample in batch)}


def test_a_model_without_a_criterion_is_told_by_batches_of_one_kind(world, tmp_path):
    rows, _, _ = train(world.config(P_AUG=1.0), tmp_path, Plain())
    assert all(row["synthetic/loss"] == row["synthetic/total_loss"] for row in rows)


class Odd(Model):
    """Its criterion cannot be evaluated on a part of a batch."""

    class Criterion(Criterion):
        def forward(self, outputs, targets):
            if len(targets) != 2:
                raise RuntimeError("two samples, always")
            return super().forward(outputs, targets)

    def __init__(self):
        super().__init__()
        self.criterion = self.Criterion()


def test_a_criterion_that_cannot_be_split_stops_nothing(world, tmp_path, caplog):
    rows, _, _ = train(world.config(P_AUG=0.5), tmp_path, Odd())
    assert caplog.text.count("two samples, always") == 1 and "swap/synthetic_share" in rows[-1]


def test_evaluation_within_training_is_not_counted():
    model = Plain()
    reports = []
    apart = LossesApart(model, lambda: True, lambda *report: reports.append(report))
    batch = [{"image": torch.zeros(3, 2, 2), "is_synthetic": True}]
    model.eval()(batch)
    assert not reports
    model.train()(batch)
    apart.remove()
    model(batch)
    assert len(reports) == 1 and reports[0][1]["synthetic"] == 1


def test_the_hook_tells_the_swap_where_training_starts(world, tmp_path):
    cfg = world.config(P_AUG=1.0)
    loader = build_detection_train_loader(cfg)
    model = Plain()
    trainer = SimpleTrainer(model, loader, torch.optim.SGD(model.parameters(), 0.01))
    trainer.register_hooks([SegGenHook(cfg)])
    trainer.train(40, 41)
    assert loader.dataset.dataset._map_func._obj._host.startswith("40/")


def test_an_unreadable_member_is_told_once_counted_and_replaced(tmp_path, caplog):
    world = make_world(tmp_path)
    tar = tar_path(Path(world.bank), "imgsyn-00000")
    tar.write_bytes(bytes(len(tar.read_bytes())))
    rows, _, watch = train(world.config(P_AUG=1.0), tmp_path / "out", Plain(), iterations=12)
    assert watch.totals == Counter(real=24, failed=24)
    assert all(row["swap/failed"] == 2 and row["swap/synthetic_share"] == 0 for row in rows)
    rows_of_bank = [record.getMessage() for record in caplog.records if "synthetic sample not used" in record.getMessage()]
    assert 0 < len(rows_of_bank) == len({message.split(")")[0] for message in rows_of_bank}) <= 6


def test_detectron2s_default_trainer_takes_the_three_lines(world, tmp_path):
    class Trainer(DefaultTrainer):
        @classmethod
        def build_model(cls, cfg):
            return Model()

        @classmethod
        def build_train_loader(cls, cfg):
            return build_detection_train_loader(cfg)

    cfg = world.config(P_AUG=0.5)
    cfg.OUTPUT_DIR, cfg.DATASETS.TEST = str(tmp_path), ()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.SOLVER.LOG_PERIOD = 20, 10, 5
    for end in (20, 40):
        cfg.SOLVER.MAX_ITER = end
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=True)
        trainer.register_hooks([SegGenHook(cfg)])
        trainer.train()
    rows = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert {row["iteration"] for row in rows if "total_loss" in row} == {19, 39}
    assert {"real/loss_mask", "synthetic/loss_mask", "swap/synthetic_share"} <= {key for row in rows for key in row}

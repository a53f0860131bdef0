"""The swap in Detectron2's own loader and trainer, with small models: exact where it must be, told where it fails."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import weakref
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data import build_detection_train_loader as stock_loader
from detectron2.engine import DefaultTrainer, SimpleTrainer, hooks
from detectron2.utils.events import EventStorage, JSONWriter
from torch import nn
from toy_world import write_bank

from seggen_d2.bank import BankInfo, BankWriter
from seggen_d2.bank.format import tar_path
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin import SegGenHook, build_detection_train_loader, register_bank, swap
from seggen_d2.plugin.datasets import banks_from_config
from seggen_d2.plugin.losses import LossesApart, criterion_losses, mean_losses, sample_losses
from seggen_d2.plugin.registration import BANKS
from seggen_d2.segmentation import default_palette

from .world import STUFF, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def seed_all(seed=0):
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def real_records(world):
    return DatasetCatalog.get(world.train)


# ---- the mapper


def test_p_aug_0_is_the_bare_mapper_bit_for_bit(world):
    cfg = world.config(P_AUG=0.0)
    outputs, ends = [], []
    for mapper in (DatasetMapper(cfg, True), swap(DatasetMapper(cfg, True), cfg)):
        seed_all()
        outputs.append([mapper(record) for record in real_records(world) * 3])
        ends.append(states())
    assert ends[0] == ends[1]
    for bare, swapped in zip(*outputs, strict=True):
        assert swapped.pop("is_synthetic") is False and bare.keys() == swapped.keys()
        assert torch.equal(bare["image"], swapped["image"]) and torch.equal(bare["sem_seg"], swapped["sem_seg"])


def test_a_draw_takes_nothing_from_the_hosts_random_numbers(world):
    mapper = swap(lambda record: record, world.config(P_AUG=0.5))
    seed_all()
    before = states()
    kinds = Counter(mapper(record)["is_synthetic"] for record in real_records(world) * 10)
    assert states() == before and len(kinds) == 2


def test_any_callable_serves_whatever_it_returns(world):
    mapper = swap(lambda record: record["file_name"].split("/")[0], world.config(P_AUG=1.0))
    assert mapper(real_records(world)[0]) == "bank:"


def test_paired_goes_by_the_stem_where_records_hold_two_file_names_alone(world):
    mapper = swap(lambda record: record, world.config(P_AUG=1.0, SAMPLING="paired"))
    bare = [{key: r[key] for key in ("file_name", "sem_seg_file_name")} for r in real_records(world)]
    for record in bare * 3:
        drawn = mapper(dict(record))
        assert drawn.get("source_id", Path(record["file_name"]).stem) == Path(record["file_name"]).stem
    assert mapper.without_variant == 6  # scene2 and scene3, three times


# ---- the loader


def names(cfg, batches, start=0, workers=2, **options):
    cfg.DATALOADER.NUM_WORKERS = workers
    mapper = swap(lambda record: record, cfg)
    mapper.start_at(start)
    seed_all()
    loader = iter(stock_loader(cfg, mapper=mapper, **options))
    return [[(sample["is_synthetic"], sample["file_name"]) for sample in next(loader)] for _ in range(batches)]


def test_a_hosts_loader_repeats_from_its_seed_and_not_after_a_resume(world):
    first, again, resumed = (names(world.config(P_AUG=0.7), 8, start) for start in (0, 0, 100))
    assert first == again and first != resumed


def test_workers_draw_apart(world):
    drawn = names(world.config(P_AUG=1.0), 24)
    workers = [[name for batch in drawn[worker::2] for _, name in batch] for worker in (0, 1)]
    assert workers[0] != workers[1]


def test_workers_draw_the_same_however_they_were_started(world):
    cfg = world.config(P_AUG=0.7)
    forked, spawned = (names(cfg, 6, workers=1, multiprocessing_context=start) for start in ("fork", "spawn"))
    assert forked == spawned and any(is_synthetic for batch in spawned for is_synthetic, _ in batch)


def test_the_loader_stands_in_for_detectron2s(world):
    cfg = world.config(P_AUG=1.0)
    batch = next(iter(build_detection_train_loader(cfg, num_workers=0, total_batch_size=3)))
    assert len(batch) == 3 and all(sample["file_name"].startswith("bank://") for sample in batch)
    assert {"image", "sem_seg", "is_synthetic"} <= batch[0].keys()


def test_a_bank_that_is_trained_on_by_name_is_not_copied(world):
    name = world.train.replace("toy", "bank")
    register_bank(name, world.bank, like=world.train)
    cfg = world.config(BANKS=[])
    cfg.DATASETS.TRAIN = (name,)
    loader = build_detection_train_loader(cfg)
    assert type(loader.dataset.dataset).__name__ == "MappedDataset"
    sample = next(iter(loader))[0]
    assert sample["file_name"].startswith("bank://") and sample["is_synthetic"] is False


def test_a_bank_beside_a_real_dataset_is_not_copied_in_either_order(world):
    name = world.train.replace("toy", "beside")
    register_bank(name, world.bank, like=world.train)
    for order in ((world.train, name), (name, world.train)):
        cfg = world.config(BANKS=[])
        cfg.DATASETS.TRAIN = order
        records = build_detection_train_loader(cfg).dataset.dataset.records
        assert len(records) == 10 and {type(part).__name__ for part in records.datasets} == {"DatasetFromList", "BankDataset"}
        assert records[0]["file_name"].startswith("bank://") == (order[0] == name)


def test_a_bank_by_name_alone_is_registered_at_p_aug_0_too(world, tmp_path, monkeypatch):
    name = world.train.replace("toy", "rooted")
    (tmp_path / name).symlink_to(world.bank)
    monkeypatch.setitem(BANKS, name, world.train)
    cfg = world.config(BANKS=[], P_AUG=0.0, BANK_ROOT=str(tmp_path))
    cfg.DATASETS.TRAIN = (name,)
    held = MetadataCatalog.get(name)  # by a model, which is built before the loader
    assert next(iter(build_detection_train_loader(cfg)))[0]["file_name"].startswith("bank://")
    assert held.stuff_classes == list(STUFF.names)


def test_without_banks_training_is_on_real_data_and_says_so(world, caplog):
    with caplog.at_level("INFO", "seggen_d2"):
        batch = next(iter(build_detection_train_loader(world.config(BANKS=[]))))
    assert not any(sample["is_synthetic"] for sample in batch) and "real data alone" in caplog.text


# ---- the hook


class Criterion(nn.Module):
    """DETR's kind, in small: draws points, weighs by the number of targets, asks whether there are other processes."""

    weight_dict = {"loss_mask": 2.0, "loss_mask_0": 2.0}

    def forward(self, outputs, targets):
        assert len(outputs["pred"]) == len(targets)
        if torch.distributed.is_initialized():
            raise AssertionError("asked other processes")
        count = sum(len(target["labels"]) for target in targets)
        points = torch.rand(4, device=outputs["pred"].device)

        def loss(pred):
            return sum((row * (1 + points)).sum() for row in pred) / count

        aux = {f"loss_mask_{i}": loss(layer["pred"]) for i, layer in enumerate(outputs["aux_outputs"])}
        return {"loss_mask": loss(outputs["pred"]), **aux, "loss_unused": loss(outputs["pred"])}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.criterion = nn.Linear(3, 4), Criterion()

    def forward(self, batch):
        colors = torch.stack([sample["image"].float().mean((1, 2)) / 255 for sample in batch])
        pred = self.layer(colors)
        outputs = {"pred": pred, "aux_outputs": [{"pred": pred * 2}]}
        targets = [{"labels": torch.unique(sample["sem_seg"])} for sample in batch]
        losses = self.criterion(outputs, targets)
        return {name: losses[name] * weight for name, weight in self.criterion.weight_dict.items()}


def train(cfg, folder, model=None, *, hook=True, iterations=6, loader=None):
    """Train a small model by Detectron2's own trainer; the rows of its metrics.json, the model, the hook."""
    folder.mkdir(parents=True, exist_ok=True)
    seed_all()
    model = model or Model()
    loader = build_detection_train_loader(cfg) if loader is None else loader
    trainer = SimpleTrainer(model, loader, torch.optim.SGD(model.parameters(), 0.01))
    watch = SegGenHook(cfg)
    writer = JSONWriter(str(folder / "metrics.json"))
    trainer.register_hooks([hooks.PeriodicWriter([writer], period=1), watch if hook else None])  # the hook comes last
    trainer.train(0, iterations)
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return rows, model, watch


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


# ---- what is refused


def test_a_loader_without_the_swap_is_noticed(world, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["seggen_d2.plugin.swap"], "_swaps", weakref.WeakSet())
    cfg = world.config()
    with pytest.raises(SegGenError, match="built without the swap"):
        train(cfg, tmp_path, loader=stock_loader(cfg))


def refused(cfg, match, mapper=lambda record: record):
    with pytest.raises(SegGenError, match=match) as error:
        swap(mapper, cfg)
    return error.value


def test_a_config_without_the_keys():
    refused(get_cfg(), "no SEGGEN keys")


def test_a_loader_without_a_config(world):
    with pytest.raises(SegGenError, match="without a config"):
        build_detection_train_loader(real_records(world))


def test_stages_belong_to_the_packages_own_trainer(world):
    with pytest.raises(SegGenError, match="tools/train_net.py"):
        build_detection_train_loader(world.config(STAGES=[{"P_AUG": 1.0, "ITERATIONS": 2}]))


def test_a_bank_that_does_not_exist(world):
    error = refused(world.config(BANKS=["no/such/bank"]), "neither a registered bank nor a folder")
    assert "no/such/bank" in error.found


def test_a_folder_that_holds_no_bank(world):
    refused(world.config(BANKS=[str(world.root / "train")]), "no bank at")


def test_a_training_set_that_is_not_registered(world):
    cfg = world.config()
    cfg.DATASETS.TRAIN = (world.train[:-1],)
    refused(cfg, f"did you mean '{world.train}'")


def test_a_panoptic_bank_for_a_semantic_config(world, tmp_path):
    BankWriter(tmp_path / "pan", BankInfo("panoptic", STUFF, default_palette(len(STUFF)), (), {}))
    error = refused(world.config(BANKS=[str(tmp_path / "pan")]), "made for another task")
    assert error.expected.startswith("semantic") and error.found == "panoptic"


def test_the_mapper_tells_the_task_where_it_is_known(world):
    class MaskFormerPanopticDatasetMapper:
        def __call__(self, record):
            return record

    error = refused(world.config(), "made for another task", MaskFormerPanopticDatasetMapper())
    assert error.expected == "panoptic (MaskFormerPanopticDatasetMapper)"


def test_a_bank_of_another_label_space(world, tmp_path):
    names = ("other", *STUFF.names[1:])
    write_bank(tmp_path / "other", range(2), sources=["scene0"], names=names)
    refused(world.config(BANKS=[str(tmp_path / "other")]), f"id 0: '{STUFF.names[0]}'.* against 'other'")


def test_a_bank_made_from_test_images(world, tmp_path):
    write_bank(tmp_path / "leak", range(2), sources=["scene0", "scene101"])
    error = refused(world.config(BANKS=[str(tmp_path / "leak")]), world.test)
    assert "scene101" in str(error) and "CHECK_SOURCES" in error.remedy
    assert swap(lambda record: record, world.config(BANKS=[str(tmp_path / "leak")], CHECK_SOURCES=False)).banks


def test_a_bank_that_is_trained_on_by_name_is_checked_too(world, tmp_path):
    name = world.train.replace("toy", "leak")
    register_bank(name, write_bank(tmp_path / "leak", range(2), sources=["scene101"]), like=world.train)
    for order, p_aug in (((name,), 0.6), ((world.train, name), 0.0)):
        cfg = world.config(BANKS=[], P_AUG=p_aug)
        cfg.DATASETS.TRAIN = order
        assert "scene101" in refused(cfg, world.test).found
    other = name.replace("leak", "panoptic")
    BankWriter(tmp_path / "pan", BankInfo("panoptic", STUFF, default_palette(len(STUFF)), (), {}))
    MetadataCatalog.get(f"{other}_like").set(
        stuff_classes=list(STUFF.names), ignore_label=255, evaluator_type="coco_panoptic_seg",
        thing_dataset_id_to_contiguous_id={}, stuff_dataset_id_to_contiguous_id={i: i for i in range(len(STUFF))},
    )
    DatasetCatalog.register(f"{other}_like", list)
    register_bank(other, tmp_path / "pan", like=f"{other}_like")
    cfg = world.config(BANKS=[])
    cfg.DATASETS.TRAIN = (world.train, other)
    refused(cfg, "made for another task")


def test_names_that_training_and_test_set_share_cannot_tell(world, tmp_path, caplog):
    cfg = world.config()
    cfg.DATASETS.TEST = (world.train,)
    assert swap(lambda record: record, cfg).banks and "cannot be checked" in caplog.text


def test_a_test_set_that_is_not_there(world):
    cfg = world.config()
    cfg.DATASETS.TEST = ("coco_2017_val",)
    refused(cfg, "cannot be read")


def test_banks_open_by_name_and_by_folder_alike(world):
    name = world.train.replace("toy", "named")
    register_bank(name, world.bank, like=world.train)
    cfg = world.config(BANKS=[name, world.bank])
    assert [bank.root for bank in banks_from_config(cfg)] == [Path(world.bank).resolve()] * 2
    assert MetadataCatalog.get(name).bank_like == world.train

"""The training loader: a sample is a function of seed and number, whichever process or worker maps it."""

import pytest
import torch

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import NumberedSampler
from seggen_d2.plugin import BankDataset, register_bank
from seggen_d2.plugin.training import loader as loader_module
from seggen_d2.plugin.training.loader import build_train_loader, share_of_batch, training_mapper, training_records

from .training_world import keyed, write_toy


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("loader"), "loader")


def take(loader, batches):
    return [sample for batch, _ in zip(loader, range(batches), strict=False) for sample in batch]


def same(one, other):
    return (
        one["file_name"] == other["file_name"]
        and one["is_synthetic"] == other["is_synthetic"]
        and torch.equal(one["image"], other["image"])
        and torch.equal(one["instances"].gt_masks, other["instances"].gt_masks)
    )


def test_workers_and_a_later_start_change_nothing(config):
    samples = take(build_train_loader(keyed(config, {})), 6)
    assert {sample["is_synthetic"] for sample in samples} == {True, False}
    workers = take(build_train_loader(keyed(config, {"DATALOADER.NUM_WORKERS": 2})), 6)
    later = build_train_loader(keyed(config, {}))
    later.sampler.start_number = 4
    assert all(map(same, samples, workers)) and all(map(same, samples[4:], take(later, 4)))
    seeded = take(build_train_loader(keyed(config, {"SEED": 1})), 6)
    assert not all(map(same, samples, seeded))


def test_processes_share_the_numbers_out(config):
    samples, mapped = take(build_train_loader(keyed(config, {})), 3), {}
    for rank in (0, 1):
        loader = build_train_loader(keyed(config, {}))
        loader.sampler.rank, loader.sampler.world_size = rank, 2
        assert isinstance(loader.sampler, NumberedSampler)
        for place, sample in enumerate(take(loader, 2)):
            mapped[2 * place + rank] = sample
    assert all(same(samples[number], mapped[number]) for number in range(6))


def test_a_hosts_mapper_is_a_function_of_the_number_too(config):
    pytest.importorskip("mask2former")
    cfg = keyed(config, {"SEGGEN.MAPPER": "host", "INPUT.CROP.TYPE": "absolute"})
    state = torch.get_rng_state()
    mapper, record = training_mapper(cfg), training_records(cfg)[0]
    images = [mapper(record, number=number)["image"] for number in (3, 4, 3)]
    assert torch.equal(images[0], images[2]) and not torch.equal(images[0], images[1])
    assert torch.equal(state, torch.get_rng_state())
    assert type(mapper.mapper).__module__.startswith("mask2former")


class Choosy:
    """A host's mapper that gives None for what it will not have, and draws."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __call__(self, record):
        drawn = torch.rand(1)
        return {"file_name": record["file_name"], "drawn": drawn} if self.wanted(record["file_name"]) else None


def choosy(monkeypatch, config, wanted, **keys):
    monkeypatch.setattr(loader_module, "host_mapper", lambda cfg: Choosy(wanted))
    loader = build_train_loader(keyed(config, {"SEGGEN.MAPPER": "host", **keys}))
    return [(sample["file_name"], sample["drawn"], sample["is_synthetic"]) for sample in take(loader, 6)]


def test_a_record_that_the_hosts_mapper_refuses_gives_way_to_the_next(config, monkeypatch):
    every, some, again = (
        choosy(monkeypatch, config, wanted, **{"SEGGEN.P_AUG": 0.0})
        for wanted in (lambda name: True, *[lambda name: "scene1" not in name] * 2)
    )
    assert some == again and len(some) == 12
    for before, after in zip(every, some, strict=True):  # the same number: the same draw, of the next record
        assert after[0] == before[0].replace("scene1", "scene2") and after[1] == before[1]


def test_a_synthetic_sample_that_the_hosts_mapper_refuses_gives_way_to_the_real_one(config, monkeypatch):
    samples = choosy(monkeypatch, config, lambda name: not name.startswith("bank:"), **{"SEGGEN.P_AUG": 1.0})
    assert not any(is_synthetic for *_, is_synthetic in samples)


def test_a_hosts_mapper_that_refuses_every_record_is_told(config, monkeypatch):
    with pytest.raises(SegGenError, match="None for every record"):
        choosy(monkeypatch, config, lambda name: False)


def test_records_are_held_once_and_a_bank_not_at_all(config):
    records = training_records(keyed(config, {}))
    assert len(records) == 4 and records[0] == records[0] and records[0] is not records[0]
    register_bank("loader_bank", config.parent / "bank", like="loader_train")
    both = training_records(keyed(config, {"DATASETS.TRAIN": "['loader_train', 'loader_bank']"}))
    assert len(both) == 8 and isinstance(both.datasets[1], BankDataset) and both[4]["file_name"].startswith("bank://")
    alone = training_records(keyed(config, {"DATASETS.TRAIN": "['loader_bank']", "SEGGEN.BANKS": "[]"}))
    assert isinstance(alone, BankDataset)


def test_what_cannot_be_shared_out_is_refused(config):
    assert share_of_batch(keyed(config, {"SOLVER.IMS_PER_BATCH": 8, "SOLVER.ACCUMULATE": 2}), 2) == 4
    with pytest.raises(SegGenError, match="2 processes"):
        share_of_batch(keyed(config, {"SOLVER.IMS_PER_BATCH": 6, "SOLVER.ACCUMULATE": 2}), 2)
    with pytest.raises(SegGenError, match="TrainingSampler"):
        training_records(keyed(config, {"DATALOADER.SAMPLER_TRAIN": "RepeatFactorTrainingSampler"}))
    with pytest.raises(SegGenError, match="did you mean 'loader_train'"):
        keyed(config, {"DATASETS.TRAIN": "['loader_tain']"})
    with pytest.raises(SegGenError, match="names no dataset"):
        training_records(keyed(config, {"DATASETS.TRAIN": "[]"}))

"""The swap around any mapper and in Detectron2's own loader: exact where it must be, one bank for all its readers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetMapper, MetadataCatalog
from detectron2.data import build_detection_train_loader as stock_loader
from toy_world import write_bank

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin import build_detection_train_loader, register_bank, swap
from seggen_d2.plugin.data.datasets import banks_from_config
from seggen_d2.plugin.data.registration import BANKS

from .world import STUFF, make_world, real_records, seed_all, states


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


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


def test_banks_open_by_name_and_by_folder_alike(world):
    name = world.train.replace("toy", "named")
    register_bank(name, world.bank, like=world.train)
    cfg = world.config(BANKS=[name, world.bank])
    assert [bank.root for bank in banks_from_config(cfg)] == [Path(world.bank).resolve()] * 2
    assert MetadataCatalog.get(name).bank_like == world.train


def test_banks_open_by_url_by_name_and_below_a_root_that_is_a_url(world, monkeypatch):
    pytest.importorskip("fsspec")
    name = world.train.replace("toy", "away")
    url = write_bank(f"memory://{name}/{name}", range(10, 16), sources=["scene0", "scene1"])
    monkeypatch.setitem(BANKS, name, world.train)
    cfg = world.config(P_AUG=1.0, BANKS=[url, name], BANK_ROOT=f"memory://{name}")
    assert [bank.root for bank in banks_from_config(cfg)] == [url, url]
    batch = next(iter(build_detection_train_loader(cfg, num_workers=0)))
    assert all(sample["file_name"].startswith(f"bank://{name}/") and sample["is_synthetic"] for sample in batch)
    with pytest.raises(SegGenError, match="there is no bank at memory://nowhere/bank(.|\n)*nothing of that name"):
        banks_from_config(world.config(BANKS=["memory://nowhere/bank"]))

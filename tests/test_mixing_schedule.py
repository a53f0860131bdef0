"""Numbers of samples and stages of a schedule."""

import itertools

import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import NumberedDataset, NumberedSampler, Stage, locate, stages_from


def first(sampler, count):
    return list(itertools.islice(sampler, count))


def test_every_epoch_is_another_permutation():
    pairs = first(NumberedSampler(10, seed=3), 30)
    assert [number for _, number in pairs] == list(range(30))
    epochs = [tuple(index for index, _ in pairs[start : start + 10]) for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and len(set(epochs)) == 3
    assert pairs != first(NumberedSampler(10, seed=4), 30)


@pytest.mark.parametrize("start", [1, 9, 10, 25])
def test_a_resumed_stream_goes_on(start):
    assert first(NumberedSampler(10, start_number=start), 20) == first(NumberedSampler(10), 20 + start)[start:]


def test_ranks_share_one_stream():
    ranks = [first(NumberedSampler(7, start_number=6, rank=rank, world_size=3), 10) for rank in range(3)]
    assert sorted(sum(ranks, []), key=lambda pair: pair[1]) == first(NumberedSampler(7, start_number=6), 30)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_no_two_workers_share_a_number(workers):
    data = pytest.importorskip("torch.utils.data")
    dataset = NumberedDataset([{"name": i} for i in range(10)], _numbered)
    loader = data.DataLoader(dataset, 4, sampler=NumberedSampler(10, seed=1), num_workers=workers, collate_fn=list)
    items = sum(itertools.islice(loader, 6), [])
    assert [(item["name"], item["number"]) for item in items] == first(NumberedSampler(10, seed=1), 24)


def _numbered(record, number):
    return {**record, "number": number}


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"start_number": -1}, {"rank": 1, "world_size": 1}, {"world_size": 0}]
)
def test_a_sampler_refuses_what_is_out_of_range(options):
    with pytest.raises(SegGenError):
        NumberedSampler(**{"size": 10, **options})


def test_no_stages_is_one_of_the_defaults():
    assert stages_from([], p_aug=0.6, iterations=100, base_lr=1e-4) == (Stage(0.6, 100, 1e-4),)


def test_pretrain_then_finetune():
    values = [{"P_AUG": 1.0, "ITERATIONS": 30}, {"P_AUG": 0, "ITERATIONS": 20, "BASE_LR": "1e-5", "START_WEIGHTS": "w"}]
    stages = stages_from(values, p_aug=0.6, iterations=9, base_lr=1e-4)
    assert stages == (Stage(1.0, 30, 1e-4), Stage(0.0, 20, 1e-5, "w"))
    assert [locate(stages, i) for i in (0, 29, 30, 49, 50, 99)] == [(0, 0), (0, 29), (1, 0), (1, 19), (2, 0), (2, 0)]


@pytest.mark.parametrize(
    "values, words",
    [
        ([{"P_AUG": 1.2, "ITERATIONS": 3}], "P_AUG is out of range"),
        ([{"P_AUG": 1, "ITERATIONS": 0}], "ITERATIONS is out of range"),
        ([{"P_AUG": 1, "ITERATIONS": 3, "BASE_LR": 0.0}], "BASE_LR is out of range"),
        ([{"P_AUG": 1}], "lacks iterations"),
        ([{"P_AUG": 1, "ITERATIONS": 3}, {"P_AGU": 1, "ITERATIONS": 3}], r"STAGES\[1\]"),
        ([0.6], "no stage"),
    ],
)
def test_bad_stages(values, words):
    with pytest.raises(SegGenError, match=words):
        stages_from(values, p_aug=0.6, iterations=9, base_lr=1e-4)

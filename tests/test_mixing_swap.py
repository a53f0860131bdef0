"""The swap: identities in p_aug, purity of a draw, the three samplings, several banks, and what goes wrong."""

import logging
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import SwapMapper
from seggen_d2.mixing.swap import MOST_TOLD
from seggen_d2.segmentation import Categories

NAMES = ("sky", "road")


class FakeBank:
    """What the swap asks of a bank, in memory."""

    def __init__(self, name="fake", size=100, names=NAMES, task="semantic", weights=None, sources=10):
        self.name, self.root, self.size = name, f"/banks/{name}", size
        self.info = SimpleNamespace(task=task, categories=Categories.from_names(names), job={})
        self.weights, self.sources = weights, [f"real{i % sources}" for i in range(size)]

    def __len__(self):
        return self.size

    def record(self, i):
        return {"file_name": f"bank://{self.name}/{i}.jpg", "row": i, "bank": self.name, "source_id": self.sources[i]}

    def key(self, i):
        return f"imgsyn-{i:09d}"

    def variants(self, source_id):
        return np.flatnonzero(np.array(self.sources) == source_id)

    def column(self, name):
        return np.asarray(self.weights)


def echo(record, number=None):
    return {**record, "number": number}


REAL = {"file_name": "/data/real3.jpg", "sem_seg_file_name": "/data/real3.png"}


def swapped_share(swap, count=4000):
    return np.mean([swap(REAL, number)["is_synthetic"] for number in range(count)])


def test_p_aug_0_hands_on_the_record_itself_and_draws_nothing(monkeypatch):
    monkeypatch.setattr("seggen_d2.mixing.swap.unit_float", lambda *parts: pytest.fail("a draw was made"))
    seen = []
    swap = SwapMapper(lambda record: seen.append(record) or record, FakeBank(), 0.0)
    record = dict(REAL)
    assert swap(record) is record and seen[0] is record


def test_p_aug_0_needs_no_bank():
    assert SwapMapper(echo, [], 0)(REAL, 5) == {**REAL, "number": 5, "is_synthetic": False}


def test_p_aug_1_is_always_synthetic():
    assert swapped_share(SwapMapper(echo, FakeBank(), 1.0), 500) == 1.0


def test_rate_follows_p_aug():
    share = swapped_share(SwapMapper(echo, FakeBank(), 0.6))
    assert abs(share - 0.6) < 4 * np.sqrt(0.6 * 0.4 / 4000)


def test_p_aug_may_depend_on_the_number():
    swap = SwapMapper(echo, FakeBank(), lambda number: float(number >= 10))
    assert [swap(REAL, n)["is_synthetic"] for n in (0, 9, 10, 99)] == [False, False, True, True]
    with pytest.raises(SegGenError, match="loader gives none"):
        swap(REAL)
    with pytest.raises(SegGenError, match="p_aug"):
        SwapMapper(echo, FakeBank(), lambda number: 1.2)(REAL, 0)


@pytest.mark.parametrize("sampling", ["uniform", "paired"])
def test_a_draw_is_a_function_of_seed_and_number(sampling):
    def draws(swap, numbers):
        return {n: swap(REAL, n) for n in numbers}

    swap = SwapMapper(echo, [FakeBank("a"), FakeBank("b")], 0.6, sampling=sampling, seed=7)
    forwards = draws(swap, range(200))
    assert draws(pickle.loads(pickle.dumps(swap)), reversed(range(200))) == forwards
    other = SwapMapper(echo, [FakeBank("a"), FakeBank("b")], 0.6, sampling=sampling, seed=8)
    assert draws(other, range(200)) != forwards


def test_the_number_is_handed_on_only_where_it_was_given():
    swap = SwapMapper(lambda record: dict(record), FakeBank(), 0.5)
    assert "is_synthetic" in swap(REAL)
    with pytest.raises(TypeError):
        SwapMapper(lambda record: dict(record), FakeBank(), 0.0)(REAL, 1)


def test_uniform_reaches_every_row():
    swap = SwapMapper(echo, FakeBank(size=20), 1.0)
    counts = np.bincount([swap(REAL, n)["row"] for n in range(2000)], minlength=20)
    assert counts.min() > 50 and counts.max() < 160


@pytest.mark.parametrize(
    "record, source",
    [
        ({"file_name": "x/other.jpg", "image_id": "real4"}, "real4"),
        ({"file_name": "x/real5.png", "image_id": 77}, "real5"),
        (REAL, "real3"),
    ],
)
def test_paired_finds_by_image_id_else_by_stem(record, source):
    swap = SwapMapper(echo, FakeBank(), 1.0, sampling="paired")
    drawn = [swap(record, n) for n in range(200)]
    assert {d["source_id"] for d in drawn} == {source} and len({d["row"] for d in drawn}) == 10


def test_paired_without_a_variant_stays_real_and_is_counted():
    swap = SwapMapper(echo, FakeBank(), 1.0, sampling="paired")
    assert not swap({"file_name": "x/unknown.jpg"}, 0)["is_synthetic"]
    assert (swap.without_variant, swap.failures) == (1, 0)


def test_paired_asks_the_other_banks():
    swap = SwapMapper(echo, [FakeBank("few", sources=2), FakeBank("all")], 1.0, sampling="paired", bank_weights=[9, 1])
    assert {swap(REAL, n)["bank"] for n in range(50)} == {"all"}


def test_weighted_follows_the_weights():
    weights = np.array([0.0, 1.0, 3.0, 0.0])
    swap = SwapMapper(echo, FakeBank(size=4, weights=weights), 1.0, sampling="weighted", sample_weights="scores/q:w")
    counts = np.bincount([swap(REAL, n)["row"] for n in range(4000)], minlength=4)
    assert counts[0] == counts[3] == 0
    assert abs(counts[2] / 4000 - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4000)


@pytest.mark.parametrize("given, share", [(None, 0.2), ([3, 1], 0.75), ([0, 1], 0.0)])
def test_banks_are_drawn_by_weight_by_default_their_size(given, share):
    swap = SwapMapper(echo, [FakeBank("a", 20), FakeBank("b", 80)], 1.0, bank_weights=given)
    found = np.mean([swap(REAL, n)["bank"] == "a" for n in range(3000)])
    assert abs(found - share) <= 4 * np.sqrt(share * (1 - share) / 3000)


def test_without_numbers_start_iteration_and_calls_decide():
    def draws(**options):
        swap = SwapMapper(lambda record: dict(record), FakeBank(), 0.5, **options)
        return [swap(REAL).get("row") for _ in range(50)]

    assert draws(seed=1) == draws(seed=1)
    assert len({tuple(draws(seed=s, start_iteration=i)) for s in (1, 2) for i in (0, 100)}) == 4
    assert draws(seed=1)[:25] != draws(seed=1)[25:]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_without_numbers_no_two_workers_and_epochs_draw_alike():
    torch_data = pytest.importorskip("torch.utils.data")
    swap = SwapMapper(lambda record: str(sorted(record.items())), FakeBank(size=10**6, sources=1), 1.0)
    loader = torch_data.DataLoader(_Mapped(swap), batch_size=None, num_workers=2)
    drawn = [item for _ in range(2) for item in loader]
    assert len(set(map(str, drawn))) == len(drawn) == 40


class _Mapped:
    def __init__(self, swap):
        self.swap = swap

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return self.swap(REAL)


def test_an_unreadable_synthetic_sample_gives_way_to_the_real_one(caplog):
    def strict(record, number=None):
        if record["file_name"].startswith("bank://"):
            raise OSError("broken archive")
        return dict(record)

    swap = SwapMapper(strict, FakeBank(size=1), 1.0)
    with caplog.at_level(logging.WARNING):
        assert [swap(REAL, n)["is_synthetic"] for n in range(40)] == [False] * 40
    assert swap.failures == 40
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and "broken archive" in warnings[0].message and "fake, row 0, imgsyn-000000000)" in warnings[0].message
    assert [r.levelname for r in caplog.records].count("ERROR") == 1  # all of them failing is said aloud


def test_a_failure_on_a_real_record_is_raised():
    def broken(record, number=None):
        raise OSError("real file gone")

    for p_aug in (0.0, 1.0):
        with pytest.raises(OSError, match="real file gone"):
            SwapMapper(broken, FakeBank(), p_aug)(REAL, 0)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"p_aug": 1.2}, "p_aug is out of range"),
        ({"p_aug": -0.1}, "p_aug is out of range"),
        ({"p_aug": "0.6"}, "p_aug is out of range"),
        ({"banks": []}, "no bank"),
        ({"banks": FakeBank(size=0)}, "is empty"),
        ({"banks": [FakeBank("a"), FakeBank("b", names=("sky", "tree"))]}, "id 1: 'road' against 'tree'"),
        ({"banks": [FakeBank("a"), FakeBank("b", task="panoptic")]}, "different tasks"),
        ({"sampling": "unifrom"}, "did you mean 'uniform'"),
        ({"sampling": "weighted"}, "sample_weights"),
        ({"sample_weights": "seed"}, "sample_weights"),
        ({"bank_weights": [1, 2]}, "another length"),
        ({"bank_weights": [-1]}, "-1.0 at position 0"),
    ],
)
def test_bad_options(options, words):
    options = {"banks": FakeBank(), "p_aug": 0.6, **options}
    with pytest.raises(SegGenError, match=words):
        SwapMapper(echo, **options)


@pytest.mark.parametrize(
    "weights, words",
    [
        ([1, -2, 1], "-2.0 at position 1"),
        ([1, np.nan, 1], "nan at position 1"),
        ([0, 0, 0], "all 0"),
        ([1, 2], "another length"),
        (["a", "b", "c"], "numbers"),
    ],
)
def test_bad_weights(weights, words):
    with pytest.raises(SegGenError, match=words):
        SwapMapper(echo, FakeBank(size=3, weights=weights), 0.6, sampling="weighted", sample_weights="w")


def test_a_bank_that_is_gone_does_not_fill_the_log(caplog):
    def no_synthetic(record):
        if record["file_name"].startswith("bank://"):
            raise OSError("gone")
        return record

    swap = SwapMapper(no_synthetic, FakeBank(size=5000), 1.0)
    outputs = [swap(dict(REAL)) for _ in range(400)]
    assert swap.failures == 400 and all(output["swap_failed"] for output in outputs)
    assert caplog.text.count("not used, the real one is") == MOST_TOLD and "counted only" in caplog.text


def test_the_start_of_training_changes_what_a_hosts_loader_draws():
    def draws(start):
        swap = SwapMapper(echo, FakeBank(), 0.6)
        swap.start_at(start)
        return [swap(REAL).get("row") for _ in range(50)]

    assert draws(0) == draws(0) != draws(100)

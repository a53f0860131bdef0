# ruff: noqa: E402
"""Advice: intervals that know equal from better, probes that never see what was held out, and faults that are found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from filter_samples import FILTER, write_filter
from toy_world import SIZE, copied_bank, write_bank, write_dataset

from seggen_d2.advising import runs
from seggen_d2.advising.advise import advise
from seggen_d2.advising.checking import check, check_text
from seggen_d2.advising.controls import spoil
from seggen_d2.advising.folds import apart, folds_of
from seggen_d2.advising.intervals import Probed, differences, widening
from seggen_d2.advising.labels import ClassTargets, probe_categories
from seggen_d2.advising.options import ProbeOptions, check_p_augs
from seggen_d2.advising.reasons import Alignment, reasons_of
from seggen_d2.advising.runs import Arm
from seggen_d2.advising.segmenter import PixelSegmenter
from seggen_d2.advising.statistics import BankFacts, Counts
from seggen_d2.advising.store import Store
from seggen_d2.advising.verdict import judge
from seggen_d2.advising.words import summary
from seggen_d2.bank import Bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import parse_json, read_json, write_json
from seggen_d2.segmentation import Categories, read_label_map
from seggen_d2.segmentation.confusion import iou_of
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask
from seggen_d2.sources.toy import CATEGORIES
from seggen_d2.sources.toy_folder import write_toy_folder

ROOT = Path(__file__).parents[1]
NAMES = ("a", "b", "c")
SHORT = ProbeOptions(iterations=2, folds=2, seeds=2, batch=2)


def probed(iou: np.ndarray, images: int = 40, *, spread: float = 0.0, seeds: int = 2, seed: int = 0) -> Probed:
    """Probes whose class IoUs are about ``iou`` (shares), with noise of images, and of trainings by ``spread``."""
    draw, noise = np.random.default_rng(1), np.random.default_rng(seed + 2)
    folds = np.arange(images) % 2
    by_image = draw.normal(0, 0.05, (1, images, len(iou)))
    by_training = noise.normal(0, spread, (seeds, 2, len(iou)))[:, folds] if spread else 0
    hits = np.clip(1000 * (iou + by_image + by_training), 0, 1000).astype(np.int64) * np.ones((seeds, 1, 1), np.int64)
    return Probed(np.stack([hits, np.full_like(hits, 1000), hits], -1), folds)


def test_equal_probes_differ_by_nothing_and_a_gain_is_what_it_is():
    base = probed(np.array([0.5, 0.4, 0.3]))
    overall, classes = differences(base, base, 100)
    assert overall.value == 0 and (overall.draws == 0).all() and overall.chance == 0.5
    assert [one.interval(0.95).verdict for one in classes] == ["not told apart"] * 3
    better = probed(np.array([0.6, 0.4, 0.2]))
    overall, classes = differences(better, base, 400)
    assert overall.value == pytest.approx(np.nanmean(better.iou() - base.iou()))
    assert [one.interval(0.95).verdict for one in classes] == ["better", "not told apart", "worse"]
    assert classes[0].interval(0.95).low > classes[1].interval(0.95).high and classes[0].chance == 1 and classes[2].chance == 0


def test_trainings_that_differ_widen_the_interval_and_false_alarms_are_rare():
    truth = np.array([0.5, 0.4, 0.3])
    calm, wild = (differences(probed(truth + 0.02, spread=s), probed(truth, spread=s, seed=9), 300)[0].interval(0.95) for s in (0.0, 0.1))
    assert wild.high - wild.low > 3 * (calm.high - calm.low)
    words = [differences(probed(truth, spread=0.05, seed=2 * n), probed(truth, spread=0.05, seed=2 * n + 1), 200)[0].interval(0.95).verdict for n in range(100)]
    assert sum(word != "not told apart" for word in words) <= 12  # 5 are expected of equal sides
    assert widening(1, 3) == 1 and widening(2, 3) == pytest.approx(3.182 / 1.960, abs=1e-3) and widening(50, 3) < 1.02


def test_the_mean_iou_of_a_class_that_no_image_holds_is_left_out():
    base = probed(np.array([0.5, 0.4]))
    empty = Probed(np.concatenate([base.sums, np.zeros_like(base.sums[:, :, :1])], 2), base.folds)
    overall, classes = differences(empty, empty, 50)
    assert overall.value == 0 and np.isnan(classes[2].value) and classes[2].interval(0.95).replicates == 0 and np.isnan(classes[2].chance)


def test_verdicts_and_recommendations():
    base, good, better, bad = (probed(np.array(iou)) for iou in ([0.5, 0.4, 0.3], [0.6, 0.5, 0.3], [0.7, 0.6, 0.2], [0.4, 0.3, 0.3]))
    found = judge(base, {Arm(0.3): good, Arm(0.6): better}, NAMES, 200)
    assert (found.word, found.recommended, found.level) == ("helps", Arm(0.6), pytest.approx(0.975))
    assert [change.verdict for change in found.shown.classes.values()] == ["gains", "gains", "loses"] and not found.as_good
    assert judge(base, {Arm(0.3): good, Arm(0.6): good}, NAMES, 200).as_good == (Arm(0.6),)
    assert judge(base, {Arm(0.3): good, Arm(0.6): bad}, NAMES, 200).recommended == Arm(0.3)
    harms = judge(base, {Arm(0.3): base, Arm(0.6): bad}, NAMES, 200)
    assert (harms.word, harms.recommended, harms.shown.arm) == ("harms", Arm(), Arm(0.6))
    unseen = judge(base, {Arm(0.3): base}, NAMES, 200)
    assert (unseen.word, unseen.recommended) == ("no difference seen", Arm())
    filtered = judge(base, {Arm(0.3): good, Arm(0.3, "scores/x"): good}, NAMES, 200)
    assert filtered.recommended == Arm(0.3)  # a filter that is not told apart from none is not recommended
    assert judge(base, {Arm(0.3): good, Arm(0.3, "scores/x"): better}, NAMES, 200).recommended == Arm(0.3, "scores/x")


def facts(**other) -> BankFacts:
    return BankFacts(**{"root": "x", "samples": 100, "images": 100, "masks": 100, "strategies": ("imgsyn",), "sources": 1.0, "alignment": {}, **other})


def test_reasons_name_what_is_wrong():
    base = probed(np.array([0.5, 0.4, 0.3]))
    verdict = judge(base, {Arm(0.3): base}, NAMES, 50)
    right, even = np.diag([80, 80, 80]) + 10, Counts(10, np.array([5, 5, 5]), np.array([5, 5, 5]))

    def kinds(real=even, bank=even, found=None, seen=right):
        return {reason.kind: reason.classes for reason in reasons_of(NAMES, real, bank, [found or facts()], Alignment(right, seen), verdict)}

    assert kinds() == {}
    assert "repeated" in kinds(found=facts(images=1)) and "sources" in kinds(found=facts(sources=0.5))
    assert "scores" in kinds(found=facts(alignment={"quality": ("mIoU", 40.0, 50.0)}))
    assert kinds(seen=right[[1, 0, 2]])["confused"] and "misaligned" in kinds(seen=right[[1, 2, 0]])
    assert kinds(bank=Counts(10, np.array([5, 0, 100]), np.array([5, 0, 5]))) == {"absent": ("b",), "rare": ("a",)}


def test_exchanged_classes_are_found_by_a_weak_segmenter():
    base = probed(np.array([0.5, 0.4, 0.3]))
    verdict, even = judge(base, {Arm(0.3): base}, NAMES, 50), Counts(10, np.array([5, 5, 5]), np.array([5, 5, 5]))
    weak = np.array([[90, 5, 5], [20, 40, 40], [30, 20, 50]])  # b is taken for c as often as for b

    def confused(seen):
        found = reasons_of(NAMES, even, even, [facts()], Alignment(weak, seen), verdict)
        return [reason.classes for reason in found if reason.kind == "confused"]

    assert confused(weak) == confused(weak + 1) == []
    assert confused(weak[[0, 2, 1]]) == [("b",), ("c",)]


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_labels_of_any_task_are_one_class_a_pixel_in_data_and_banks(tmp_path, task):
    file = write_toy_folder(tmp_path / "data", "train", 3, size=SIZE, task=task)
    source, bank = load_dataset(file), Bank(copied_bank(file, tmp_path / "bank", "imgsyn"))
    targets = ClassTargets(probe_categories(source.categories, task), task)
    for record in source.records():
        labels, mask = targets.read(record), read_mask(record, source)
        if task == "instance":
            flat = mask.flattened().labels()
            assert (np.where(flat == 255, len(source.categories), flat) == labels).all()
        else:
            assert (labels == mask.labels()).all()
    sample = bank.record(0)
    own = next(record for record in source.records() if str(record["source_id"]) == sample["source_id"])
    assert (targets.read(sample) == targets.read(own)).mean() > 0.999  # polygons are filled by other rules than masks are kept
    bank.close()


@pytest.mark.parametrize("encoder", ["plain", "tiny-resnet"])
def test_a_segmenter_gives_scores_at_the_images_size(encoder):
    scores = PixelSegmenter(5, encoder)(torch.zeros(2, 3, 40, 56, dtype=torch.uint8))
    assert scores.shape == (2, 5, 40, 56) and scores.requires_grad


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("advice")
    stuff = Categories.from_names(CATEGORIES.names)
    data = write_dataset(root / "train", "toy_train", range(6), stuff)
    bank = write_bank(root / "bank", range(10, 22), sources=[f"scene{n}" for n in range(6)])
    return root, data, bank


def test_each_image_is_held_out_once_and_what_was_made_from_it_is_kept_away(world):
    _, data, root = world
    records, bank = load_dataset(data).records(), Bank(root)
    folds = folds_of(records, 3, held_out=500)
    assert sorted(record["image_id"] for fold in folds for record in fold.test) == sorted(record["image_id"] for record in records)
    for fold in folds:
        part, tested = apart(bank, fold.kept_out), {record["image_id"] for record in fold.test}
        assert len(part) == 8 and not tested & {part.record(n)["source_id"] for n in range(len(part))}
        assert not tested & {record["image_id"] for record in fold.train} and not fold.trained & fold.kept_out
    assert [len(fold.test) for fold in folds_of(records, 2, held_out=1)] == [1, 1]
    few = folds_of(records, 2, held_out=9, limit=4)  # images that are not used are kept away with their fold all the same
    assert [(len(fold.train), len(fold.test), fold.kept_out) for fold in few] == [(2, 2, fold.kept_out) for fold in folds_of(records, 2, held_out=9)]
    grouped = folds_of([{**record, "image_id": f"film{n % 2}/{n}"} for n, record in enumerate(records)], 2, held_out=9, group_pattern=r"^\w+")
    assert all(len({record["image_id"].split("/")[0] for record in fold.test}) == 1 for fold in grouped)
    with pytest.raises(SegGenError, match="too few images"):
        folds_of(records, 7, held_out=1)
    bank.close()


def test_advice_is_written_resumed_and_shares_its_baseline(world, tmp_path, monkeypatch):
    root, data, bank = world
    write_filter(Path(bank), dropped=(0, 5))
    given = {"options": SHORT, "p_augs": (0.5,), "runs": tmp_path / "probes", "replicates": 50}
    trained = []
    monkeypatch.setattr(runs.Prober, "train", lambda self, fold, p_aug, *rest, own=runs.Prober.train: (trained.append(p_aug), own(self, fold, p_aug, *rest))[1])
    first = advise([bank], data, tmp_path / "one", filters=(FILTER,), **given)
    assert sorted(trained) == [0] * 4 + [0.5] * 8 and first.probes == 12 and first.images == 6
    told = read_json(tmp_path / "one/advice.json")
    assert told["verdict"] in ("helps", "harms", "no difference seen") and len(told["ways"]) == 2 and set(told["classes"]) == {*CATEGORIES.names}
    page = (tmp_path / "one/advice.html").read_text()
    assert told["verdict"] in page and "$" not in page.split("</style>")[1] and told["verdict"].split()[0] in summary(first).lower()
    trained.clear()
    again = advise([bank], data, tmp_path / "one", filters=(FILTER,), **given)
    assert not trained and summary(again) == summary(first) and read_json(tmp_path / "one/advice.json") == told
    other = tmp_path / "shuffled"
    spoil(bank, other, "shuffled")
    advise([str(other)], data, tmp_path / "two", **given)
    assert trained == [0.5] * 4  # of real data alone nothing is trained again
    trained.clear()
    broken = next((tmp_path / "probes").glob("probe-*"))
    broken.write_bytes(broken.read_bytes()[:100])
    advise([bank], data, tmp_path / "one", filters=(FILTER,), **given)
    assert len(trained) <= 1 and Store(tmp_path / "probes").get("probe", {}) is None


def test_probes_repeat_from_their_seeds(world, tmp_path):
    _, data, bank = world
    ways = [advise([bank], data, tmp_path / name, options=SHORT, p_augs=(1.0,), replicates=40).verdict.arms[0].overall for name in ("a", "b")]
    assert ways[0] == ways[1]


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_other_tasks_are_probed_by_class(tmp_path, task):
    file = write_toy_folder(tmp_path / "data", "train", 4, size=SIZE, task=task)
    found = advise([copied_bank(file, tmp_path / "bank", "imgsyn")], str(file), tmp_path / "out", options=SHORT, p_augs=(0.5,), replicates=40)
    assert len(found.names) == len(load_dataset(file).categories) + (task == "instance")


def test_misfits_are_told(world, tmp_path):
    _, data, bank = world
    with pytest.raises(SegGenError, match="no bank"):
        advise([], data, tmp_path)
    with pytest.raises(SegGenError, match="--p-aug"):
        check_p_augs((0.3, 0.3))
    with pytest.raises(SegGenError, match="--p-aug"):
        check_p_augs((0.0,))
    with pytest.raises(SegGenError, match="--weights"):
        ProbeOptions(weights="somewhere")
    with pytest.raises(SegGenError, match="folds"):
        ProbeOptions(folds=1)
    repeated = tmp_path / "repeated"
    spoil(bank, repeated, "repeated")
    few = advise([str(repeated)], data, tmp_path / "out", options=SHORT, p_augs=(0.5,), replicates=40)
    assert few.folds == 1 and any("1 of 2 folds" in line for line in summary(few).splitlines()) and any(reason.kind == "repeated" for reason in few.reasons)


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_spoilt_banks_have_their_fault_and_no_other(tmp_path, task):
    file = write_toy_folder(tmp_path / "data", "train", 5, size=SIZE, task=task)
    bank = Bank(copied_bank(file, tmp_path / "bank", "imgsyn"))
    keys = [bank.key(n) for n in range(len(bank))]
    for way, classes in (("shuffled", ()), ("repeated", ()), ("exchanged", ("tree", "house"))):
        spoil(bank.root, tmp_path / way, way, classes=classes)
        spoil(bank.root, tmp_path / way, way, classes=classes)  # goes on, and finds nothing left to do
        copy = Bank(tmp_path / way, check=True)
        assert [copy.key(n) for n in range(len(copy))] == keys and not copy.verify()
        own, made = ([[one.read(key, kind) for key in keys] for kind in ("jpg", "png", "json")] for one in (bank, copy))
        if way == "shuffled":
            assert own[0] == made[0] and sorted(own[1]) == sorted(made[1]) and all(a != b for a, b in zip(own[1], made[1], strict=True))
        elif way == "repeated":
            assert {*made[0]} == {own[0][0]} and {*made[1]} == {own[1][0]}
        else:
            tree, house = (bank.info.categories.names.index(name) for name in classes)
            assert (copy.column("histogram")[:, [tree, house]] == bank.column("histogram")[:, [house, tree]]).all() and own[0] == made[0]
            if task == "semantic":
                pairs = [(read_label_map(a), read_label_map(b)) for a, b in zip(own[1], made[1], strict=True)]
                assert all(((a == tree) == (b == house)).all() and ((a == 255) == (b == 255)).all() for a, b in pairs)
            else:
                name = "segments_info" if task == "panoptic" else "annotations"
                ids = [[part["category_id"] for data in side for part in parse_json(data, "x")[name]] for side in (own[2], made[2])]
                assert [{tree: house, house: tree}.get(one, one) for one in ids[0]] == ids[1]
        copy.close()
    with pytest.raises(SegGenError, match="two classes"):
        spoil(bank.root, tmp_path / "none", "exchanged", classes=("tree",))
    bank.close()


def test_advice_is_checked_against_a_table(tmp_path):
    way, classes = {"p_aug": 0.3, "filter": ""}, {"a": {"value": 2.0, "verdict": "gains"}, "b": {"value": -1.0, "verdict": "no difference seen"}}
    advice = {"verdict": "helps", "shown": way, "ways": [{**way, "overall": {"value": 3.0}, "classes": classes}]}
    rows = [{"name": "bank", "cells": {"mIoU": {"difference": {"mean": 4.0, "verdict": "better", "per_class": {"a": 5.0, "b": 1.0}}}}},
            {"name": "real", "cells": {"mIoU": {"difference": None}}}]
    write_json(tmp_path / "advice.json", advice)
    write_json(tmp_path / "table.json", {"columns": [{"name": "mIoU"}], "rows": rows})
    found = check(tmp_path / "advice.json", tmp_path / "table.json", "bank")
    assert not found.contradicted and "same sign in 1 of 2" in check_text(found)
    rows[0]["cells"]["mIoU"]["difference"] |= {"per_class": {"a": -5.0, "b": 1.0}}
    write_json(tmp_path / "table.json", {"columns": [{"name": "mIoU"}], "rows": rows})
    found = check(tmp_path / "advice.json", tmp_path / "table.json", "bank")
    assert found.contradicted and found.wrong == ("a",) and "the other way" in check_text(found)
    for row in ("real", "ban"):
        with pytest.raises(SegGenError, match="compared with no other|no such row"):
            check(tmp_path / "advice.json", tmp_path / "table.json", row)


@pytest.mark.minutes
def test_four_banks_whose_answer_is_known(tmp_path):
    """A good bank helps; of labels that are shuffled, and of two classes exchanged, it is told. Some minutes on a core."""
    from seggen_d2.bank import import_bank

    data = tmp_path / "data"
    subprocess.run([sys.executable, "datasets/prepare_toy.py", "--output", data, "--train", "32", "--val", "1", "--test", "1", "--repainted", "6"],
                   cwd=ROOT, check=True, capture_output=True)
    good = tmp_path / "good"
    import_bank(load_dataset(data / "repainted/dataset.yaml"), good, _imported())
    found = {}
    for way in ("good", "shuffled", "repeated", "exchanged"):
        if way != "good":
            spoil(good, tmp_path / way, way, classes=("tree", "house") if way == "exchanged" else ())
        found[way] = advise([str(tmp_path / way)], str(data / "train/dataset.yaml"), tmp_path / f"advice-{way}", p_augs=(0.5,), runs=tmp_path / "probes")
        print(json.dumps({"bank": way, "verdict": found[way].verdict.word, "reasons": [reason.kind for reason in found[way].reasons]}))
    points = {way: one.verdict.shown.overall.value for way, one in found.items()}
    assert found["good"].verdict.word == "helps" and found["shuffled"].verdict.word == "harms"
    assert found["repeated"].verdict.word != "helps" and points["good"] > max(points["repeated"], points["exchanged"]) > points["shuffled"]
    classes = found["exchanged"].verdict.shown.classes
    assert classes["tree"].value < 0 and classes["house"].value < 0
    kinds = {way: {reason.kind for reason in one.reasons} for way, one in found.items()}
    assert "misaligned" not in kinds["good"] and "misaligned" in kinds["shuffled"] and "repeated" in kinds["repeated"] and "confused" in kinds["exchanged"]


def _imported():
    from seggen_d2.bank import ImportOptions

    return ImportOptions(strategy="oracle-imgsyn", source_pattern=r"(.+)_\d+$", quality=100, shard_size=128)


def test_iou_of_probes_is_that_of_their_pixels():
    one = probed(np.array([0.5, 0.4, 0.3]))
    assert np.allclose(one.iou(), iou_of(one.sums.sum(1)))

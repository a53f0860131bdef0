"""A bank's bytes depend on its plan alone: not on workers, order, stops or kills."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_synthesis import ROOT, command, contents, tiny_options

from seggen_d2.bank import Bank, open_member
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.options import load_yaml
from seggen_d2.generators.geometry import View
from seggen_d2.segmentation import Categories, default_palette, read_label_map
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.segmentation.masks import SemanticMask
from seggen_d2.segmentation.naming import named_categories
from seggen_d2.sources import load_dataset
from seggen_d2.synthesis.estimate import estimate
from seggen_d2.synthesis.job import Job
from seggen_d2.synthesis.local import summary, synthesize
from seggen_d2.synthesis.options import SynthesisOptions, options_for
from seggen_d2.synthesis.plan import Plan, PlannedSource
from seggen_d2.synthesis.quality import QualityOptions, fault
from seggen_d2.synthesis.shards import run_shards


@pytest.fixture(scope="module")
def options(generators, toy_folder) -> SynthesisOptions:
    return tiny_options(generators, toy_folder)


@pytest.fixture(scope="module")
def whole(options, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "bank"
    synthesize("masksyn", options, folder)
    return folder


WIDE, TALL, UPPER, LOWER = (View(top, 0, *window, out, (80, 60)) for top, window, out in (
    (0, (30, 60), (32, 64)), (0, (80, 40), (64, 32)), (0, (40, 60), (40, 60)), (40, (40, 60), (40, 60))))


def sources(*names: str, captions=("a scene",), views=(WIDE,)) -> list[PlannedSource]:
    return [PlannedSource(name, captions, views) for name in names]


def test_the_plan_is_whole_and_its_batches_keep_to_their_shards():
    plan = Plan("imgsyn", sources("a", "b", "c"), replicas=4, bank_seed=1, shard_size=5, batch=2)
    batches = [[spec.key for spec in batch] for n in range(len(plan.shards)) for batch in plan.batches(n)]
    assert sum(batches, []) == [plan.sample(i).key for i in range(12)] and [len(b) for b in batches] == [2, 2, 1, 2, 2, 1, 2]
    assert len({plan.sample(i).seed for i in range(12)}) == 12


def test_a_sample_s_seed_knows_nothing_of_the_other_sources():
    seed = Plan("imgsyn", sources("a", "b"), 2, 1, 5, 2).sample(3).seed
    assert seed == Plan("imgsyn", sources("x", "y", "b"), 2, 1, 9, 4).sample(5).seed
    assert seed != Plan("masksyn", sources("a", "b"), 2, 1, 5, 2).sample(3).seed


def test_a_batch_holds_one_size():
    mixed = [PlannedSource(f"s{i}", ("a scene",), (TALL if i % 3 else WIDE,)) for i in range(7)]
    plan = Plan("imgsyn", mixed, replicas=3, bank_seed=0, shard_size=8, batch=3)
    batches = [batch for n in range(plan.shard_count) for batch in plan.batches(n)]
    assert all(len({spec.view.out for spec in batch}) == 1 for batch in batches)
    assert sorted(spec.key for batch in batches for spec in batch) == [plan.sample(i).key for i in range(21)]


def test_replicas_take_captions_and_views_in_turn():
    plan = Plan("imgsyn", sources("a", captions=("one", "two", "three"), views=(UPPER, LOWER)), 4, 0, 8, 2)
    specs = [plan.sample(i) for i in range(4)]
    assert [spec.caption for spec in specs] == ["one", "two", "three", "one"]
    assert [spec.view for spec in specs] == [UPPER, LOWER, UPPER, LOWER]


def test_a_second_bank_begins_where_the_first_ones_captions_end():
    real = sources("a", captions=("one", "two", "three"), views=(UPPER, LOWER))
    specs = [Plan("masksyn", real, 2, 0, 8, 2, first_caption=2).sample(i) for i in range(2)]
    assert [spec.caption for spec in specs] == ["three", "one"]
    assert [spec.view for spec in specs] == [UPPER, LOWER]


def test_the_first_caption_is_told_only_where_it_is_another():
    assert "first_caption" not in SynthesisOptions("d", "c").facts("masksyn")
    assert SynthesisOptions("d", "c", first_caption=8).facts("masksyn")["first_caption"] == 8
    with pytest.raises(SegGenError, match="first_caption"):
        SynthesisOptions("d", "c", first_caption=-1)


def test_a_plan_of_a_million_samples_is_no_list():
    """ADE20K as in the paper; the sources themselves are what a dataset's records cost anyway."""
    real = sources(*(f"ADE_train_{i:08d}" for i in range(20_210)))
    tracemalloc.start()
    began = time.perf_counter()
    plan = Plan("imgsyn", real, replicas=60, bank_seed=0, shard_size=64, batch=16)
    assert len(plan) == 1_212_600 and len(plan.shards) == plan.shard_count == 18_947
    assert sum(map(len, plan.batches(plan.shard_count - 1))) == len(plan) % 64
    seconds, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1 and peak < 8e6


def test_workers_and_order_leave_the_bytes_as_they_are(options, whole, tmp_path):
    for index in (2, 0, 1):  # as three tasks of a job array, the last one first
        run_shards(Job("masksyn", options), tmp_path / "bank", index=index, count=3)
    assert contents(tmp_path / "bank") == contents(whole)


def test_two_local_workers_make_the_same_bank(options, whole, tmp_path):
    synthesize("masksyn", options, tmp_path / "bank", workers=2)
    assert contents(tmp_path / "bank") == contents(whole)


def test_killed_and_started_again_gives_the_same_bank(options, whole, tmp_path, monkeypatch):
    """kill -9 as soon as the first shard is there; then the same command, in this process, which has its imports done."""
    process = subprocess.Popen(command(options, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "bank").glob("shards/*.tar")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the job ended before it could be killed"
    assert len(list((tmp_path / "bank").glob("shards/*.tar"))) < 4
    _, tool, *words = command(options, tmp_path)
    monkeypatch.setattr(sys, "argv", [tool, *words])
    runpy.run_path(tool, run_name="__main__")
    assert contents(tmp_path / "bank") == contents(whole)


def test_a_shard_cut_short_is_made_again(options, whole, tmp_path, caplog):
    synthesize("masksyn", options, tmp_path / "bank")
    tar = tmp_path / "bank/shards/masksyn-00001.tar"
    tar.write_bytes(tar.read_bytes()[:-600])
    with caplog.at_level("WARNING"):
        synthesize("masksyn", options, tmp_path / "bank")
    assert "masksyn-00001" in caplog.text and contents(tmp_path / "bank") == contents(whole)


def test_a_bank_of_the_other_strategy_is_told_plainly(options, whole):
    with pytest.raises(SegGenError, match=r"is of another strategy(.|\n)*imgsyn, which this command makes(.|\n)*masksyn"):
        synthesize("imgsyn", options, whole)


def test_another_job_in_the_same_folder_is_refused(options, whole):
    before = contents(whole)
    with pytest.raises(SegGenError, match="replicas|job"):
        synthesize("masksyn", replace(options, replicas=3), whole)
    assert contents(whole) == before


def test_imgsyn_paints_the_human_masks(options, tmp_path, toy_folder):
    synthesize("imgsyn", options, tmp_path / "bank")
    bank, masks = Bank(tmp_path / "bank"), {r["source_id"]: r["sem_seg_file_name"] for r in load_dataset(toy_folder / "dataset.yaml").records()}
    assert len(bank) == 12
    for i in range(len(bank)):
        record = bank.record(i)
        labels = read_label_map(open_member(record["sem_seg_file_name"]))
        assert (labels == read_label_map(masks[record["source_id"]])).all() and record["strategy"] == "imgsyn"


def test_useless_masks_are_rejected_and_counted(options, tmp_path):
    strict = replace(options, quality=QualityOptions(max_unsure=0.0))
    synthesize("masksyn", strict, tmp_path / "bank")
    assert len(Bank(tmp_path / "bank").rejections()) == 12 and "12 rejected" in summary(tmp_path / "bank")


def test_the_filter_says_why():
    categories = Categories.from_names(["sky", "car", "road"])
    codec = mask_codec("semantic", default_palette(3), categories)
    good = np.repeat([0, 1, 2, 2], 25).reshape(10, 10)

    def judge(labels, rgb=None, caption="a sky"):
        rgb = paint(labels) if rgb is None else rgb
        return fault(codec.unsure(rgb), replace(codec.decode(rgb), mask=SemanticMask(labels)), caption, categories, QualityOptions())

    def paint(labels):
        return codec.encode(SemanticMask(labels))

    assert judge(good) == ""
    assert "categories held" in judge(np.zeros((10, 10), int))
    assert "labelled" in judge(np.full((10, 10), 255))
    assert "unsure" in judge(good, paint(good) // 2 + 60)
    assert "caption names" in judge(np.where(good == 1, 0, np.where(good == 0, 2, good)), caption="two cars and a sign")
    assert named_categories("two cars, a road; scarf", categories) == [1, 2]
    coco = Categories.from_names(["tree-merged", "sky-other-merged", "door-stuff", "wall-brick"])
    assert named_categories("a tree and two doors", coco) == [0, 2] and named_categories("a tree-merged", coco) == [0]


def test_generators_of_other_categories_are_refused(options, tmp_path, toy_folder):
    other = yaml.safe_load((toy_folder / "dataset.yaml").read_text())
    other.update(images=str(toy_folder / "images"), masks=str(toy_folder / "masks"), attributes="", categories=[*other["categories"][:-1], "kite"])
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(SegGenError, match="'balloon' .thing. against 'kite'"):
        Job("masksyn", replace(options, dataset=str(tmp_path / "dataset.yaml")))


def test_masksyn_without_a_text2mask_is_refused(options):
    with pytest.raises(SegGenError, match="needs a Text2Mask"):
        Job("masksyn", replace(options, text2mask=""))


def test_the_dry_run_times_real_batches(options):
    found = estimate("masksyn", options, batches=1)
    assert found.samples == 12 and found.seconds > 0 and found.bytes > 500
    assert "12 samples" in found.text(2, 10**9) and found.memory > 50
    assert "too small" in found.text(2, 1000) and "object store" in found.text(2, None)


@pytest.mark.parametrize("name", ["ade20k", "coco-panoptic", "coco-instance", "own", "own-pilot"])
def test_the_shipped_files_give_both_strategies_their_replicas(name):
    values = load_yaml(ROOT / f"configs/synthesis/{name}.yaml")
    masksyn, imgsyn = (options_for(strategy, values, name) for strategy in ("masksyn", "imgsyn"))
    paper = {"ade20k": (10, 50), "coco-panoptic": (1, 10), "coco-instance": (1, 10), "own": (10, 10), "own-pilot": (1, 3)}
    assert (masksyn.replicas, imgsyn.replicas) == paper[name]
    assert (imgsyn.masks.steps, imgsyn.images.steps) == ((30, 30) if name == "own-pilot" else (200, 40))


def test_replicas_of_one_strategy_alone_are_refused_for_the_other():
    with pytest.raises(SegGenError, match="do not tell those of imgsyn"):
        options_for("imgsyn", {"replicas": {"masksyn": 1}}, "a file")

"""Budgets and orders of a plan: exact, the same for the same weights, prefixes of one another, and equal weights change nothing."""

import runpy
import sys
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from tiny_synthesis import ROOT, command, contents, tiny_options

from seggen_d2.bank import Bank, read_info
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_json
from seggen_d2.generators.geometry import View
from seggen_d2.generators.sampling.sampler import SamplerOptions
from seggen_d2.sources import load_dataset
from seggen_d2.sources.weights import read_weights, write_weights
from seggen_d2.synthesis.estimate import estimate
from seggen_d2.synthesis.job import Job
from seggen_d2.synthesis.local import synthesize
from seggen_d2.synthesis.options import options_for
from seggen_d2.synthesis.order import order_by_weight
from seggen_d2.synthesis.plan import Plan, PlannedSource

NAMES = tuple("abcdefg")
VIEW = View(0, 0, 30, 60, (32, 64), (80, 60))
WEIGHTS = (0.3, 2.0, 0.9, 0.0, 5.5, 1.0, 0.3)


def plan(weights=WEIGHTS, samples=0, replicas=4) -> Plan:
    planned = [PlannedSource(name, ("a scene",), (VIEW,)) for name in NAMES]
    return Plan("imgsyn", planned, replicas, bank_seed=1, shard_size=5, batch=2, samples=samples, weights=weights)


def made(of: Plan) -> list[tuple[str, int]]:
    return [(of.sample(i).source_id, of.sample(i).seed) for i in range(len(of))]


@pytest.mark.parametrize("samples", [1, 6, 7, 8, 29, 350])
def test_the_budget_is_met_exactly_and_no_sample_is_planned_twice(samples):
    found = made(plan(samples=samples))
    assert len(found) == samples == len({*found}) and "d" not in dict(found)
    shards = plan(samples=samples)
    assert sum(len(batch) for n in range(shards.shard_count) for batch in shards.batches(n)) == samples


def test_without_a_budget_of_its_own_a_plan_by_weights_costs_what_one_without_costs():
    assert len(plan()) == len(plan(weights=())) == 28


def test_each_source_gets_its_share_to_within_a_sample():
    order, total = order_by_weight(WEIGHTS, 700), sum(WEIGHTS)
    counts = np.bincount(order.places, minlength=len(WEIGHTS))
    assert np.abs(counts - 700 * np.array(WEIGHTS) / total).max() < 1


def test_equal_weights_are_the_plan_without_weights():
    for samples in (0, 7, 10, 21):
        assert made(plan(weights=(0.7,) * 7, samples=samples)) == made(plan(weights=(), samples=samples))


def test_whole_rounds_are_the_beginning_of_every_longer_plan():
    longest = made(plan(samples=70))
    for rounds in range(1, 10):
        assert made(plan(samples=7 * rounds)) == longest[: 7 * rounds]
    for samples in range(1, 70):  # within a round it is the same samples, ordered by source
        assert {*made(plan(samples=samples))} <= {*made(plan(samples=samples + 1))}


def test_the_weightiest_come_first_and_scale_does_not_matter():
    assert {name for name, _ in made(plan(samples=3))} == {"e", "b"}
    assert made(plan(weights=tuple(3e-9 * w for w in WEIGHTS), samples=50)) == made(plan(samples=50))


def test_a_source_s_samples_are_those_of_a_plan_without_weights():
    whole = {*made(plan(weights=(), replicas=60))}
    assert {*made(plan(samples=60))} <= whole


@pytest.mark.parametrize("weights", [(0.0,) * 7, (-1.0, *WEIGHTS[1:]), (float("nan"), *WEIGHTS[1:])])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(SegGenError, match="cannot serve as weights"):
        plan(weights=weights, samples=5).sample(0)


def test_a_bank_by_weights_goes_on_and_refuses_other_weights(generators, toy_folder, tmp_path):
    source, file = load_dataset(toy_folder / "dataset.yaml"), tmp_path / "weights.json"
    names = [record["source_id"] for record in source.records()]
    write_weights(file, source.name, {name: 1.0 + 3 * (name == names[2]) for name in names}, {"by": "hand"})
    options = tiny_options(generators, toy_folder, weights=str(file), samples=9)
    synthesize("imgsyn", options, tmp_path / "whole", workers=2)
    bank, before = Bank(tmp_path / "whole"), contents(tmp_path / "whole")
    assert len(bank) == 9 and list(bank.column("source_id")).count(names[2]) == 4
    (tmp_path / "whole/shards/imgsyn-00001.tar").unlink()
    synthesize("imgsyn", options, tmp_path / "whole")
    assert contents(tmp_path / "whole") == before
    write_weights(file, source.name, dict.fromkeys(names, 1.0), {"by": "hand"})
    with pytest.raises(SegGenError, match="another job.*weights"):
        synthesize("imgsyn", options, tmp_path / "whole")
    assert contents(tmp_path / "whole") == before


def test_jobs_without_budget_and_weights_are_told_as_before(generators, toy_folder):
    options = tiny_options(generators, toy_folder)
    assert not {"samples", "weights"} & set(Job("imgsyn", options).info().job)
    told = Job("imgsyn", replace(options, samples=5)).info().job
    assert told["samples"] == 5 and "replicas" not in told and "weights" not in told


def test_strategies_may_have_budgets_of_their_own(generators, toy_folder):
    values = {"dataset": "d", "captions": "c", "samples": {"imgsyn": 50, "masksyn": 10}}
    assert [options_for(strategy, values, "file").samples for strategy in ("imgsyn", "masksyn")] == [50, 10]
    with pytest.raises(SegGenError, match="samples do not tell those of unlabelled"):
        options_for("unlabelled", values, "file")


@pytest.mark.parametrize(("change", "told"), [
    ({"dataset": "other"}, "are of another dataset"),
    ({"weights": {"a": 1.0}}, "lack 1 of 2 images"),
    ({"weights": {"a": 1.0, "b": -1}}, "is of no use"),
    ({"weights": {"a": 1.0, "b": "much"}}, "is of no use"),
    ({"weights": [1, 2]}, "holds no weights of images"),
    ({"format": 2}, "holds no weights of images"),
])
def test_files_of_weights_are_checked(tmp_path, change, told):
    file = tmp_path / "weights.json"
    write_weights(file, "toy", {"a": 1, "b": 0.5, "more": 3}, {})
    assert read_weights(file, "toy", ["b", "a"]) == (0.5, 1.0)
    write_json(file, {**read_json(file), **change})
    with pytest.raises(SegGenError, match=told):
        read_weights(file, "toy", ["a", "b"])


def test_the_bank_tells_its_budget(generators, toy_folder, tmp_path):
    synthesize("imgsyn", tiny_options(generators, toy_folder, samples=4), tmp_path / "bank")
    assert len(Bank(tmp_path / "bank")) == read_info(tmp_path / "bank").job["samples"] == 4


@pytest.mark.parametrize(("sampler", "steps", "evaluations"), [("euler", 4, 4), ("heun", 4, 7), ("dpm++", 4, 4), ("unipc", 4, 4)])
def test_an_estimate_counts_evaluations(generators, toy_folder, sampler, steps, evaluations):
    """Heun evaluates twice a step, but for the last; guidance doubles it."""
    plain, guided = (SamplerOptions(steps, guidance=guidance, sampler=sampler) for guidance in (1.0, 3.0))
    found = estimate("imgsyn", tiny_options(generators, toy_folder, images=plain), batches=1)
    assert found.evaluations == {"images": evaluations}
    found = estimate("masksyn", tiny_options(generators, toy_folder, images=guided, masks=plain), batches=1)
    assert found.evaluations == {"images": 2 * evaluations, "masks": evaluations} and f"{evaluations} for masks" in found.text(1, None)


def test_a_bank_keeps_its_estimate_where_it_is_asked_to(generators, toy_folder, tmp_path):
    words = command(tiny_options(generators, toy_folder, samples=4), tmp_path, "imgsyn", "--estimate")[2:]
    for _ in range(2):  # the second finds it there
        with patch.object(sys, "argv", ["synthesize.py", *words]):
            runpy.run_path(str(ROOT / "tools/synthesize.py"), run_name="__main__")
    kept = read_json(tmp_path / "bank/estimate.json")
    assert kept["samples"] == 4 and kept["seconds"] > 0 and kept["cpu"] > 0 and kept["evaluations"]["images"] == 2

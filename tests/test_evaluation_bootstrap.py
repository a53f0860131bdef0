"""Intervals over images and seeds: what they are of one seed and of many, how often they are wrong, and shares of an oracle's gain."""

import numpy as np
import pytest

from seggen_d2.evaluation.bootstrap import interval, moved, over_seeds, widening
from seggen_d2.evaluation.comparison.cells import difference
from seggen_d2.evaluation.comparison.scoring import Scored
from seggen_d2.evaluation.tables import summarise

RNG = np.random.default_rng(0)


def test_of_one_seed_the_interval_is_over_images_alone():
    values = RNG.normal(size=(1, 300))
    assert np.array_equal(over_seeds(values), values[0])
    assert np.array_equal(moved({0: values[0]}, {0: 0 * values[0]}), values[0])


def test_seeds_that_agree_add_nothing_and_pairs_cancel_what_they_share():
    images, seeds = RNG.normal(size=500), RNG.normal(size=(4, 1)) * 10
    assert np.allclose(over_seeds(np.stack([images] * 4)), images)
    ours = {seed: images + seeds[seed] + 2 for seed in range(4)}
    theirs = {seed: images + seeds[seed] for seed in range(4)}
    assert np.allclose(moved(ours, theirs), 2)
    other = moved(ours, {seed + 1: one for seed, one in theirs.items()})  # other seeds are no pairs
    assert np.std(other) > 5


def test_the_interval_of_many_seeds_is_student_s():
    values = RNG.normal(size=12)
    found = interval(over_seeds(np.tile(values[:, None], (1, 20_000))))
    assert found.high - found.low == pytest.approx(2 * 2.201 * values.std(ddof=1) / np.sqrt(12), rel=0.08)
    assert widening(3) == pytest.approx(np.sqrt(3 / 2) * 4.3027 / 1.95996, rel=1e-4) and 1 < widening(1000) < 1.01


@pytest.mark.parametrize(("seeds", "images"), [(3, 0.0), (5, 0.0), (3, 1.0)])
def test_of_equal_settings_few_are_called_better_or_worse(seeds, images):
    """``images``: how far draws of images move the difference, in standard deviations over seeds."""
    called = 0
    for _ in range(400):
        truth, draws = RNG.normal() * images, RNG.normal(size=300) * images
        called += interval(over_seeds(RNG.normal(size=(seeds, 1)) + truth + draws)).verdict != "not told apart"
    assert called / 400 < 0.1


def scored(*values, spread=0.0):
    return {seed: Scored(value, value + spread * np.linspace(-1, 1, 200), {}) for seed, value in enumerate(values)}


def test_a_share_is_of_a_gain_that_is_told_from_zero():
    real, ours, oracle = scored(50.0, 52.0, 51.0), scored(54.0, 57.0, 55.0), scored(60.0, 62.0, 61.0)
    found = difference(ours, real, oracle)
    assert found.share == pytest.approx(100 * found.mean / 10) and found.values == {0: 4.0, 1: 5.0, 2: 4.0} and found.interval.verdict == "better"
    assert difference(ours, real).share is None
    assert difference(ours, real, scored(40.0, 62.0, 55.0)).share is None  # whose own gain may be none
    assert difference(scored(54.0), real).values == {}


def runs(**settings):
    return [{"setting": name, "seed": seed, "metric": "mIoU", "value": value, "per_class": {}}
            for name, values in settings.items() for seed, value in enumerate(values)]


def test_settings_from_a_pre_trained_backbone_are_compared_with_their_own_baseline():
    told = {one.setting: one for one in summarise(runs(real=(50.0, 51.0), **{"pretrained-real": (60.0, 61.0), "pretrained-real+seggen": (63.0, 64.0)}))}
    assert told["pretrained-real"].verdict == "baseline" and told["pretrained-real+seggen"].difference == 3 and told["real"].interval is None


def test_shares_and_intervals_of_a_report():
    values = {"real": (50.0, 52.0, 51.0), "real+seggen": (54.0, 57.0, 55.0), "real+imgsyn": (53.0,), "real+oracle": (61.0,)}
    told = {one.setting: one for one in summarise(runs(**values))}
    assert told["real+seggen"].verdict == "better" and told["real+imgsyn"].interval is None and told["real+seggen"].share is None  # one run of the oracle
    draws = np.linspace(-1, 1, 200)
    known = {(run["setting"], run["seed"]): run["value"] + draws for run in runs(**values)}
    told = {one.setting: one for one in summarise(runs(**values), known)}
    assert told["real+seggen"].share == pytest.approx(100 * (166 / 3 - 51) / 10) and told["real+oracle"].share is None
    assert told["real+imgsyn"].verdict == "one seed" and told["real+imgsyn"].interval.low <= 2 <= told["real+imgsyn"].interval.high

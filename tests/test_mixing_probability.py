"""p_aug by the sample's number and by the real image: identities of schedules and of rarity."""

import itertools
import math
import pickle

import numpy as np
import pytest
from test_mixing_swap import REAL, FakeBank, echo

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import SCHEDULES, Course, Rarity, Schedule, Stage, SwapMapper, rarity_of, stages_from
from seggen_d2.segmentation import label_map_png

MOVING = [name for name in SCHEDULES if name != "constant"]


def drawn(p_aug, numbers, **options):
    swap = SwapMapper(echo, FakeBank(), p_aug, **options)
    return np.array([swap(REAL, number)["is_synthetic"] for number in numbers])


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_a_constant_course_is_the_number_itself():
    assert Course(0.6).at(0, 100) == 0.6 and isinstance(Course(0.6).at(0, 100), float)
    assert stages_from([], p_aug=0.6, iterations=9, base_lr=1.0)[0].course == Course(0.6)
    assert Course(0.4, "linear", 0.4).at(0, 100) == 0.4  # nothing moves


def test_a_course_that_stays_at_0_is_the_baseline_and_draws_nothing(monkeypatch):
    monkeypatch.setattr("seggen_d2.mixing.swap.unit_float", lambda *parts: pytest.fail("a draw was made"))
    record = dict(REAL)
    for schedule in SCHEDULES:
        assert SwapMapper(lambda record: record, [], Course(0.0, schedule).at(0, 10))(record) is record


@pytest.mark.parametrize("shape, curve", [("linear", lambda t: 0.8 - 0.7 * t), ("cosine", lambda t: 0.45 + 0.35 * math.cos(math.pi * t))])
def test_a_schedule_is_its_curve_and_stays_at_the_ends(shape, curve):
    schedule = Course(0.8, shape, 0.1).at(30, 50)
    assert [schedule(30 + n) for n in range(50)] == pytest.approx([curve((n + 0.5) / 50) for n in range(50)], abs=1e-12)
    assert all(schedule(n) > schedule(n + 1) for n in range(30, 79))
    assert schedule(0) == schedule(29) == 0.8 and schedule(80) == schedule(10**9) == pytest.approx(0.1)


@pytest.mark.parametrize("shape, samples", itertools.product(MOVING, [1, 2, 7, 1000]))
def test_the_mean_over_a_stage_is_the_curves_integral(shape, samples):
    for start, end in ((0.6, 0.0), (0.0, 1.0), (1.0, 0.2)):
        course = Course(start, shape, end)
        schedule, curve = course.at(11, samples), course.at(0, 10**5)
        integral = np.trapezoid([curve(n) for n in range(0, 10**5, 10)], dx=10) / 99990
        assert np.mean([schedule(11 + n) for n in range(samples)]) == pytest.approx(course.mean, abs=1e-12)
        assert course.mean == pytest.approx(integral, abs=1e-3) and course.peak == max(start, end)


@pytest.mark.parametrize("shape", MOVING)
def test_the_share_of_synthetic_draws_is_the_integral(shape):
    count, schedule = 6000, Course(0.8, shape, 0.0).at(500, 6000)
    chances, found = np.array([schedule(500 + n) for n in range(count)]), drawn(schedule, range(500, 500 + count))
    for part in np.split(np.arange(count), 4):
        expected, spread = chances[part].mean(), np.sqrt((chances[part] * (1 - chances[part])).sum()) / len(part)
        assert abs(found[part].mean() - expected) < 4 * spread
    assert abs(found.mean() - 0.4) < 4 * np.sqrt((chances * (1 - chances)).sum()) / count
    assert found[-60:].mean() < 0.05  # it ends on real data


@pytest.mark.parametrize("shape", MOVING)
def test_a_draw_is_a_function_of_seed_and_number(shape):
    schedule = Course(0.7, shape, 0.1).at(0, 400)
    whole = drawn(schedule, range(400), seed=3)
    resumed = drawn(pickle.loads(pickle.dumps(schedule)), range(250, 400), seed=3)
    assert (resumed == whole[250:]).all() and (drawn(schedule, range(400), seed=4) != whole).any()
    # one draw serves every p_aug: what a schedule swaps, the constant at its peak swaps too
    constant = drawn(0.7, range(400), seed=3)
    assert (whole <= constant).all() and whole.sum() < constant.sum()


def test_stages_have_schedules_of_their_own():
    values = [{"P_AUG": 1.0, "ITERATIONS": 30}, {"P_AUG": 0.5, "ITERATIONS": 20, "P_AUG_SCHEDULE": "cosine", "P_AUG_END": 0.1}]
    first, second = stages_from(values, p_aug=0.6, iterations=9, base_lr=1e-4)
    assert first == Stage(1.0, 30, 1e-4) and second.course == Course(0.5, "cosine", 0.1)
    given = {"p_aug_schedule": "linear", "p_aug_end": 0.2}
    first, second = stages_from(values, p_aug=0.6, iterations=9, base_lr=1e-4, **given)
    assert first.course == Course(1.0, "linear", 0.2) and second.course == Course(0.5, "cosine", 0.1)
    assert str(first.course) == "1 to 0.2 (linear, 0.6 on average)" and str(Course(0.6)) == "0.6"


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"P_AUG_SCHEDULE": "cosin"}, "did you mean 'cosine'"),
        ({"P_AUG_SCHEDULE": "linear", "P_AUG_END": 1.5}, "P_AUG_END is out of range"),
        ({"P_AUG_END": 0.3}, "never gets there(.|\n)*name the schedule"),
    ],
)
def test_bad_schedules(keys, words):
    with pytest.raises(SegGenError, match=words):
        stages_from([{"P_AUG": 0.6, "ITERATIONS": 3, **keys}], p_aug=0.6, iterations=9, base_lr=1e-4)
    with pytest.raises(SegGenError, match="samples of a schedule"):
        Schedule("linear", 0.5, 0.0, 0, 0)


# -- rarity ------------------------------------------------------------------------------------------------------------

CLASSES = {f"/data/real{n}.jpg": {0} | ({1} if n % 2 else set()) | ({2} if n == 3 else set()) for n in range(8)}


def record(name):
    return {"file_name": name}


def test_the_mean_over_the_images_is_p_aug():
    rarity = Rarity(CLASSES)
    for p_aug in (0.0, 0.01, 0.3, 0.5, 0.77, 0.999, 1.0):
        own = np.array([rarity(record(name), p_aug) for name in CLASSES])
        assert own.mean() == pytest.approx(p_aug, abs=1e-12) and ((own >= 0) & (own <= 1)).all()


def test_rarer_images_give_way_more_often_by_the_root_of_the_frequencies():
    rarity = Rarity(CLASSES)
    common, half, rare = (rarity(record(f"/data/real{n}.jpg"), 0.3) for n in (0, 1, 3))
    assert half / common == pytest.approx((8 / 4) ** 0.5) and rare / common == pytest.approx((8 / 1) ** 0.5)
    assert rarity(record("/data/real3.jpg"), 0.9) == 1.0  # no more than always; the others make up for it
    assert Rarity({"a": {0}, "b": set(), "c": {0}}).factors["b"] == 1.0  # nothing labelled: the least


def test_equal_frequencies_p_aug_0_and_p_aug_1_change_nothing():
    same, rarity = Rarity({name: {0, 1} for name in CLASSES}), Rarity(CLASSES)
    assert all(same(record(name), p) == p for name in CLASSES for p in (0.0, 0.123, 0.6, 1.0))
    assert all(rarity(record(name), p) == p for name in CLASSES for p in (0.0, 1.0))


def test_the_swap_draws_by_rarity_and_by_schedule_together():
    rarity = Rarity(CLASSES)
    swap = SwapMapper(echo, FakeBank(), Course(0.6, "linear").at(0, 4000), sampling="paired", p_aug_of=rarity)
    for name in ("/data/real3.jpg", "/data/real0.jpg"):
        chances = np.array([rarity(record(name), swap.p_aug(n)) for n in range(4000)])
        found = np.mean([swap(record(name), n)["is_synthetic"] for n in range(4000)])
        assert abs(found - chances.mean()) < 4 * np.sqrt((chances * (1 - chances)).sum()) / 4000


def test_rarity_refuses_what_it_cannot_serve():
    with pytest.raises(SegGenError, match="goes with sampling 'paired' alone(.|\n)*'uniform'"):
        SwapMapper(echo, FakeBank(), 0.6, p_aug_of=Rarity(CLASSES))
    with pytest.raises(SegGenError, match="does not know a training image(.|\n)*other.jpg"):
        Rarity(CLASSES)(record("other.jpg"), 0.5)
    with pytest.raises(SegGenError, match="no training images"):
        Rarity({})


def test_the_classes_of_each_task_are_counted(tmp_path):
    for number, ids in enumerate(([0, 255], [0, 2])):
        (tmp_path / f"{number}.png").write_bytes(label_map_png(np.repeat(np.array([ids], np.uint8), 4, 0)))
    semantic = [{"file_name": f"{n}.jpg", "sem_seg_file_name": str(tmp_path / f"{n}.png")} for n in range(2)]
    panoptic = [{"file_name": f"{n}.jpg", "segments_info": [{"category_id": c} for c in held]} for n, held in enumerate(([0], [0, 2]))]
    instance = [{"file_name": one["file_name"], "annotations": one["segments_info"]} for one in panoptic]
    for task, records in (("semantic", semantic), ("panoptic", panoptic), ("instance", instance)):
        assert rarity_of(records, task, 255).factors == {"0.jpg": 1.0, "1.jpg": pytest.approx(2**0.5)}
    with pytest.raises(SegGenError, match="gone.png"):
        rarity_of([{"file_name": "0.jpg", "sem_seg_file_name": str(tmp_path / "gone.png")}], "semantic", 255)

# ruff: noqa: E402
"""The filter: what is marked and how masks are corrected, weights, and the way from the command to a training."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from filter_samples import FILTER, write_filter
from test_scoring_bank import Oracle, jpeg
from toy_world import losses_with_and_without_swap, write_world

from seggen_d2.bank import Bank, BankInfo, BankWriter, FilteredBank, Sample, open_member
from seggen_d2.bank.mask_members import mask_members
from seggen_d2.engine.config import load_config
from seggen_d2.engine.from_config import experiment
from seggen_d2.engine.model_from_config import model_of
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling.checkpoint import save_network
from seggen_d2.scoring.filter_check import CheckOptions, check_filter, with_errors
from seggen_d2.scoring.filtering import Filter, FilterOptions
from seggen_d2.scoring.marks import MARKS, mark
from seggen_d2.scoring.noise import Seen, class_losses, mean_losses, ratio_of
from seggen_d2.scoring.report import summary_text
from seggen_d2.scoring.resampling import ClassPixels, hardness, weights
from seggen_d2.scoring.run import ScoringOptions, score_bank
from seggen_d2.scoring.samples import BankSource, labelled, parts_of
from seggen_d2.scoring.sidecar import Sidecar
from seggen_d2.segmentation import Categories, Category, default_palette, read_label_map
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Mask, Segment, SegmentMask, SemanticMask
from seggen_d2.sources.masks import read_mask
from seggen_d2.sources.toy import CATEGORIES as TOY

SKY, ROAD, CAR, BIKE = range(4)
CATEGORIES = Categories((Category("sky"), Category("road"), Category("car", True), Category("bike", True)))
SHAPE = (12, 16)
BARS = np.full(4, 1.0)
TRUE = np.repeat([SKY, ROAD], 6)[:, None] * np.ones(16, int)  # half sky, half road
TRUE[7:11, 2:6], TRUE[7:11, 9:13] = CAR, BIKE


def scores(labels: np.ndarray, sure: float = 0.97) -> torch.Tensor:
    """(4, H, W): ``sure`` of these labels, the rest shared."""
    found = torch.full((4, *labels.shape), (1 - sure) / 3)
    return found.scatter(0, torch.from_numpy(labels)[None], sure)


def seen(labels: np.ndarray = TRUE, whole: bool = True) -> Seen:
    return Seen(scores(labels), whole)


def semantic(labels: np.ndarray = TRUE) -> SemanticMask:
    return SemanticMask(labels.astype(np.uint8))


def panoptic() -> SegmentMask:
    return SegmentMask(TRUE + 1, tuple(Segment(category + 1, category) for category in range(4)))


def objects() -> InstanceMask:
    return InstanceMask(SHAPE, (InstanceObject(TRUE == CAR, CAR), InstanceObject(TRUE == BIKE, BIKE), InstanceObject(TRUE == SKY, CAR, iscrowd=True)))


@pytest.mark.parametrize("how", MARKS)
@pytest.mark.parametrize("mask", [semantic(), panoptic(), objects()], ids=lambda mask: mask.task)
def test_masks_that_the_segmenter_sees_as_they_are_keep_every_pixel(mask, how):
    found = mark(mask, seen(whole=mask.task != "instance"), BARS, how, CATEGORIES)
    assert found.corrected == {} and not found.sums[:, 2].any()


@pytest.mark.parametrize("how", ["segments", "pixels"])
def test_exactly_the_doubted_pixels_are_ignored_or_are_what_the_segmenter_sees(how):
    wrong, view = TRUE.copy(), TRUE.copy()
    wrong[1:4, 1:4] = BIKE  # a segment in the sky that is not there
    view[7, 9:13] = ROAD  # and a row of the true bike that the segmenter misses
    found = mark(semantic(wrong), seen(view), BARS, how, CATEGORIES)
    doubted = wrong != (TRUE if how == "segments" else view)
    ignored, relabelled = found.corrected["ignore"].ids, found.corrected["relabel"].ids
    assert ((ignored == 255) == doubted).all() and (ignored[~doubted] == wrong[~doubted]).all()
    assert (relabelled == np.where(doubted, view, wrong)).all()
    assert found.sums[:, 0].tolist() == np.bincount(wrong.ravel()).tolist() and found.sums[:, 2].tolist() == [0, 0, 0, doubted.sum()]
    assert found.segments[:, :2].tolist() == [[SKY, 96 - 9], [ROAD, 96 - 32], [CAR, 16], [BIKE, 9], [BIKE, 16]]


def test_freemask_marks_pixels_that_the_segmenter_believes_too():
    unsure = Seen(scores(TRUE, 0.3), True)
    assert not (mark(semantic(), unsure, BARS, "pixels", CATEGORIES).corrected or mark(semantic(), unsure, BARS, "segments", CATEGORIES).corrected)
    found = mark(semantic(), unsure, BARS, "freemask", CATEGORIES)
    assert (found.corrected["ignore"].ids == 255).all() and (found.corrected["relabel"].ids == TRUE).all()


def test_ignored_pixels_of_the_bank_are_never_marked_nor_counted():
    holes = np.where(np.arange(16) < 3, 255, TRUE)
    for how in MARKS:
        found = mark(semantic(holes), seen((TRUE + 1) % 4), BARS, how, CATEGORIES)
        assert found.sums[:, 0].sum() == (holes != 255).sum() and (found.corrected["relabel"].ids[:, :3] == 255).all()


def test_labels_past_255_stay_what_they_are():
    """A mask that holds low ids alone is read as 8-bit; the ignore label and the segmenter's classes may be past them."""
    many = Categories.from_names([f"class {number}" for number in range(300)], ignore_id=65535)
    view = torch.full((300, 4, 4), 0.001).index_fill(0, torch.tensor([299]), 0.9)
    corrected = mark(SemanticMask(np.zeros((4, 4), np.uint8), 65535), Seen(view, True), np.ones(300), "segments", many).corrected
    members = {reading: mask_members(mask, many) for reading, mask in corrected.items()}
    assert (read_label_map(members["ignore"]["mask"]) == 65535).all() and (read_label_map(members["relabel"]["mask"]) == 299).all()
    assert not members["ignore"]["histogram"].any() and members["relabel"]["histogram"][299] == 16


def test_a_thing_that_is_another_keeps_its_shape_and_stuff_joins_its_segment():
    view = np.where(TRUE == CAR, BIKE, np.where(TRUE == BIKE, ROAD, TRUE))
    corrected = mark(panoptic(), seen(view), BARS, "segments", CATEGORIES).corrected
    assert (corrected["ignore"].ids == np.where(TRUE >= CAR, 0, TRUE + 1)).all()
    relabelled = corrected["relabel"]
    assert {segment.id: segment.category_id for segment in relabelled.segments} == {1: SKY, 2: ROAD, 3: BIKE}
    assert (relabelled.labels() == view).all()


def test_pixels_that_look_like_a_thing_are_of_no_segment_and_new_stuff_gets_one():
    sky = np.full(SHAPE, SKY)
    view = sky.copy()
    view[0], view[1] = ROAD, CAR
    relabelled = mark(SegmentMask(sky + 7, (Segment(7, SKY),)), seen(view), BARS, "pixels", CATEGORIES).corrected["relabel"]
    assert {segment.id: segment.category_id for segment in relabelled.segments} == {7: SKY, 8: ROAD}
    assert (relabelled.ids == np.where(view == CAR, 0, np.where(view == ROAD, 8, 7))).all()


def test_the_losses_of_a_bank_are_its_class_means_by_its_pixels():
    masks = [semantic(TRUE), semantic((TRUE + 1) % 4), semantic(np.full(SHAPE, 255))]
    sums = [class_losses(mask, seen(), CATEGORIES) for mask in masks]
    means = mean_losses(sum(sums))
    assert sum(np.dot(own[:, 0], means) for own in sums) == pytest.approx(sum(own[:, 1].sum() for own in sums))
    ratios = [ratio_of(*own.T, means) for own in sums]
    assert ratios[0] < 1 < ratios[1] and ratios[2] == 1


def held(table: list[list[int]]) -> ClassPixels:
    pixels = np.array(table)
    samples, classes = np.nonzero(pixels)
    return ClassPixels(len(pixels), samples, classes, pixels[samples, classes])


@pytest.mark.parametrize("classes", [1, 3, 500])
def test_weights_have_mean_1_over_the_kept_and_none_elsewhere(classes):
    draw = np.random.default_rng(0)
    pixels, kept = draw.integers(0, 9, (40, classes)), draw.random(40) < 0.7
    found = weights(held(pixels.tolist()), draw.random(classes), kept, 1.0, 0.5)
    assert found.shape == (40,) and found.sum() == pytest.approx(kept.sum()) and ((found > 0) == kept).all()
    assert (weights(held(pixels.tolist()), draw.random(classes), kept, 0, 0) == kept).all()


def test_hard_masks_and_rare_classes_are_drawn_more_often():
    of = held([[10, 0, 0], [10, 0, 0], [0, 10, 0], [0, 10, 0], [5, 5, 0], [5, 0, 5]])
    means, kept = np.array([1.0, 3.0, 1.0]), np.ones(6, bool)
    assert hardness(of, means).tolist() == [1, 1, 3, 3, 2, 1]
    by_hardness = weights(of, means, kept, 1, 0)
    assert by_hardness[2] == pytest.approx(3 * by_hardness[0]) and by_hardness[5] == by_hardness[0]
    by_rarity = weights(of, means, kept, 0, 1)
    assert by_rarity.argmax() == 5 and by_rarity[5] / by_rarity[2] == pytest.approx((1 / (1 / 6)) / (1 / (3 / 6)))


MASKS = {"semantic": semantic(), "panoptic": panoptic(), "instance": objects()}


def write(root: Path, task: str) -> tuple[Bank, dict[str, dict]]:
    """A bank of four equal masks, and the answers of a segmenter that believes all but the car of the second and the whole third."""
    samples = [Sample(f"imgsyn-{number:09d}", jpeg(np.full((*SHAPE, 3), 90, np.uint8)), source_id="a", strategy="imgsyn", seed=0, caption="", height=12,
                      width=16, **mask_members(MASKS[task], CATEGORIES)) for number in range(4)]
    info = BankInfo(task, CATEGORIES, default_palette(4), ({"kind": "mask2img", "fingerprint": "0"},), {"strategy": "imgsyn", "seed": 0})
    writer = BankWriter(root, info)
    for shard in range(2):
        writer.write_shard(f"imgsyn-{shard:05d}", samples[2 * shard : 2 * shard + 2])
    views = [TRUE, np.where(TRUE == CAR, BIKE, TRUE), (TRUE + 1) % 4, TRUE]
    return Bank(root, check=True), {sample.key: {"sem_seg": scores(view)} for sample, view in zip(samples, views, strict=True)}


def made(bank: Bank, answers: dict, **changes) -> dict:
    """What the filter tells of a bank, once its sidecar is written."""
    sidecar, parts = Sidecar(bank, "noise"), parts_of(bank)
    score = Filter(sidecar, Oracle(answers), replace(FilterOptions(tolerance=1.2, drop_above=2.5), **changes), parts)
    for part in parts:
        sidecar.write("filter", part, score.columns(part, lambda: None))
    return score.summary(parts)


def mask_of(view: Bank | FilteredBank, number: int) -> Mask:
    record = view.record(number)
    path = record.get("pan_seg_file_name") or record.get("sem_seg_file_name")
    key = {"semantic": "sem_seg_file_name", "panoptic": "pan_seg_file_name"}.get(view.info.task)
    return read_mask({**record, key: open_member(path)} if key else labelled(view, record), BankSource(view))


@pytest.mark.parametrize("task", MASKS)
def test_a_bank_is_corrected_where_it_is_doubted_and_its_hopeless_sample_is_dropped(task, tmp_path):
    bank, answers = write(tmp_path / f"bank-{task}", task)
    told = made(bank, answers)
    assert (told["samples"], told["kept"], told["dropped"], told["changed"]) == (4, 3, 1, 2)
    assert bank.column("scores/noise:kept").tolist() == [1, 1, 0, 1]
    weight = bank.column("scores/noise:weight")
    assert weight[2] == 0 and weight.sum() == pytest.approx(3)
    ratio = bank.column("scores/noise:filter_ratio")
    assert ratio[0] == ratio[3] < ratio[1] < ratio[2]
    own, is_car = mask_of(bank, 1), TRUE == CAR
    for reading, label in (("ignore", 255), ("relabel", BIKE)):
        view = FilteredBank(bank, f"scores/noise:{reading}")
        assert len(view) == 3 and view.record(0) == bank.record(0) and view.record(2) == bank.record(3)
        assert (mask_of(view, 1).labels() == np.where(is_car, label, own.labels())).all()
        _check_parts(task, view.record(1), bank.record(1), reading)


def _check_parts(task: str, found: dict, before: dict, reading: str) -> None:
    """Segments and objects agree with the mask; those that are not doubted are told as before."""
    parts = {"panoptic": "segments_info", "instance": "annotations"}.get(task)
    if not parts:
        assert {key for key in found if found[key] != before[key]} == {"sem_seg_file_name"}
        return
    kept = {part["bbox"][0]: part for part in found[parts]}
    for part in before[parts]:
        is_car = part["category_id"] == CAR and not part["iscrowd"]
        if is_car and reading == "ignore":
            assert part["bbox"] != kept.get(part["bbox"][0], {}).get("bbox")
            continue
        own = next(one for one in found[parts] if one["bbox"] == part["bbox"] and one["area"] == part["area"])
        changed = {key for key in own if own[key] != part[key]} - {"id"}
        assert changed == ({"category_id"} if is_car else set())


def test_a_tolerance_that_nothing_reaches_marks_nothing(tmp_path):
    bank, answers = write(tmp_path / "bank-calm", "semantic")
    told = made(bank, answers, tolerance=1e6, drop_above=1e6, hardness=0.0, rarity=0.0)
    assert (told["kept"], told["changed"], told["marked"]) == (4, 0, 0) and (bank.column("scores/noise:weight") == 1).all()
    view = FilteredBank(bank, "scores/noise")
    assert [view.record(number) for number in range(4)] == [bank.record(number) for number in range(4)]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, str]:
    """Scenes, a bank, a config, and a segmenter without training."""
    root = tmp_path_factory.mktemp("filtered")
    config = write_world(root)
    save_network(model_of(load_config(config)[0], Categories.from_names(TOY.names)), root / "run/model_final")
    return {"config": str(config), "bank": str(root / "bank"), "dataset": str(root / "train/dataset.yaml"), "test": str(root / "test/dataset.yaml"),
            "segmenter": str(root / "run")}


def options(world: dict[str, str], **changes) -> ScoringOptions:
    own = {name: changes.pop(name) for name in ("marks", "reference", "tolerance") if name in changes}
    return ScoringOptions(**{"dataset": world["dataset"], "segmenter": world["segmenter"], "device": "cpu", "scores": ("filter",),
                             "filter": FilterOptions(**{"tolerance": 1.0, **own}), **changes})


def test_one_command_scores_goes_on_and_refuses_other_options(world, monkeypatch):
    told = score_bank(world["bank"], options(world, test=world["test"]), "noise")
    assert told["filter"]["reference"] == "test" and told["filter"]["real"]["images"] == 2 and "samples kept" in summary_text(told)
    monkeypatch.setattr(Filter, "columns", lambda *given: pytest.fail("made again"))
    assert score_bank(world["bank"], options(world, test=world["test"]), "noise") == told
    with pytest.raises(SegGenError, match="filter was begun with another tolerance"):
        score_bank(world["bank"], options(world, test=world["test"], tolerance=2.0), "noise")
    with pytest.raises(SegGenError, match="filter was begun with another reference"):
        score_bank(world["bank"], options(world), "noise")
    with pytest.raises(SegGenError, match="--reference test needs a real held-out set"):
        options(world, reference="test")
    with pytest.raises(SegGenError, match="filter needs a network"):
        score_bank(world["bank"], options(world, segmenter=""), "noise")


def test_a_filter_of_some_samples_is_refused_and_others_are_not_made_unasked(world):
    score_bank(world["bank"], options(world, limit=2), "few")
    with pytest.raises(SegGenError, match=r"scores of all 4 samples(.|\n)*scores of 2(.|\n)*--limit"):
        FilteredBank(Bank(world["bank"]), "scores/few")
    assert "filter" not in score_bank(world["bank"], options(world, segmenter="", scores=()), "plain")


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_errors_of_a_check_are_as_many_as_asked_for_and_keep_the_segments(mask):
    assert (with_errors(mask, np.random.default_rng(0), 0.0, CATEGORIES).labels() == mask.labels()).all()
    wrong = with_errors(mask, np.random.default_rng(0), 1.0, CATEGORIES).labels()
    assert (wrong != mask.labels())[TRUE >= CAR].all() and ((wrong == 255) == (mask.labels() == 255)).all()


def test_a_check_without_errors_finds_none_and_tells_what_is_marked_by_mistake(world, monkeypatch, capsys):
    own = {"dataset": world["dataset"], "segmenter": world["segmenter"], "tolerances": (0.5, 1.0), "device": "cpu"}
    right, wrong = check_filter(CheckOptions(**own, share=0.0)), check_filter(CheckOptions(**own, share=1.0))
    assert len({counts[0] for counts in [*right.values(), *wrong.values()]}) == 1 and all(counts[1] == counts[3] == 0 for counts in right.values())
    assert all(counts[1] == counts[0] > 1000 and counts[2] == counts[3] for counts in wrong.values())
    assert all(right[reference, how, 0.5][2] >= right[reference, how, 1.0][2] for reference in ("bank", "test") for how in MARKS)
    monkeypatch.setattr(sys, "argv", ["check_filter.py", "--dataset", world["dataset"], "--segmenter", world["segmenter"], "--device", "cpu"])
    runpy.run_path(str(Path(__file__).parents[1] / "tools/check_filter.py"), run_name="__main__")
    assert "of the wrong found" in capsys.readouterr().out


def test_a_training_reads_its_banks_through_the_filter(world):
    write_filter(Path(world["bank"]))
    plain = losses_with_and_without_swap(experiment(load_config(world["config"])[0]), 6)[2]
    untouched = losses_with_and_without_swap(experiment(load_config(world["config"], ["SEGGEN.FILTER", FILTER])[0]), 6)[2]
    assert all(torch.equal(plain[name], untouched[name]) for name in plain)
    write_filter(Path(world["bank"]), {0: np.full((32, 32), 255, np.uint8)}, dropped=(1, 2), weights=(1, 1, 1, 3))
    run = experiment(load_config(world["config"], ["SEGGEN.FILTER", FILTER, "SEGGEN.SAMPLING", "weighted"])[0])
    drawn = [run.mapper_at(1.0)(run.records[0], number) for number in range(40)]
    keys = [sample["image_id"] for sample in drawn]
    assert {*keys} == {"imgsyn-000000000", "imgsyn-000000003"} and keys.count("imgsyn-000000003") > 20
    assert all(bool((sample["sem_seg"] == 255).all()) == (sample["image_id"] == "imgsyn-000000000") for sample in drawn)
    with pytest.raises(SegGenError, match="has no filter scores/absent"):
        experiment(load_config(world["config"], ["SEGGEN.FILTER", "scores/absent"])[0])

# ruff: noqa: E402
"""Schedules, rarity and the weight of synthetic samples in this package's own engine."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from test_engine_training import metric_lines, same, stop_after, train_net, weights
from toy_world import write_world

from seggen_d2.engine.config import load_config
from seggen_d2.engine.from_config import experiment
from seggen_d2.engine.run import Stopped
from seggen_d2.engine.trainer import SegmentationTrainer
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import NumberedSampler
from seggen_d2.modeling import SetCriterion


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def built(config, *words):
    return experiment(load_config(config, [str(word) for word in words])[0])


def batch_of(run, p_aug, size=6):
    stream, mapper = iter(NumberedSampler(len(run.records))), run.mapper_at(p_aug)
    return [mapper(run.records[index], number) for index, number in (next(stream) for _ in range(size))]


def loss_and_gradients(run, samples, weight):
    trainer = SimpleNamespace(options=SimpleNamespace(synthetic_weight=weight), _note=lambda *words: None)
    run.model.zero_grad()
    torch.manual_seed(4)
    loss = SegmentationTrainer.compute_loss(trainer, run.model, {"samples": samples})
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def mixed(config):
    """A run whose batch norms keep their statistics, so that samples touch each other in the loss alone, and a batch."""
    run = built(config, "MODEL.BACKBONE.FREEZE_NORM", True)
    run.model.train()
    samples = batch_of(run, 0.5)
    assert {sample["is_synthetic"] for sample in samples} == {True, False}
    return run, samples


def test_weight_1_is_the_loss_of_before_bit_for_bit(mixed):
    run, samples = mixed
    torch.manual_seed(4)
    before = torch.stack(list(run.model(samples, per_sample=True).values())).sum(0).mean()
    run.model.zero_grad()
    before.backward()
    gradients = {name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None}
    loss, own = loss_and_gradients(run, samples, 1.0)
    assert torch.equal(loss, before) and same(gradients, own)


def test_the_loss_is_linear_in_the_weight(mixed):
    run, samples = mixed
    none, half, once, twice = (loss_and_gradients(run, samples, weight) for weight in (0.0, 0.5, 1.0, 2.0))
    assert half[0] == pytest.approx((none[0] + once[0]).item() / 2, rel=1e-5) and none[0] < half[0] < once[0] < twice[0]
    rounding = 1e-7 * max(gradient.abs().max() for gradient in once[1].values())
    for name, gradient in once[1].items():
        scale = gradient.abs().max()
        if scale < rounding:  # of a key's bias, or of one before a norm: none but for rounding
            assert all(gradients[name].abs().max() < rounding for _, gradients in (none, half, twice))
            continue
        assert torch.allclose(half[1][name], (none[1][name] + gradient) / 2, atol=1e-5 * scale)
        assert torch.allclose(twice[1][name], 2 * gradient - none[1][name], atol=1e-5 * scale)


def test_at_weight_0_synthetic_samples_leave_no_trace_in_the_gradient(mixed):
    run, samples = mixed
    other = [{**sample, "image": 255 - sample["image"]} if sample["is_synthetic"] else sample for sample in samples]
    _, gradients = loss_and_gradients(run, samples, 0.0)
    _, again = loss_and_gradients(run, other, 0.0)
    _, full = loss_and_gradients(run, samples, 1.0)
    scale = max(gradient.abs().max().item() for gradient in full.values())

    def apart(one):
        return max((gradients[name] - one[name]).abs().max().item() for name in gradients) / scale

    assert apart(again) < 1e-4 < 1e-2 < apart(full)


def test_at_weight_0_the_terms_are_those_of_the_real_samples_alone_over_the_batchs_denominators(monkeypatch):
    """Mask terms: times real segments / all segments; class terms: times the class weights' sums."""
    torch.manual_seed(0)
    table, rand = torch.rand(9000, 2), torch.rand
    monkeypatch.setattr(torch, "rand", lambda *size, **options: table[: size[1]].expand(size[0], -1, -1) if len(size) == 3 else rand(*size))
    predictions = [(torch.randn(3, 6, 6), torch.randn(3, 6, 16, 16)) for _ in range(2)]
    masks, classes = [torch.randn(n, 16, 16) > 0 for n in (2, 1, 3)], [torch.arange(n) for n in (2, 1, 3)]
    criterion, real = SetCriterion(5, num_points=2000), [0, 2]
    batch = criterion(predictions, masks, classes)
    alone = criterion([(a[real], b[real]) for a, b in predictions], [masks[i] for i in real], [classes[i] for i in real])
    weights = torch.tensor([1.0, 0.0, 1.0])
    class_weights = [n + 0.1 * (6 - n) for n in (2, 1, 3)]  # 6 queries, "no object" counts 0.1
    for name, values in batch.items():
        share = (class_weights[0] + class_weights[2]) / sum(class_weights) if name.startswith("loss_ce") else 5 / 6
        assert (values * weights).mean().item() == pytest.approx(share * alone[name].mean().item(), rel=1e-5), name


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_p_aug_0_is_the_baseline_whatever_else_is_set(config, schedule):
    keys = ("SEGGEN.P_AUG", 0.0, "SEGGEN.P_AUG_SCHEDULE", schedule, "SEGGEN.SYNTHETIC_WEIGHT", 0.3, "SEGGEN.SAMPLING", "paired",
            "SEGGEN.P_AUG_BY", "rarity")
    run = built(config, *keys)
    stage = run.stages[0].course.at(0, 8)
    samples, bare = batch_of(run, stage), run.mapper_at(0.0).mapper
    stream = iter(NumberedSampler(len(run.records)))
    plain = [bare(run.records[index], number) for index, number in (next(stream) for _ in range(6))]
    run.model.train()
    (loss, own), (before, theirs) = (loss_and_gradients(run, each, weight) for each, weight in ((samples, 0.3), (plain, 1.0)))
    assert stage == 0.0 and not run.banks and torch.equal(loss, before) and same(own, theirs)


def test_a_resumed_schedule_goes_on(config, tmp_path, monkeypatch):
    keys = ["SEGGEN.P_AUG", "1.0", "SEGGEN.P_AUG_SCHEDULE", "linear", "SEGGEN.SYNTHETIC_WEIGHT", "0.5", "SOLVER.LOG_PERIOD", "1"]
    train_net(config, ["OUTPUT_DIR", str(tmp_path / "whole"), *keys])
    stop_after(monkeypatch, 2)
    with pytest.raises(Stopped, match="iteration 2"):
        train_net(config, ["OUTPUT_DIR", str(tmp_path / "parts"), *keys])
    monkeypatch.undo()
    train_net(config, ["OUTPUT_DIR", str(tmp_path / "parts"), *keys])
    shares = [[line["synthetic_share"] for line in metric_lines(tmp_path / name)] for name in ("whole", "parts")]
    assert shares[0] == shares[1] and len({*shares[0]}) > 1
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_second_stage_begins_its_schedule_at_its_own_first_sample(config, capsys):
    stages = [{"P_AUG": 1.0, "ITERATIONS": 3}, {"P_AUG": 0.8, "ITERATIONS": 5, "P_AUG_SCHEDULE": "linear"}]
    run, made = built(config, "SEGGEN.STAGES", stages), []
    run.mapper_at = lambda p_aug: made.append(p_aug) or pytest.fail("enough")
    from seggen_d2.engine.run import train_stage

    for number in range(2):
        with pytest.raises(pytest.fail.Exception):
            train_stage(run, number, None)
    assert made[0] == 1.0 and (made[1].first, made[1].samples, made[1].start, made[1].end) == (6, 10, 0.8, 0.0)
    train_net(config, ["SEGGEN.STAGES", str(stages)], dry_run=True)
    assert "5 iterations of 2 images, p_aug 0.8 to 0 (linear, 0.4 on average)" in capsys.readouterr().out


def test_rarity_counts_the_training_images(config):
    run = built(config, "SEGGEN.SAMPLING", "paired", "SEGGEN.P_AUG_BY", "rarity")
    rarity = run.mapper_at(0.5).p_aug_of
    assert {*rarity.factors} == {record["file_name"] for record in run.records}
    assert sum(rarity(record, 0.5) for record in run.records) == pytest.approx(0.5 * len(run.records))
    with pytest.raises(SegGenError, match="goes with sampling 'paired' alone"):
        built(config, "SEGGEN.P_AUG_BY", "rarity")


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("P_AUG_SCHEDULE", "liner", "did you mean 'linear'"),
        ("P_AUG_END", 1.1, "P_AUG_END is out of range"),
        ("P_AUG_END", 0.2, "never gets there"),
        ("P_AUG_BY", "size", "SEGGEN.P_AUG_BY is not known"),
        ("SYNTHETIC_WEIGHT", -0.5, "SYNTHETIC_WEIGHT is out of range"),
    ],
)
def test_bad_values(config, key, value, words):
    with pytest.raises(SegGenError, match=words):
        built(config, f"SEGGEN.{key}", value)

# ruff: noqa: E402
"""Matching and losses: identities, agreement with transformers' own, and a value for every sample."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from seggen_d2.modeling import SetCriterion, match, point_sample, semantic_inference
from seggen_d2.modeling.matching import mask_costs

K, Q, SIZE = 5, 6, 16


def criterion(**options):
    return SetCriterion(K, num_points=2000, **options)


def layers(batch=2, count=2, seed=0):
    torch.manual_seed(seed)
    return [(torch.randn(batch, Q, K + 1), torch.randn(batch, Q, SIZE, SIZE)) for _ in range(count)]


def targets(counts=(2, 3)):
    torch.manual_seed(9)
    return [torch.rand(n, SIZE, SIZE) > 0.5 for n in counts], [torch.randperm(K)[:n] for n in counts]


def perfect(masks, classes):
    """Predictions that say exactly what the targets are, in another order of queries."""
    class_logits, mask_logits = (
        torch.full((len(masks), Q, K + 1), -20.0),
        torch.full((len(masks), Q, SIZE, SIZE), -20.0),
    )
    class_logits[..., K] = 20
    for image, (mask, labels) in enumerate(zip(masks, classes)):
        for place, label in enumerate(labels):
            query = Q - 1 - place
            class_logits[image, query, K], class_logits[image, query, label] = -20, 20
            mask_logits[image, query] = mask[place].float() * 40 - 20
    return class_logits, mask_logits


def test_points_at_pixel_centres_are_the_pixels():
    maps = torch.rand(1, 2, 4, 4)
    centres = torch.stack(torch.meshgrid(*[(torch.arange(4) + 0.5) / 4] * 2, indexing="xy"), -1).view(1, 16, 2)
    assert torch.allclose(point_sample(maps, centres), maps.flatten(2), atol=1e-6)


def test_costs_are_those_of_transformers():
    from transformers.models.mask2former import modeling_mask2former as theirs

    logits, labels = torch.randn(1, Q, 50), (torch.rand(1, 3, 50) > 0.5).float()
    cross_entropy, dice = mask_costs(logits, labels)
    assert torch.allclose(
        cross_entropy[0], theirs.pair_wise_sigmoid_cross_entropy_loss(logits[0], labels[0]), atol=1e-5
    )
    assert torch.allclose(dice[0], theirs.pair_wise_dice_loss(logits[0], labels[0]), atol=1e-5)


def test_perfect_predictions_are_matched_and_cost_little():
    masks, classes = targets()
    points = torch.rand(2, 500, 2)
    labels = criterion()._at_points(torch.cat(masks).float()[:, None], points, [2, 3])
    predictions = [perfect(masks, classes)] * 2
    images, queries, segments = match(predictions, classes, points, labels, class_weight=2, mask_weight=5, dice_weight=5)
    assert images.tolist() == [[0, 0, 1, 1, 1]] * 2 and torch.equal(queries, Q - 1 - segments)
    halves = [torch.zeros(n, SIZE, SIZE, dtype=torch.bool) for n in (2, 3)]
    for half in halves:
        half[:, :, SIZE // 2 :] = True
    uniform = criterion(importance_sample_ratio=0.0)  # uncertain points would all lie on the one edge
    ours, random = (
        uniform(predictions, halves, classes) for predictions in ([perfect(halves, classes)], layers(count=1))
    )
    assert (ours["loss_ce"] < 1e-6).all()
    assert all((ours[name] < 0.5 * random[name]).all() for name in ours)


def test_the_mean_over_samples_is_transformers_loss():
    """Uniform points in great number make both losses estimates of one integral."""
    from transformers import Mask2FormerConfig
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    config = Mask2FormerConfig(num_labels=K, train_num_points=60000, importance_sample_ratio=0.0, oversample_ratio=1.0)
    theirs = Mask2FormerLoss(config, {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0})
    predictions, (masks, classes) = layers(count=1), targets()
    expected = theirs(predictions[0][1], predictions[0][0], [mask.float() for mask in masks], classes)
    ours = SetCriterion(K, num_points=60000, importance_sample_ratio=0.0, oversample_ratio=1.0)(
        predictions, masks, classes
    )
    for name, key, weight in (
        ("loss_ce", "loss_cross_entropy", 2),
        ("loss_mask", "loss_mask", 5),
        ("loss_dice", "loss_dice", 5),
    ):
        assert ours[name].mean().item() == pytest.approx(weight * expected[key].item(), rel=0.01)


def test_weights_scale_and_layers_are_named():
    predictions, (masks, classes) = layers(count=3), targets()
    torch.manual_seed(1)
    single = criterion()(predictions, masks, classes)
    assert set(single) == {f"loss_{kind}{suffix}" for kind in ("ce", "mask", "dice") for suffix in ("", "_0", "_1")}
    assert all(torch.isfinite(value).all() for value in single.values())


def test_a_sample_without_segments_only_says_no_object():
    masks, classes = targets((0, 3))
    losses = criterion()(layers(), masks, classes)
    assert losses["loss_mask"][0] == losses["loss_dice"][0] == 0 and losses["loss_ce"][0] > 0
    nothing = criterion()(layers(), *targets((0, 0)))
    assert nothing["loss_mask"].tolist() == [0, 0] and torch.isfinite(nothing["loss_ce"]).all()


def test_more_segments_than_queries_are_borne():
    torch.manual_seed(0)
    masks, classes = [torch.rand(Q + 2, SIZE, SIZE) > 0.5], [torch.randint(0, K, (Q + 2,))]
    assert torch.isfinite(criterion()(layers(batch=1), masks, classes)["loss_mask"]).all()


def test_uncertain_points_lie_where_the_logit_is_near_zero():
    ramp = torch.linspace(-10, 10, SIZE).expand(1, 1, SIZE, SIZE).contiguous()
    torch.manual_seed(0)
    near = criterion(importance_sample_ratio=1.0).uncertain_points(ramp)
    even = criterion(importance_sample_ratio=0.0).uncertain_points(ramp)
    assert near.shape == (1, 2000, 2) and (near[..., 0] - 0.5).abs().mean() < 0.6 * (even[..., 0] - 0.5).abs().mean()


def test_semantic_inference_of_certain_predictions_is_the_label_map():
    labels = torch.randint(0, K, (SIZE, SIZE))
    class_logits = torch.full((Q, K + 1), -30.0)
    class_logits[range(K), range(K)], class_logits[K:, K] = 30, 30
    masks = torch.where(labels[None] == torch.arange(Q)[:, None, None], 30.0, -30.0)
    scores = semantic_inference(class_logits, masks)
    assert scores.shape == (K, SIZE, SIZE) and torch.equal(scores.argmax(0), labels)
    assert torch.allclose(scores.sum(0), torch.ones(SIZE, SIZE), atol=1e-4)


def test_losses_are_float32_under_autocast():
    predictions, (masks, classes) = layers(), targets()
    torch.manual_seed(1)
    expected = criterion()(predictions, masks, classes)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        losses = criterion()(predictions, masks, classes)
    assert all(losses[name].dtype == torch.float32 and torch.equal(losses[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("here", "elsewhere"), [((1, 2), 3), ((4, 2), 0), ((0, 0), 5), ((0, 0), 0)])
def test_segments_are_averaged_over_processes(monkeypatch, here, elsewhere):
    """Of two processes, under torch.distributed alone; each takes part once a step, with nothing labelled as well."""
    masks, classes = targets(here)
    torch.manual_seed(5)
    alone = criterion()(layers(), masks, classes)
    sums = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: sums.append(count.add_(elsewhere)))
    torch.manual_seed(5)
    together = criterion()(layers(), masks, classes)
    assert len(sums) == 1
    for name in ("loss_mask", "loss_dice_0"):
        expected = alone[name].mean() * max(sum(here), 1) / max((sum(here) + elsewhere) / 2, 1)
        assert together[name].mean().item() == pytest.approx(expected.item(), rel=1e-5)


def test_layers_are_matched_and_measured_each_by_itself():
    masks, classes = targets()
    predictions = layers(count=3)

    def losses(some):
        torch.manual_seed(3)  # the points of the matching are the first that are drawn
        return criterion(importance_sample_ratio=0.0)(some, masks, classes)

    together = losses(predictions)
    for layer, suffix in enumerate(("_0", "_1", "")):
        alone = losses([predictions[layer]])
        assert torch.allclose(alone["loss_ce"], together[f"loss_ce{suffix}"])
        for name in ("loss_mask", "loss_dice"):
            assert torch.allclose(alone[name], together[f"{name}{suffix}"], rtol=0.05)  # other points

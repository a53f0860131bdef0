# ruff: noqa: E402
"""SegGenMask2Former against stock Mask2Former with the same random weights: what differs is rounding.

``pytest -s tests/plugin/test_parity.py`` prints the greatest differences; SEGGEN_FULL=1 adds Swin-L at full depth.
"""

import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("mask2former")
from .mask2former_pair import FULL_SIZE, fixed_points, pair, samples

SEEDS = range(5)
SIZES = [[(96, 128), (64, 160)], [(97, 131), (160, 75)], [(160, 160), (33, 47)], [(150, 111), (150, 111)], [(65, 160), (128, 90)]]
MODELS = ["resnet50", "swin-t", "swin-l-shallow", *(["swin-l"] if os.environ.get("SEGGEN_FULL") else [])]
NEAR_ZERO = 1e-5  # of a mask logit: rounding decides on which side it falls


@pytest.fixture(scope="module")
def worst():
    """The greatest difference seen of each kind."""
    found: dict[str, float] = {}
    yield found
    print("".join(f"\n{name}: {value:.2e}" for name, value in sorted(found.items())))


@pytest.fixture(scope="module", params=MODELS)
def models(request):
    return request.param, *pair(request.param, **FULL_SIZE, TEST__DETECTIONS_PER_IMAGE=100)


def reweigh(stock, ours, seed):
    """Other random weights, the same in both: the values of each tensor in other places."""
    torch.manual_seed(seed)
    state = stock.state_dict()
    for name, value in state.items():
        if value.is_floating_point() and not name.endswith(("sampling_offsets.bias", "empty_weight")):
            value.copy_(value.flatten().roll(int(torch.randint(1, 10**6, ()))).view_as(value))
    ours.load_state_dict(state)


def run(models, batch, monkeypatch, training, worst):
    """Both models' layers [(class logits, mask logits)] and outputs, with one mask for attention where logits are near 0."""
    stock, ours = (model.train(training) for model in models)
    layers, masks = {}, []

    def heads(*arguments, **options):
        result = stock_heads(*arguments, **options)
        masks.append(result[2].clone())
        return result

    def predictor(outputs, pixels, size):
        logits, mask = our_predictor(outputs, pixels, size)
        fine = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False).flatten(2)
        near = (fine.abs() < NEAR_ZERO).repeat_interleave(mask.shape[0] // fine.shape[0], 0)
        theirs = masks.pop(0)
        note(worst, "places of attention on the other side of 0, of a layer", (near & (mask != theirs)).sum().item())
        return logits, torch.where(near, theirs, mask)

    module = ours.model.network.model.transformer_module.decoder.mask_predictor
    stock_heads, our_predictor, predict = stock.sem_seg_head.predictor.forward_prediction_heads, module.forward, ours.model.predict
    with monkeypatch.context() as patched:
        patched.setattr(stock.sem_seg_head.predictor, "forward_prediction_heads", heads)
        patched.setattr(module, "forward", predictor)
        patched.setattr(ours.model, "predict", lambda images: layers.setdefault("ours", predict(images)))
        hook = stock.sem_seg_head.register_forward_hook(lambda *call: layers.update(stock=call[2]))
        outputs = stock(batch), ours(batch)
        hook.remove()
    theirs = [(layer["pred_logits"], layer["pred_masks"]) for layer in (*layers["stock"]["aux_outputs"], layers["stock"])]
    return theirs, layers["ours"], outputs


def gap(left, right):
    return (left - right).abs().max().item() if left.numel() else 0.0


def note(worst, name, value):
    worst[name] = max(worst.get(name, 0.0), value)
    return value


@pytest.mark.parametrize("seed", SEEDS)
def test_evaluation_is_stocks(models, worst, monkeypatch, seed):
    kind, stock, ours = models
    reweigh(stock, ours, seed)
    batch = samples(SIZES[seed], seed=seed)
    with torch.no_grad():
        theirs, mine, (expected, results) = run((stock, ours), batch, monkeypatch, False, worst)
    assert len(theirs) == len(mine) == 10
    for (their_classes, their_masks), (my_classes, my_masks) in zip(theirs, mine):
        assert note(worst, f"{kind} eval class logits", gap(their_classes, my_classes)) < 1e-4
        assert note(worst, f"{kind} eval mask logits", gap(their_masks, my_masks)) < 1e-4
    for stock_result, result in zip(expected, results):
        assert note(worst, f"{kind} sem_seg", gap(stock_result["sem_seg"], result["sem_seg"])) < 1e-4
        same_panoptic(stock_result["panoptic_seg"], result["panoptic_seg"])
        same_instances(stock_result["instances"], result["instances"])


def same_panoptic(expected, found):
    assert found[0].dtype == expected[0].dtype and found[1] == expected[1]
    assert few_differ(expected[0], found[0])


def same_instances(expected, found):
    assert found.image_size == expected.image_size and len(found) == len(expected)
    order, own = (sorted(range(len(item)), key=lambda i, item=item: (-round(float(item.scores[i]), 4), int(item.pred_classes[i])))
                  for item in (expected, found))
    assert torch.allclose(expected.scores[order], found.scores[own], atol=1e-4)
    assert found.pred_masks.dtype == expected.pred_masks.dtype
    assert torch.equal(found.pred_boxes.tensor, expected.pred_boxes.tensor)
    if order == own:
        assert torch.equal(expected.pred_classes, found.pred_classes)
        assert few_differ(expected.pred_masks, found.pred_masks)


def few_differ(expected, found):
    """Pixels on the very edge of a mask may fall on either side."""
    return expected.shape == found.shape and (expected != found).sum() <= 1e-3 * found.numel()


@pytest.mark.parametrize("seed", SEEDS)
def test_training_is_stocks(models, worst, monkeypatch, seed):
    kind, stock, ours = models
    reweigh(stock, ours, seed)
    batch = samples(SIZES[seed], seed=seed + 10, segments=(3, 4 - seed))
    with fixed_points(monkeypatch, seed), torch.no_grad():
        theirs, mine, (expected, losses) = run((stock, ours), batch, monkeypatch, True, worst)
    for (their_classes, their_masks), (my_classes, my_masks) in zip(theirs, mine, strict=True):
        assert note(worst, f"{kind} train class logits", gap(their_classes, my_classes)) < 1e-4
        assert note(worst, f"{kind} train mask logits", gap(their_masks, my_masks)) < 1e-4
    assert losses.keys() == expected.keys() and len(losses) == 30
    for name, value in losses.items():
        assert note(worst, f"{kind} losses", abs(value.item() - expected[name].item())) < 1e-4, name
        assert torch.equal(ours.last_losses[name].mean(), value) and ours.last_losses[name].shape == (2,)

# ruff: noqa: E402
"""The model: Detectron2's convention, the backbones' shapes, and learning."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import BACKBONES, backbone_config, build_mask2former

SMALL = {
    "backbone": "tiny-resnet",
    "backbone_options": {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]},
    "queries": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feature_size": 32,
    "mask_feature_size": 32,
    "heads": 2,
    "feedforward_size": 32,
    "encoder_feedforward_size": 32,
    "points": 64,
    "size_divisibility": 16,
}


def model(seed=0, **options):
    torch.manual_seed(seed)
    return build_mask2former(3, **{**SMALL, **options})


def sample(height=32, width=32, seed=0):
    torch.manual_seed(seed)
    labels = (torch.arange(width) * 3 // width).expand(height, width)
    image = (labels * 80).expand(3, -1, -1) + torch.randint(0, 20, (3, height, width))
    return {
        "image": image.to(torch.uint8),
        "mask_labels": labels[None] == torch.arange(3)[:, None, None],
        "class_labels": torch.arange(3),
        "sem_seg": labels,
    }


def test_training_gives_finite_losses_of_every_layer_and_gradients_everywhere():
    net = model()
    losses = net([sample(), sample(24, 30, 1)])
    assert set(losses) == {f"loss_{kind}{suffix}" for kind in ("ce", "mask", "dice") for suffix in ("", "_0")}
    assert all(torch.isfinite(value) and value.ndim == 0 for value in losses.values())
    sum(losses.values()).backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert not without


def test_the_batch_loss_is_the_mean_of_the_samples():
    batch = [sample(), sample(seed=1)]
    torch.manual_seed(3)
    whole = model()(batch)
    torch.manual_seed(3)
    parts = model()(batch, per_sample=True)
    assert all(torch.equal(whole[name], parts[name].mean()) and parts[name].shape == (2,) for name in whole)


def test_one_batch_can_be_learned():
    net, batch = model(), [sample(), sample(seed=1)]
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    totals = []
    for _ in range(60):
        total = sum(net(batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.4 * sum(totals[:5])
    predicted = net.eval()(batch)[0]["sem_seg"].argmax(0)
    assert (predicted == batch[0]["sem_seg"]).float().mean() > 0.8


def test_scores_have_the_size_that_was_asked_for():
    net = model().eval()
    with torch.no_grad():
        small, large = net([{"image": sample(20, 28)["image"]}, {**sample(32, 16), "height": 64, "width": 40}])
    assert (
        small["sem_seg"].shape == (3, 20, 28)
        and large["sem_seg"].shape == (3, 64, 40)
        and (large["sem_seg"] >= 0).all()
    )


def test_images_are_normalised_then_padded_with_zeros():
    net = model(pixel_mean=(10, 20, 30), pixel_std=(2, 4, 5))
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, 20, 12)
    batch = net.batch_images([image, image[:, :4] + 2])
    assert batch.shape == (2, 3, 32, 16) and (batch[0] == 0).all()
    assert torch.allclose(batch[1, :, 0, 0], torch.tensor([1.0, 0.5, 0.4])) and (batch[1, :, 4:] == 0).all()


def test_frozen_norms_keep_their_statistics():
    net = model(freeze_norm=True).train()
    before = {name: value.clone() for name, value in net.backbone.named_buffers()}
    sum(net([sample(), sample(seed=1)]).values()).backward()
    assert all(torch.equal(value, before[name]) for name, value in net.backbone.named_buffers())
    assert model().train().backbone.training


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_backbones_have_four_maps_of_rising_stride(name):
    config = backbone_config(name)
    assert list(config.out_features) == ["stage1", "stage2", "stage3", "stage4"]


def test_sizes_are_the_papers():
    with torch.device("meta"):
        millions = {
            name: sum(p.numel() for p in build_mask2former(150, backbone=name).parameters()) / 1e6
            for name in ("resnet50", "swin-tiny")
        }
    assert millions["resnet50"] == pytest.approx(44, abs=1) and millions["swin-tiny"] == pytest.approx(
        47, abs=1
    )  # arXiv 2112.01527, table 3


@pytest.mark.parametrize("name", ["tiny-resnet", "tiny-swin"])
def test_the_tiny_backbones_are_for_images_of_48_pixels(name):
    net = build_mask2former(8, backbone=name).backbone
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(0.8, abs=0.1)
    assert [tuple(one.shape[-2:]) for one in net(torch.zeros(2, 3, 48, 48)).feature_maps] == [(12, 12), (6, 6), (3, 3), (2, 2)]


def test_unknown_names_and_numbers_are_refused():
    with pytest.raises(SegGenError, match="swin-tiny"):
        model(backbone="swin-tini")
    with pytest.raises(SegGenError, match="embedding_size"):
        model(backbone_options={"embeding_size": 8})
    with pytest.raises(SegGenError, match="points"):
        model(points=0)


SWIN = {"backbone": "swin-tiny", "backbone_options": {"embed_dim": 12, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 2],
                                                      "window_size": 3, "drop_path_rate": 0.5}}


def test_the_pixel_decoder_computes_in_float32_under_autocast():
    net, seen = model().eval(), {}
    parts = net.network.model.pixel_level_module
    parts.decoder.register_forward_hook(lambda *call: seen.update(out=call[2].mask_features.dtype))
    parts.encoder.register_forward_hook(lambda *call: seen.update(features=call[2].feature_maps[0].dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        net([sample(64, 64)])
        classes, masks = net.predict(net.batch_images([sample(64, 64)["image"]]))[-1]
    assert seen == {"out": torch.float32, "features": torch.bfloat16} and masks.dtype == torch.bfloat16
    losses = {}
    with torch.autocast("cpu", torch.bfloat16):
        losses = net.train()([sample(64, 64)])
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())


def test_layers_are_those_of_the_transformers_network():
    net = model().eval()
    images = net.batch_images([sample(64, 64)["image"]])
    with torch.no_grad():
        out, layers = net.network(pixel_values=images, output_auxiliary_logits=True), net.predict(images)
    expected = [(layer["class_queries_logits"], layer["masks_queries_logits"]) for layer in out.auxiliary_logits]
    expected.append((out.class_queries_logits, out.masks_queries_logits))
    assert len(layers) == len(expected) == 2
    assert all(torch.equal(mine, theirs) for pair in zip(layers, expected) for mine, theirs in zip(*pair))


@pytest.mark.parametrize(("stages", "trained"), [(0, "embedder encoder.stages.0"), (1, "encoder.stages.0"), (2, "encoder.stages.1"), (5, "")])
def test_stages_can_be_frozen(stages, trained):
    net = model(freeze_at=stages).train()
    names = {name for name, parameter in net.backbone.named_parameters() if parameter.requires_grad}
    assert all(any(name.startswith(start) for name in names) for start in trained.split()) and bool(names) == bool(trained)
    frozen = [module for module in net.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d) and not module.training]
    assert len(frozen) == sum(not module.weight.requires_grad for module in net.backbone.modules()
                              if isinstance(module, torch.nn.BatchNorm2d))
    with pytest.raises(SegGenError, match="FREEZE_AT"):
        model(freeze_at=6)


def test_every_trained_weight_of_a_swin_has_a_gradient():
    """Distributed training waits for the gradients of all that require one."""
    net = model(**{**SWIN, "backbone_options": {**SWIN["backbone_options"], "drop_path_rate": 0.0}})
    sum(net([sample(64, 64)]).values()).backward()
    assert not [name for name, parameter in net.named_parameters() if parameter.requires_grad and parameter.grad is None]


def test_stochastic_depth_drops_both_branches_of_a_swin_block():
    import copy

    net = copy.deepcopy(model(**SWIN)).train()
    block = net.backbone.swin.encoder.layers[3].blocks[1]
    hidden = torch.randn(64, 9, block.mlp.fc1.in_features)
    torch.manual_seed(0)
    dropped = (block.mlp(hidden) == 0).flatten(1).all(1)
    assert 0.2 < dropped.float().mean() < 0.8
    assert not (block.eval().mlp(hidden) == 0).flatten(1).all(1).any()


def test_dropout_is_the_pixel_decoders_alone():
    net = model(dropout=0.25).network.model
    assert net.pixel_level_module.decoder.encoder.layers[0].dropout == 0.25
    assert {layer.dropout for layer in net.transformer_module.decoder.layers} == {0.0}
    assert net.transformer_module.decoder.layers[0].cross_attn.dropout == 0.0


def test_random_weights_are_spread_as_upstream():
    """Xavier: variance 2 / (fan in + fan out); of query, key and value as one (3 d, d) tensor; c2: 1 / fan in."""
    net = model(feature_size=256, mask_feature_size=256, feedforward_size=512, heads=8).network
    layer, pixels = net.model.transformer_module.decoder.layers[0], net.model.pixel_level_module.decoder
    for weight, variance in ((layer.self_attn.q_proj.weight, 2 / (4 * 256)), (layer.fc1.weight, 2 / (256 + 512)),
                             (pixels.mask_projection.weight, 1 / 256), (pixels.encoder.layers[0].fc1.weight, 2 / (256 + 32)),
                             (pixels.input_projections[0][0].weight, 2 / (16 + 256)), (net.class_predictor.weight, 1 / (3 * 256))):
        assert weight.var().item() == pytest.approx(variance, rel=0.1)

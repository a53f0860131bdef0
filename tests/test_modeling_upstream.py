# ruff: noqa: E402
"""Upstream's names and checkpoints: every weight has one name on either side, and what does not fit is told."""

import pickle
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import build_mask2former
from seggen_d2.modeling.upstream_checkpoint import load_upstream
from seggen_d2.modeling.upstream_names import from_upstream, own_names, relative_position_index, to_upstream, upstream_name

SMALL = {"queries": 5, "encoder_layers": 1, "decoder_layers": 2, "feature_size": 32, "mask_feature_size": 32, "heads": 2,
         "feedforward_size": 16, "encoder_feedforward_size": 16}
BACKBONES = {
    "basic": ("tiny-resnet", {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [2, 1, 1, 1]}),
    "bottleneck": ("resnet50", {"embedding_size": 8, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 2, 1, 1]}),
    "swin": ("swin-tiny", {"embed_dim": 12, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 2], "window_size": 3}),
}


def model(kind="basic", classes=3, seed=0, **options):
    torch.manual_seed(seed)
    name, widths = BACKBONES[kind]
    return build_mask2former(classes, backbone=name, backbone_options=widths, **{**SMALL, **options})


def upstream_state(net):
    return to_upstream(net.network.state_dict())


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("options", [{}, {"hidden_size": 64, "pre_norm": True}])
def test_renaming_there_and_back_changes_nothing(kind, options):
    own = model(kind, **options).network.state_dict()
    theirs = to_upstream(own, counters=True)
    back = from_upstream(theirs)
    lost = own.keys() - back.keys()
    assert all(".swin.layernorm." in key for key in lost)  # which nothing reads
    assert same(back, {key: value for key, value in own.items() if key not in lost})
    assert same(to_upstream(back, counters=True), theirs)
    assert all(re.match(r"(backbone|sem_seg_head\.(pixel_decoder|predictor)|criterion)\.", key) for key in theirs)


def test_names_are_upstreams():
    encoder, decoder = "model.pixel_level_module.encoder", "model.transformer_module.decoder"
    pairs = {
        "backbone.stem.conv1.norm.running_mean": f"{encoder}.embedder.embedder.normalization.running_mean",
        "backbone.res4.11.conv3.weight": f"{encoder}.encoder.stages.2.layers.11.layer.2.convolution.weight",
        "backbone.res2.0.shortcut.norm.bias": f"{encoder}.encoder.stages.0.layers.0.shortcut.normalization.bias",
        "backbone.norm3.weight": f"{encoder}.hidden_states_norms.stage4.weight",
        "sem_seg_head.pixel_decoder.adapter_1.norm.weight": "model.pixel_level_module.decoder.adapter_1.1.weight",
        "sem_seg_head.predictor.mask_embed.layers.2.bias": f"{decoder}.mask_predictor.mask_embedder.2.0.bias",
        "sem_seg_head.predictor.class_embed.weight": "class_predictor.weight",
    }
    for theirs, ours in pairs.items():
        assert own_names(theirs) == (ours,) and upstream_name(ours) == theirs
    block = f"{encoder}.swin.encoder.layers.0.blocks.1.attention"
    assert own_names("backbone.layers.0.blocks.1.attn.qkv.bias") == tuple(f"{block}.{part}_proj.bias" for part in "qkv")
    assert own_names("stem.fc.weight") == () and upstream_name("model.other") == ""


def test_fused_tensors_are_query_key_value():
    own = model("swin").network.state_dict()
    theirs = to_upstream(own)
    layer = "model.transformer_module.decoder.layers.0.self_attn"
    fused = theirs["sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight"]
    assert torch.equal(fused, torch.cat([own[f"{layer}.{part}_proj.weight"] for part in "qkv"]))


def test_the_index_of_relative_positions_is_the_networks_own():
    net = model("swin")
    bias = next(module for module in net.modules() if hasattr(module, "relative_position_index"))
    index = relative_position_index(bias.relative_position_bias_table)
    assert index.shape == (9, 9) and torch.equal(index.flatten(), bias.relative_position_index)


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("suffix", ["pkl", "pth"])
def test_a_whole_checkpoint_is_loaded(tmp_path, kind, suffix):
    source, target, path = model(kind, seed=1), model(kind, seed=2), tmp_path / f"model.{suffix}"
    state = upstream_state(source)
    if suffix == "pkl":
        path.write_bytes(pickle.dumps({"model": {key: value.numpy() for key, value in state.items()}, "__author__": "us"}))
    else:
        torch.save({"model": {f"module.{key}": value for key, value in state.items()}, "iteration": 3}, path)
    report = load_upstream(target, path)
    assert same(upstream_state(target), state)
    assert report.loaded == len(state) and not report.backbone_only and not report.reinitialised


def test_keys_of_the_first_releases_are_known(tmp_path):
    source, target, path = model(seed=1), model(seed=2), tmp_path / "old.pth"
    state = upstream_state(source)
    old = {key.replace("pixel_decoder.", "").replace("query_feat", "static_query"): value for key, value in state.items()}
    torch.save(old, path)
    load_upstream(target, path)
    assert same(upstream_state(target), state)


def test_another_number_of_classes_draws_the_head_anew_and_says_so(tmp_path):
    source, target, path = model(classes=3, seed=1), model(classes=5, seed=2), tmp_path / "other.pth"
    torch.save({"model": upstream_state(source)}, path)
    before = target.network.class_predictor.weight.clone()
    report = load_upstream(target, path)
    head = "sem_seg_head.predictor.class_embed"
    assert set(report.reinitialised) == {f"{head}.weight", f"{head}.bias", "criterion.empty_weight"}
    assert "re-initialised" in str(report) and target.network.class_predictor.weight.shape == before.shape
    assert not torch.equal(before, target.network.class_predictor.weight)
    mine, theirs = upstream_state(target), upstream_state(source)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine if key not in report.reinitialised)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_backbone_alone_is_loaded(tmp_path, kind):
    source, target, path = model(kind, seed=1), model(kind, seed=2), tmp_path / "backbone.pkl"
    state = {key.removeprefix("backbone."): value for key, value in upstream_state(source).items() if key.startswith("backbone.")}
    for number in range(4):  # classifiers have no norm of their own for each output
        for part in ("weight", "bias"):
            state.pop(f"norm{number}.{part}", None)
    extra = {"stem.fc.weight": torch.ones(2, 2)} if kind != "swin" else {"head.weight": torch.ones(2), "norm.weight": torch.ones(2)}
    head = upstream_state(target)["sem_seg_head.predictor.class_embed.weight"].clone()
    path.write_bytes(pickle.dumps({"model": {**state, **extra}, "__author__": "third_party", "matching_heuristics": True}))
    report = load_upstream(target, path)
    mine = upstream_state(target)
    assert report.backbone_only and set(report.ignored) == {f"backbone.{key}" for key in extra}
    assert all(torch.equal(mine[f"backbone.{key}"], value) for key, value in state.items())
    assert torch.equal(mine["sem_seg_head.predictor.class_embed.weight"], head)


@pytest.mark.parametrize(("options", "told"), [
    ({"kind": "bottleneck"}, "missing.*unexpected"),
    ({"decoder_layers": 3}, "unexpected.*transformer_"),
    ({"decoder_layers": 1}, "missing.*transformer_"),
    ({"queries": 6}, "query_embed.weight 6x32 for 5x32"),
])
def test_another_architecture_is_told_in_brief_and_changes_nothing(tmp_path, options, told):
    target, path = model(), tmp_path / "other.pth"
    torch.save(upstream_state(model(**options)), path)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(SegGenError, match=told) as caught:
        load_upstream(target, path)
    assert "other.pth" in str(caught.value) and len(str(caught.value)) < 1500
    assert same(target.state_dict(), before)


def test_a_deeper_backbone_is_told(tmp_path):
    path = tmp_path / "deep.pth"
    state = {key.removeprefix("backbone."): value for key, value in upstream_state(model()).items() if key.startswith("backbone.")}
    torch.save({**state, "res3.1.conv1.weight": torch.ones(8, 8, 3, 3)}, path)
    with pytest.raises(SegGenError, match="another backbone.*\n.*\n.*1 unexpected"):
        load_upstream(model(), path)


@pytest.mark.parametrize("content", [b"text", pickle.dumps([1]), pickle.dumps({"model": {}}), pickle.dumps({"model": {"a": 1}}),
                                     pickle.dumps({1: torch.ones(1)}, 2)])
@pytest.mark.parametrize("suffix", ["pkl", "pth"])
def test_other_files_are_told(tmp_path, content, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(SegGenError, match=path.name):
        load_upstream(model(), path)
    with pytest.raises(SegGenError, match="does not exist"):
        load_upstream(model(), tmp_path / f"absent.{suffix}")

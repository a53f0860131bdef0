# ruff: noqa: E402
"""Checkpoints: stock's and ours are interchangeable, files run nothing, and what does not fit is an error."""

import logging
import os
import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("mask2former")
from detectron2.checkpoint import DetectionCheckpointer

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin.model.checkpoint import SafeCheckpointer

from .mask2former_pair import build, config
from .test_meta_arch import SMALL

CHECKPOINTERS = [DetectionCheckpointer, SafeCheckpointer]


def make(kind="resnet18", arch="SegGenMask2Former", seed=0, **overrides):
    return build(config(kind, arch=arch, **{**SMALL[kind], **overrides}), seed)


def same(left, right):
    left, right = (model.state_dict() for model in (left, right))
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("checkpointer", CHECKPOINTERS)
@pytest.mark.parametrize("archs", [("MaskFormer", "SegGenMask2Former"), ("SegGenMask2Former", "MaskFormer"), ("SegGenMask2Former",) * 2])
def test_checkpoints_are_interchangeable(tmp_path, caplog, kind, checkpointer, archs):
    source, target = (make(kind, arch, seed) for seed, arch in enumerate(archs))
    DetectionCheckpointer(source, str(tmp_path)).save("model", iteration=3)
    with caplog.at_level(logging.WARNING):
        extra = checkpointer(target).load(str(tmp_path / "model.pth"))
    assert same(source, target) and extra == {"iteration": 3}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_trained_norms_keep_their_counters(tmp_path, norm):
    source, target = (make(seed=seed, MODEL__RESNETS__NORM=norm) for seed in (0, 1))
    source.backbone.embedder.embedder.normalization.num_batches_tracked.fill_(5)
    target.load_state_dict(source.state_dict())
    assert target.backbone.embedder.embedder.normalization.num_batches_tracked == (5 if norm == "BN" else 0)


class Wrapper(torch.nn.Module):
    """Names everything ``module.…``, as DistributedDataParallel does."""

    def __init__(self, module):
        super().__init__()
        self.module = module


def test_a_wrapped_model_speaks_the_same_names():
    bare, wrapped = make(), Wrapper(make(seed=1))
    state = wrapped.state_dict()
    assert {name.removeprefix("module.") for name in state} == bare.state_dict().keys()
    wrapped.load_state_dict({f"module.{name}": value for name, value in bare.state_dict().items()})
    assert same(bare, wrapped.module)


def test_what_is_missing_is_told_by_upstreams_names_each_once():
    model = Wrapper(make())
    state = model.state_dict()
    attention = "module.sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight"
    for name in (attention, "module.backbone.stem.conv1.weight"):
        del state[name]
    found = model.load_state_dict({**state, "module.more": torch.ones(1)}, strict=False)
    assert sorted(found.missing_keys) == ["module.backbone.stem.conv1.weight", attention]
    assert found.unexpected_keys == ["module.more"]


def backbone_file(path, model, *, numpy, **extra):
    """A backbone's ``.pkl`` as Mask2Former's conversion tools write it."""
    state = {name.removeprefix("backbone."): value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    state = {name: value for name, value in state.items() if not name.startswith("norm")} | extra
    weights = {name: value.numpy() if numpy else value for name, value in state.items()}
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "third_party", "matching_heuristics": True}))
    return state


@pytest.mark.parametrize("arch", ["MaskFormer", "SegGenMask2Former"])
@pytest.mark.parametrize("checkpointer", CHECKPOINTERS)
@pytest.mark.parametrize(("kind", "numpy"), [("resnet18", True), ("swin-t", False)])
def test_a_backbones_file_is_loaded(tmp_path, arch, checkpointer, kind, numpy):
    source, target, path = make(kind, seed=1), make(kind, arch), tmp_path / "backbone.pkl"
    state = backbone_file(path, source, numpy=numpy, **{"stem.fc.weight": torch.ones(2, 2)})
    checkpointer(target).load(str(path))
    loaded = target.state_dict()
    assert all(torch.equal(loaded[f"backbone.{name}"], value) for name, value in state.items() if name != "stem.fc.weight")


@pytest.mark.parametrize("arch", ["MaskFormer", "SegGenMask2Former"])
def test_another_class_count_keeps_the_new_head_and_is_said(tmp_path, caplog, arch):
    source, target = make(seed=1, MODEL__SEM_SEG_HEAD__NUM_CLASSES=4), make(arch=arch)
    head = target.state_dict()["sem_seg_head.predictor.class_embed.weight"].clone()
    DetectionCheckpointer(source, str(tmp_path)).save("model")
    with caplog.at_level(logging.WARNING):
        SafeCheckpointer(target).load(str(tmp_path / "model.pth"))
    assert "re-initialised for another number of categories" in caplog.text and "class_embed.weight" in caplog.text
    mine, theirs = target.state_dict(), source.state_dict()
    assert torch.equal(mine["sem_seg_head.predictor.class_embed.weight"], head)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if "class_embed" not in name and "empty_weight" not in name)


@pytest.mark.parametrize("kind", SMALL)
def test_a_hosts_checkpointer_passes_over_another_class_count(tmp_path, kind):
    """It looks up what holds each weight of another shape by the name of the weight."""
    source, target = make(kind, "MaskFormer", 1, MODEL__SEM_SEG_HEAD__NUM_CLASSES=4), make(kind)
    DetectionCheckpointer(source, str(tmp_path)).save("model")
    DetectionCheckpointer(target).load(str(tmp_path / "model.pth"))
    mine, theirs = target.state_dict(), source.state_dict()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == [
        name for name in mine if mine[name].shape != theirs[name].shape
    ]


@pytest.mark.parametrize("extra", [{}, {"__author__": "somebody"}, {"__author__": "somebody", "matching_heuristics": True}])
def test_a_whole_models_pickle_is_loaded(tmp_path, extra):
    source, target, path = make("swin-t", seed=1, MODEL__SEM_SEG_HEAD__NUM_CLASSES=4), make("swin-t"), tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": {name: value.numpy() for name, value in source.state_dict().items()}, **extra}))
    SafeCheckpointer(target).load(str(path))
    mine, theirs = target.state_dict(), source.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if mine[name].shape == theirs[name].shape)


@pytest.mark.parametrize("name", ["model.pkl", "model.pth"])
@pytest.mark.parametrize("content", [{"model": 3}, {"model": {1: 2}}, {1: 2}])
def test_a_file_without_weights_is_told(tmp_path, name, content):
    (torch.save if name.endswith("pth") else lambda value, path: path.write_bytes(pickle.dumps(value)))(content, tmp_path / name)
    with pytest.raises(SegGenError, match="holds no weights"):
        SafeCheckpointer(make()).load(str(tmp_path / name))


@pytest.mark.parametrize(("overrides", "told"), [
    ({"MODEL__MASK_FORMER__DEC_LAYERS": 5}, "unexpected .*transformer_"),
    ({"MODEL__MASK_FORMER__NUM_OBJECT_QUERIES": 30}, "query_embed.weight 30x64 for 20x64"),
])
def test_another_architecture_is_an_error(tmp_path, overrides, told):
    DetectionCheckpointer(make(**overrides), str(tmp_path)).save("model")
    with pytest.raises(SegGenError, match=told):
        SafeCheckpointer(make()).load(str(tmp_path / "model.pth"))


def test_another_backbone_is_an_error(tmp_path):
    path = tmp_path / "backbone.pkl"
    backbone_file(path, make("swin-t"), numpy=False)
    with pytest.raises(SegGenError, match=r"another backbone(.|\n)*missing \(backbone\.res2(.|\n)*unexpected \(backbone\.layers"):
        SafeCheckpointer(make()).load(str(path))


class Attack:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("suffix", ["pkl", "pth", "pyth"])
def test_a_file_that_carries_code_is_refused(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil.{suffix}"
    content = {"model": {"backbone.stem.conv1.weight": Attack()}, "__author__": "x"}
    if suffix == "pth":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(SegGenError, match=path.name):
        SafeCheckpointer(make()).load(str(path))
    assert not (tmp_path / "ran").exists()


def test_training_resumes_through_it(tmp_path):
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    checkpointer = SafeCheckpointer(model, str(tmp_path), optimizer=optimizer)
    checkpointer.save("model_0000001", iteration=1)
    other = make(seed=1)
    assert SafeCheckpointer(other, str(tmp_path), optimizer=optimizer).resume_or_load("", resume=True)["iteration"] == 1
    assert same(model, other)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SegGenError, match="no checkpoint at .*absent.pth"):
        SafeCheckpointer(torch.nn.Linear(1, 1)).load(str(tmp_path / "absent.pth"))


@pytest.mark.parametrize("kind", SMALL)
def test_a_folder_that_transformers_wrote_is_read(tmp_path, kind):
    source, target = make(kind), make(kind, seed=1)
    source.model.network.save_pretrained(tmp_path / "model_final")
    SafeCheckpointer(target).load(str(tmp_path / "model_final"))
    assert same(source, target)


def test_a_folder_of_something_else_is_told(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(SegGenError, match="transformers cannot read the folder"):
        SafeCheckpointer(make("resnet18")).load(str(tmp_path))

# ruff: noqa: E402
"""A backbone's folder as MODEL.WEIGHTS with Detectron2: this package's model and stock ones start from it."""

import logging

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("mask2former")

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling.backbone_weights import whole_model
from seggen_d2.modeling.finished import SHIPPED, final_model
from seggen_d2.plugin.model.checkpoint import SafeCheckpointer

from .test_checkpoint import make
from .test_meta_arch import SMALL


@pytest.fixture(params=SMALL)
def folder(request, tmp_path):
    """As tools/train_backbone.py leaves it, of a model whose norms have seen something."""
    source = make(request.param)
    for name, value in source.backbone.named_buffers():
        if name.endswith("running_mean"):
            value.uniform_(-1, 1)
    source.backbone.save_pretrained(tmp_path)
    return request.param, source, tmp_path


@pytest.mark.parametrize("arch", ["SegGenMask2Former", "MaskFormer"])
def test_the_backbone_comes_along_and_the_rest_stays(folder, caplog, arch):
    kind, source, place = folder
    target = make(kind, arch, seed=1)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        SafeCheckpointer(target).load(str(place))
    wanted, found = source.state_dict(), target.state_dict()
    for name, value in found.items():
        assert torch.equal(value, (wanted if name.startswith("backbone.") else before)[name]), name
    assert any(name.startswith("backbone.") and not torch.equal(before[name], found[name]) for name in found)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_that_of_another_network_is_refused(folder):
    kind, _, place = folder
    other = make(next(name for name in SMALL if name != kind))
    with pytest.raises(SegGenError, match="another backbone"):
        SafeCheckpointer(other).load(str(place))


def test_a_backbone_is_nothing_to_evaluate(folder):
    assert whole_model(str(folder[2]), "detectron2") == whole_model("") == ""
    assert all(final_model(name, "detectron2") == final_model(name) for name in SHIPPED)

# ruff: noqa: E402
"""Models on disk: what a folder gives back, also as a run's, and what is refused."""

import json
import logging

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from test_modeling_mask2former import SMALL, model, sample

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import Outputs, build_mask2former, load_mask2former
from seggen_d2.modeling.checkpoint import load_weights, save_network
from seggen_d2.segmentation import Categories, Category

NAMES = ("sky", "road", "car")
SWIN = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
MEAN, STD = (100.25, 110.5, 120.75), (50.5, 60.25, 70.125)


def named(**options):
    return model(class_names=NAMES, **options)


def scores(net):
    return net.eval()([sample(24, 40)])[0]["sem_seg"]


@pytest.mark.parametrize("backbone", [{}, {"backbone": "swin-tiny", "backbone_options": SWIN}], ids=["resnet", "swin"])
def test_a_folder_gives_the_model_back(tmp_path, backbone):
    net = named(pixel_mean=MEAN, pixel_std=STD, size_divisibility=8, test_size=(48, 96), pre_norm=True, **backbone)
    save_network(net, tmp_path)
    loaded = load_mask2former(tmp_path)
    assert loaded.class_names == NAMES and loaded.test_size == (48, 96) and loaded.size_divisibility == 8 and not loaded.training
    assert torch.allclose(loaded.pixel_mean, net.pixel_mean, atol=1e-4) and torch.allclose(loaded.pixel_std, net.pixel_std, atol=1e-4)
    own, back = net.network.state_dict(), loaded.network.state_dict()
    assert own.keys() == back.keys() and all(torch.equal(own[name], back[name]) for name in own)
    assert torch.allclose(scores(loaded), scores(net), atol=1e-5)
    other = build_mask2former(3, **{**SMALL, "pre_norm": True, **backbone})
    load_weights(other, tmp_path)
    assert all(torch.equal(own[name], value) for name, value in other.network.state_dict().items())


def test_it_trains_on_with_the_same_losses(tmp_path):
    net = named(class_weight=3.0, no_object_weight=0.3)
    save_network(net, tmp_path)
    losses = []
    for each in (net, load_mask2former(tmp_path).train()):
        torch.manual_seed(1)
        losses.append(each([sample(), sample(seed=1)]))
    assert all(torch.equal(value, losses[1][name]) for name, value in losses[0].items())


def test_a_finished_runs_folder_stands_for_its_final_model(tmp_path):
    save_network(named(), tmp_path / "model_final")
    assert load_mask2former(tmp_path).class_names == load_mask2former(str(tmp_path / "model_final")).class_names == NAMES
    things = Categories(tuple(Category(name, name == "car") for name in NAMES))
    outputs = Outputs(panoptic=True, is_thing=tuple(item.isthing for item in things.items))
    assert set(load_mask2former(tmp_path, things, outputs)([sample(32, 64)])[0]) == {"sem_seg", "panoptic_seg"}


def test_a_folder_of_transformers_alone_gets_imagenets_statistics_and_a_line(tmp_path, caplog):
    named(pixel_mean=MEAN).network.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        loaded = load_mask2former(tmp_path)
    assert "preprocessor_config.json" in caplog.text and loaded.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(SegGenError, match="no model at"):
        load_mask2former(tmp_path / "absent")
    (tmp_path / "begun/stage-0").mkdir(parents=True)
    with pytest.raises(SegGenError, match=r"no model that can be opened(.|\n)*stage-0"):
        load_mask2former(tmp_path / "begun")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/model_final.pth").write_bytes(b"x")
    with pytest.raises(SegGenError, match=r"no model that can be opened(.|\n)*model_final.pth(.|\n)*SEGGEN.ENGINE transformers"):
        load_mask2former(tmp_path / "theirs")
    (tmp_path / "begun/config.json").write_text(json.dumps({"model_type": "segformer"}))
    (tmp_path / "begun/model.safetensors").write_bytes(b"x")
    with pytest.raises(SegGenError, match=r"another architecture(.|\n)*mask2former(.|\n)*segformer"):
        load_mask2former(tmp_path / "begun")


def test_other_categories_and_damaged_weights_are_refused(tmp_path):
    save_network(named(), tmp_path)
    with pytest.raises(SegGenError, match=r"categories of the dataset and the model(.|\n)*'bus' against 'car'"):
        load_mask2former(tmp_path, Categories.from_names(("sky", "road", "bus")))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SegGenError, match="truncated"):
        load_mask2former(tmp_path)
    path.unlink()
    with pytest.raises(SegGenError, match="no checkpoint at"):
        load_mask2former(tmp_path)

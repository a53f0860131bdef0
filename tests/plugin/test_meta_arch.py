# ruff: noqa: E402
"""SegGenMask2Former in Detectron2: its config keys, inputs, optimizer groups, and what it refuses."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
mask2former = pytest.importorskip("mask2former")
from detectron2.structures import BitMasks, PolygonMasks

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling.upstream_names import upstream_name
from seggen_d2.plugin.model.architecture import UNHONOURED_KEYS

from .mask2former_pair import build, config, fixed_points, pair, samples

SMALL = {
    "resnet18": {"MODEL__RESNETS__RES2_OUT_CHANNELS": 64},
    "swin-t": {"MODEL__SWIN__EMBED_DIM": 24, "MODEL__SWIN__DEPTHS": [2, 2, 2, 2]},
}
SIZES = [(64, 96), (50, 70)]


def small(kind="resnet18", **overrides):
    return config(kind, **{**SMALL[kind], **overrides})


def stock_trainer():
    """Mask2Former's own train_net.py."""
    path = Path(mask2former.__file__).parents[1] / "train_net.py"
    if not path.is_file():
        pytest.skip("mask2former was installed without its train_net.py")
    spec = importlib.util.spec_from_file_location("mask2formers_train_net", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Trainer


def groups_by_name(model, trainer, cfg, rename):
    """{upstream name: (learning rate, weight decay)} by upstream's own rules."""
    names = {id(parameter): rename(name) for name, parameter in model.named_parameters()}
    groups = trainer.build_optimizer(cfg, model).param_groups
    return {names[id(parameter)]: (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}


def upstream(name):
    encoder = "model.pixel_level_module.encoder."
    own = encoder + name.removeprefix("backbone.") if name.startswith("backbone.") else name.removeprefix("model.network.")
    return upstream_name(own)


@pytest.mark.parametrize(("kind", "norm"), [("resnet18", "FrozenBN"), ("resnet18", "BN"), ("swin-t", "FrozenBN")])
def test_upstreams_optimizer_rules_see_the_same_groups(kind, norm):
    keys = {**SMALL[kind], "MODEL__RESNETS__NORM": norm, "SOLVER__WEIGHT_DECAY": 0.05, "SOLVER__BASE_LR": 1e-4}
    cfg, trainer = config(kind, **keys), stock_trainer()
    expected = groups_by_name(build(config(kind, arch="MaskFormer", **keys)), trainer, cfg, str)
    found = groups_by_name(build(cfg), trainer, cfg, upstream)
    assert found == expected
    assert all(lr == pytest.approx(1e-5 if name.startswith("backbone.") else 1e-4) for name, (lr, _) in found.items())
    assert found["sem_seg_head.predictor.query_feat.weight"] == (1e-4, 0.0)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("results", [("SEMANTIC_ON",), ("PANOPTIC_ON", "INSTANCE_ON"), ("INSTANCE_ON",)])
def test_results_are_stocks_for_every_flag(first, results):
    flags = {f"MODEL__MASK_FORMER__TEST__{flag}": flag in results for flag in ("SEMANTIC_ON", "PANOPTIC_ON", "INSTANCE_ON")}
    flags["MODEL__MASK_FORMER__TEST__SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE"] = first or len(results) > 1
    stock, ours = (model.eval() for model in pair("resnet18", **SMALL["resnet18"], **flags, MODEL__MASK_FORMER__SIZE_DIVISIBILITY=-1))
    with torch.no_grad():
        expected, found = stock(samples(SIZES)), ours(samples(SIZES))
    for theirs, mine in zip(expected, found, strict=True):
        assert theirs.keys() == mine.keys()
        if "sem_seg" in mine:
            assert torch.allclose(theirs["sem_seg"], mine["sem_seg"], atol=1e-4)
        if "panoptic_seg" in mine:
            assert theirs["panoptic_seg"][1] == mine["panoptic_seg"][1]
        if "instances" in mine:
            assert torch.equal(theirs["instances"].pred_classes, mine["instances"].pred_classes)
            assert torch.allclose(theirs["instances"].scores, mine["instances"].scores, atol=1e-4)


@pytest.mark.parametrize("kind", SMALL)
def test_gradients_are_stocks(monkeypatch, kind):
    stock, ours = (model.train() for model in pair(kind, **SMALL[kind]))
    with fixed_points(monkeypatch):
        for model in (stock, ours):
            sum(model(samples(SIZES)).values()).backward()
    mine = {}
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            mine.setdefault(upstream(name), {})[next((part for part in "qkv" if f".{part}_proj." in name), "")] = parameter.grad
    theirs = {name: parameter.grad for name, parameter in stock.named_parameters() if parameter.requires_grad}
    assert mine.keys() == theirs.keys()
    for name, parts in mine.items():
        gradient = parts[""] if "" in parts else torch.cat([parts[part] for part in "qkv"])
        assert torch.allclose(gradient, theirs[name], atol=1e-4 + 1e-3 * theirs[name].abs().max().item()), name


UNUSUAL = {
    "norms first": {"MODEL__MASK_FORMER__PRE_NORM": True},
    "another width of queries": {"MODEL__MASK_FORMER__HIDDEN_DIM": 96},
    "a projection of equal widths": {"MODEL__MASK_FORMER__ENFORCE_INPUT_PROJ": True},
    "dropout": {"MODEL__MASK_FORMER__DROPOUT": 0.3},
    "means and sizes": {"MODEL__PIXEL_MEAN": [1.0, 2.0, 3.0], "MODEL__PIXEL_STD": [2.0, 3.0, 4.0],
                        "MODEL__MASK_FORMER__SIZE_DIVISIBILITY": 48},
    "stride in the first convolution": {"MODEL__RESNETS__DEPTH": 50, "MODEL__RESNETS__STRIDE_IN_1X1": True,
                                        "MODEL__RESNETS__RES2_OUT_CHANNELS": 256},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_less_usual_keys_are_honoured_as_in_stock(name):
    stock, ours = (model.eval() for model in pair("resnet18", **{**SMALL["resnet18"], **UNUSUAL[name]}))
    with torch.no_grad():
        expected, found = (model(samples(SIZES))[0]["sem_seg"] for model in (stock, ours))
    assert torch.allclose(expected, found, atol=1e-4)


@pytest.mark.parametrize("kind", SMALL)
def test_random_weights_are_spread_as_stocks(kind):
    keys = {**SMALL[kind], "MODEL__MASK_FORMER__HIDDEN_DIM": 96}  # a projection before the decoder, too
    expected, found = (build(config(kind, arch=arch, **keys)).state_dict() for arch in ("MaskFormer", "SegGenMask2Former"))
    for name, value in expected.items():
        if value.is_floating_point() and (value.numel() > 4000 or value.std() == 0):
            assert found[name].std().item() == pytest.approx(value.std().item(), rel=0.12, abs=1e-6), name
            assert (found[name].mean() - value.mean()).abs() < 0.05 * value.std() + 1e-4, name


def test_masks_may_be_bitmasks_and_nothing_to_learn_from_is_told(monkeypatch):
    model = build(small()).train()
    plain, bits = samples(SIZES), samples(SIZES)
    for sample in bits:
        sample["instances"].gt_masks = BitMasks(sample["instances"].gt_masks)
    with fixed_points(monkeypatch):
        first, second = model(plain), model(bits)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for masks in (PolygonMasks([]), None):
        broken = samples(SIZES[:1], segments=(0,))
        broken[0]["instances"].remove("gt_masks")
        if masks is not None:
            broken[0]["instances"].gt_masks = masks
        with pytest.raises(SegGenError, match="MASK_FORMAT"):
            model(broken)
    with pytest.raises(SegGenError, match="no masks"):
        model([{"image": plain[0]["image"]}])


def test_deep_supervision_can_be_off():
    model = build(small(MODEL__MASK_FORMER__DEEP_SUPERVISION=False)).train()
    assert set(model(samples(SIZES))) == {"loss_ce", "loss_mask", "loss_dice"} == set(model.last_losses)


def test_norms_are_as_the_config_says():
    frozen, trained, synchronised = (build(small(MODEL__RESNETS__NORM=norm)).train() for norm in ("FrozenBN", "BN", "SyncBN"))

    def norms(model):
        return [module for module in model.backbone.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]

    assert all(not norm.training and not norm.weight.requires_grad for norm in norms(frozen))
    assert all(norm.training and norm.weight.requires_grad for norm in norms(trained))
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms(synchronised))
    assert "backbone.stem.conv1.norm.num_batches_tracked" in trained.state_dict()
    stem = build(small(MODEL__RESNETS__NORM="BN", MODEL__BACKBONE__FREEZE_AT=1)).train().backbone.embedder
    assert not any(parameter.requires_grad for parameter in stem.parameters()) and not stem.embedder.normalization.training


def test_the_packages_own_backbones_serve():
    cfg = config()
    cfg.set_new_allowed(True)
    cfg.MODEL.BACKBONE.set_new_allowed(True)
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "tiny-resnet"])
    cfg.MODEL.BACKBONE.OPTIONS = type(cfg)({"embedding_size": 16})
    cfg.MODEL.BACKBONE.FREEZE_NORM = False
    model = build(cfg).train()
    assert model.backbone.embedder.embedder.convolution.out_channels == 16 and model.backbone.embedder.training
    assert all(torch.isfinite(value) for value in model(samples(SIZES)).values())


def test_checkpointed_activations_change_no_loss(monkeypatch):
    keys = {**SMALL["swin-t"], "MODEL__SWIN__USE_CHECKPOINT": True}
    plain, saving = build(small("swin-t")).train(), build(config("swin-t", **keys)).train()
    saving.load_state_dict(plain.state_dict())
    with fixed_points(monkeypatch):
        expected, found = sum(plain(samples(SIZES)).values()), sum(saving(samples(SIZES)).values())
    assert torch.allclose(expected, found)
    found.backward()
    assert saving.backbone.swin.encoder.layers[0].blocks[0].mlp.fc1.weight.grad is not None


@pytest.mark.parametrize(("overrides", "told"), [
    ({"MODEL__SEM_SEG_HEAD__PIXEL_DECODER_NAME": "BasePixelDecoder"}, "PIXEL_DECODER_NAME"),
    ({"MODEL__SEM_SEG_HEAD__NORM": "BN"}, "SEM_SEG_HEAD.NORM"),
    ({"MODEL__RESNETS__NORM": "GN"}, "RESNETS.NORM"),
    ({"MODEL__RESNETS__DEPTH": 77}, "RESNETS.DEPTH"),
    ({"MODEL__RESNETS__RES5_DILATION": 2}, "RES5_DILATION"),
    ({"MODEL__BACKBONE__NAME": "build_vit"}, "BACKBONE.NAME"),
    ({"MODEL__BACKBONE__NAME": "D2SwinTransformer", "MODEL__SWIN__APE": True}, "SWIN.APE"),
    ({"DATASETS__TRAIN": ("a_set_without_things",)}, "tells things from stuff"),
])
def test_a_part_that_it_does_not_have_is_refused(overrides, told):
    with pytest.raises(SegGenError, match=told):
        build(config("resnet50", **overrides))


def test_keys_that_change_nothing_exist():
    cfg = config()
    for key in UNHONOURED_KEYS:
        node = cfg
        for part in key.split(".")[:-1]:
            node = node[part]
        assert key.rpartition(".")[2] in node or key.endswith(("STEM_TYPE", "RES5_MULTI_GRID")), key  # deeplab's

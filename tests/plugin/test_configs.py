"""Configs on the real packages: our keys are theirs, and the shipped files are upstream's but for what is listed here."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from detectron2.config import get_cfg
from detectron2.projects.deeplab import add_deeplab_config

from seggen_d2.engine.config import flatten, to_dict
from seggen_d2.engine.defaults import get_defaults
from seggen_d2.engine.dialects import ALWAYS, DETECTRON2_DEFAULTS, plain
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin.config import add_seggen_config, complete, load_config
from seggen_d2.plugin.config_keys import add_mask2former_keys

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
ADE, PANOPTIC, INSTANCE = "ade20k/semantic-segmentation", "coco/panoptic-segmentation", "coco/instance-segmentation"
UPSTREAM = {  # ours: Mask2Former's file
    f"{ADE}/mask2former_R50_real.yaml": f"{ADE}/maskformer2_R50_bs16_160k.yaml",
    f"{ADE}/mask2former_swin-large_real.yaml": f"{ADE}/swin/maskformer2_swin_large_IN21k_384_bs16_160k_res640.yaml",
    f"{PANOPTIC}/mask2former_R50_real.yaml": f"{PANOPTIC}/maskformer2_R50_bs16_50ep.yaml",
    f"{PANOPTIC}/mask2former_swin-large_real.yaml": f"{PANOPTIC}/swin/maskformer2_swin_large_IN21k_384_bs16_100ep.yaml",
    f"{INSTANCE}/mask2former_R50_real.yaml": f"{INSTANCE}/maskformer2_R50_bs16_50ep.yaml",
    f"{INSTANCE}/mask2former_swin-large_real.yaml": f"{INSTANCE}/swin/maskformer2_swin_large_IN21k_384_bs16_100ep.yaml",
}
MASKDINO = {
    f"{PANOPTIC}/maskdino_swin-large_real.yaml": f"{PANOPTIC}/swin/maskdino_R50_bs16_50ep_4s_dowsample1_2048.yaml"
}
INTENDED = {  # what differs in every file, and why
    "MODEL.META_ARCHITECTURE": "this package's model needs no compiled op",
    "MODEL.DEVICE": "a GPU where there is one",
    "OUTPUT_DIR": "a folder for each file",
}
NAMED = {"SOLVER.AMP.DTYPE": "fp16"}  # keys of this package's that say what upstream does without a key
OF_A_SETTING = {  # what a setting's file changes of its baseline
    "swap": {"OUTPUT_DIR", "SEGGEN.BANK_ROOT", "SEGGEN.BANKS"},
    "swap-masksyn": {"OUTPUT_DIR", "SEGGEN.BANK_ROOT", "SEGGEN.BANKS"},
    "swap-imgsyn": {"OUTPUT_DIR", "SEGGEN.BANK_ROOT", "SEGGEN.BANKS"},
    "synthetic": {"OUTPUT_DIR", "SEGGEN.BANK_ROOT", "SEGGEN.BANKS", "SEGGEN.P_AUG"},
    "pretrain-finetune": {"OUTPUT_DIR", "SEGGEN.BANK_ROOT", "SEGGEN.BANKS", "SEGGEN.STAGES"},
    "pretrain-real": {"OUTPUT_DIR", "SEGGEN.STAGES"},
}
DERIVED = sorted(
    path.relative_to(CONFIGS).as_posix()
    for folder in (ADE, PANOPTIC, INSTANCE)
    for path in (CONFIGS / folder).glob("mask2former_*.yaml")
    if not path.stem.endswith("_real")
)


def flat(cfg):
    return {key: plain(value) for key, value in flatten(to_dict(cfg))}


def stock():
    cfg = get_cfg()
    add_deeplab_config(cfg)
    return cfg


def of_mask2former():
    """Detectron2's, DeepLab's and Mask2Former's keys by the packages themselves, and Mask2Former's folder of configs."""
    mask2former = pytest.importorskip("mask2former")
    cfg = stock()
    mask2former.add_maskformer2_config(cfg)
    return cfg, Path(find_spec("mask2former").origin).parents[1] / "configs"


def differing(one, other):
    return {key for key in {*one, *other} if one.get(key, "none") != other.get(key, "none")}


def test_mask2formers_keys_and_defaults_are_the_packages_own():
    ours, (theirs, _) = stock(), of_mask2former()
    add_mask2former_keys(ours)
    assert flat(ours) == flat(theirs)


def test_the_defaults_of_a_detectron2_file_are_detectron2s():
    theirs, ours = flat(of_mask2former()[0]), {**flat(get_defaults()), **ALWAYS}
    shared = {key for key in ours if key in theirs} - {"SEED", "OUTPUT_DIR", "MODEL.DEVICE"}
    assert {key: theirs[key] for key in shared if theirs[key] != ours[key]} == DETECTRON2_DEFAULTS


def test_our_keys_go_on_any_config_in_any_order_and_change_nothing():
    before, (theirs, _) = flat(of_mask2former()[0]), of_mask2former()
    add_seggen_config(theirs)
    assert {key: flat(theirs)[key] for key in before} == before
    theirs.SEGGEN.P_AUG = 0.25
    theirs.freeze()
    add_seggen_config(theirs)
    assert theirs.is_frozen() and theirs.SEGGEN.P_AUG == 0.25
    first = stock()
    add_seggen_config(first)
    pytest.importorskip("mask2former").add_maskformer2_config(first)
    assert {**flat(theirs), "SEGGEN.P_AUG": 0.6} == flat(first)


@pytest.mark.parametrize("name", UPSTREAM)
def test_baselines_are_upstreams_key_by_key(name):
    theirs, folder = of_mask2former()
    if not folder.is_dir():
        pytest.skip("Mask2Former's configs do not lie beside its package")
    theirs.merge_from_file(str(folder / UPSTREAM[name]))
    ours, ignored = load_config(CONFIGS / name)
    assert not ignored
    found = {key: value for key, value in flat(ours).items() if key in flat(theirs)}
    assert differing(found, flat(theirs)) - {"MODEL.DEVICE"} == INTENDED.keys() - {"MODEL.DEVICE"}
    extra = flat(ours).keys() - found.keys()
    assert {key: flat(ours)[key] for key in extra} == {key: flat(get_defaults())[key] for key in extra} | NAMED


@pytest.mark.parametrize("file", [file for file in UPSTREAM.values() if file.startswith("coco")])
def test_upstreams_own_files_load_as_upstream_loads_them(file):
    theirs, folder = of_mask2former()
    if not folder.is_dir():
        pytest.skip("Mask2Former's configs do not lie beside its package")
    theirs.merge_from_file(str(folder / file))
    ours, ignored = load_config(folder / file)
    assert not ignored and {key: flat(ours)[key] for key in flat(theirs)} == {
        **flat(theirs), "MODEL.DEVICE": ours.MODEL.DEVICE
    }


@pytest.mark.parametrize("name", DERIVED)
def test_settings_differ_from_their_baseline_by_what_is_listed(name):
    stem, setting = name.removesuffix(".yaml").rsplit("_", 1)
    baseline, ours = (flat(load_config(CONFIGS / file)[0]) for file in (f"{stem}_real.yaml", name))
    assert differing(ours, baseline) == OF_A_SETTING[setting]
    assert ours["SEGGEN.P_AUG"] == (1.0 if setting == "synthetic" else 0.6)


def test_stock_mask2former_is_one_override_away():
    cfg, ignored = load_config(CONFIGS / ADE / "mask2former_R50_swap.yaml", ["MODEL.META_ARCHITECTURE", "MaskFormer"])
    assert (cfg.MODEL.META_ARCHITECTURE, ignored) == ("MaskFormer", [])


MASKDINO_SCRIPT = """
import json, sys, types
sys.modules.setdefault("MultiScaleDeformableAttention", types.ModuleType("MultiScaleDeformableAttention"))
from importlib.util import find_spec
from pathlib import Path
from seggen_d2.engine.config import flatten, to_dict
from seggen_d2.plugin.config import host_config, load_config

ours, upstream = sys.argv[1:]
theirs = host_config("MaskDINO")
theirs.merge_from_file(str(Path(find_spec("maskdino").origin).parents[1] / "configs" / upstream))
settings = {name: load_config(ours.replace("_real", f"_{name}"))[0] for name in ("real", "swap", "pretrain-finetune")}
print(json.dumps({name: dict(flatten(to_dict(cfg))) for name, cfg in {**settings, "theirs": theirs}.items()}))
"""


@pytest.mark.skipif(find_spec("maskdino") is None, reason="Mask DINO is not installed")
@pytest.mark.parametrize("name", MASKDINO)
def test_mask_dinos_baseline_is_upstreams_and_its_settings_differ_as_listed(name):
    command = [sys.executable, "-c", MASKDINO_SCRIPT, str(CONFIGS / name), MASKDINO[name]]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    configs = json.loads(out.stdout.splitlines()[-1])
    different = differing(configs["real"], configs["theirs"]) - {"MODEL.DEVICE"}
    assert different == {"OUTPUT_DIR", "SEGGEN.MAPPER", *NAMED}  # Mask DINO's own mapper
    for setting in ("swap", "pretrain-finetune"):
        assert differing(configs[setting], configs["real"]) == OF_A_SETTING[setting]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/real*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_this_packages_own_files_load_for_detectron2(path):
    cfg, ignored = load_config(path)
    assert not ignored and cfg.is_frozen()
    assert (cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.BACKBONE.NAME) == ("SegGenMask2Former", "tiny-resnet")
    assert (cfg.INPUT.FORMAT, cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE) == ("RGB", "full_model")
    assert cfg.MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS == cfg.MODEL.MASK_FORMER.NHEADS == 4


def test_steps_as_shares_become_iterations_and_options_are_a_mapping():
    pairs = ["SOLVER.STEPS", "(0.5, 0.7)", "SOLVER.MAX_ITER", "90", "MODEL.BACKBONE.OPTIONS", "{'embedding_size': 16}"]
    cfg, _ = load_config(None, pairs)
    assert cfg.SOLVER.STEPS == (45, 63) and dict(cfg.MODEL.BACKBONE.OPTIONS) == {"embedding_size": 16}


def test_a_stock_model_takes_our_backbones_by_its_own_names_and_what_it_ignores_is_listed():
    pairs = ["MODEL.META_ARCHITECTURE", "MaskFormer", "MODEL.SEM_SEG_HEAD.ENC_FEEDFORWARD_DIM", "512"]
    cfg, ignored = load_config(None, [*pairs, "MODEL.BACKBONE.NAME", "swin-large"])
    assert (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.SWIN.EMBED_DIM) == ("D2SwinTransformer", 192)
    assert ignored == ["MODEL.SEM_SEG_HEAD.ENC_FEEDFORWARD_DIM"]
    with pytest.raises(SegGenError, match="tiny-resnet is this package's own"):
        load_config(None, [*pairs, "MODEL.BACKBONE.NAME", "tiny-resnet"])


@pytest.mark.parametrize(
    ("pair", "listed"),
    [
        (["TEST.PRECISE_BN.ENABLED", "True"], ["TEST.PRECISE_BN.ENABLED"]),
        (["TEST.AUG.ENABLED", "True"], []),
        (["INPUT.RANDOM_FLIP", "none"], ["INPUT.RANDOM_FLIP"]),
        (["MODEL.BACKBONE.WEIGHTS", "microsoft/resnet-50"], ["MODEL.BACKBONE.WEIGHTS"]),
        (["MODEL.MASK_FORMER.ENC_LAYERS", "3"], ["MODEL.MASK_FORMER.ENC_LAYERS"]),
        (["MODEL.MASK_FORMER.DEC_LAYERS", "4", "SEGGEN.EMA", "0.99", "MODEL.ROI_HEADS.NUM_CLASSES", "3"], []),
    ],
)
def test_keys_that_nothing_reads_are_listed_where_given(pair, listed):
    assert load_config(CONFIGS / ADE / "mask2former_R50_swap.yaml", pair)[1] == listed


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (["SEGGEN.PAUG", "0.6"], "did you mean 'SEGGEN.P_AUG'?"),
        (["SOLVER.MAX_ITER", "many"], "expected: int"),
        (["SEGGEN.P_AUG", "1.2"], "0 <= SEGGEN.P_AUG <= 1"),
        (["SEGGEN.SAMPLING", "unifrom"], "'uniform'"),
        (["SEGGEN.MAPPER", "mine"], "seggen | host"),
    ],
)
def test_what_is_wrong_is_named(pair, words):
    with pytest.raises(SegGenError) as caught:
        load_config(CONFIGS / ADE / "mask2former_R50_swap.yaml", pair)
    assert words in str(caught.value)


def test_the_number_of_classes_comes_from_the_dataset():
    from detectron2.data import MetadataCatalog

    MetadataCatalog.get("configs_of_three").set(stuff_classes=["a", "b", "c"])
    cfg, _ = load_config(None, ["DATASETS.TRAIN", "['configs_of_three']"])
    complete(cfg)
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 3 and cfg.is_frozen()
    MetadataCatalog.remove("configs_of_three")


@pytest.mark.parametrize("name", UPSTREAM)
def test_this_packages_model_has_all_that_a_file_asks_for(name):
    from seggen_d2.plugin.model.architecture import model_options

    options = model_options(load_config(CONFIGS / name)[0])
    assert options["queries"] == (200 if "coco" in name and "swin" in name else 100)
    assert options["num_classes"] == (150 if "ade" in name else 133 if "panoptic" in name else 80)
    assert options["freeze_norm"] and options["freeze_at"] == 0 if "R50" in name else options["backbone"].startswith("swin")

"""Configs: what a file and KEY VALUE pairs make of the defaults, and what is refused."""

import ast
import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("fvcore")
from seggen_d2.engine import defaults
from seggen_d2.engine.config import differences, flatten, load_config, save_config, to_dict
from seggen_d2.engine.datasets import DatasetRegistry
from seggen_d2.engine.dialects import detectron2_keys
from seggen_d2.foundation.errors import SegGenError

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path
    for base in (ROOT / "configs").glob("*/Base-*.yaml")
    for path in base.parent.glob("*.yaml")
    if path == base or f"_BASE_: {base.name}" in path.read_text()
)


def test_a_file_lies_over_its_base_and_pairs_over_the_file(tmp_path):
    (tmp_path / "base.yaml").write_text("SEED: 1\nSOLVER: {BASE_LR: 1e-3, MAX_ITER: 7}\n")
    (tmp_path / "top.yaml").write_text(
        "_BASE_: base.yaml\nSOLVER: {MAX_ITER: 9}\nMODEL: {BACKBONE: {OPTIONS: {embedding_size: 16}}}\n"
    )
    cfg, ignored = load_config(tmp_path / "top.yaml", ["SEED", "5", "DATASETS.TRAIN", "mine"])
    assert (cfg.SEED, cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, ignored) == (5, 1e-3, 9, [])
    assert cfg.DATASETS.TRAIN == ["mine"] and dict(cfg.MODEL.BACKBONE.OPTIONS) == {"embedding_size": 16}


def test_a_saved_config_is_safe_yaml_and_loads_to_itself(tmp_path):
    cfg, _ = load_config(None, ["SEGGEN.STAGES", "[{'P_AUG': 1.0, 'ITERATIONS': 3}]"])
    save_config(cfg, tmp_path / "config.yaml")
    assert (
        to_dict(load_config(tmp_path / "config.yaml")[0])
        == to_dict(cfg)
        == yaml.safe_load((tmp_path / "config.yaml").read_text())
    )
    other, _ = load_config(tmp_path / "config.yaml", ["SEED", "4"])
    assert differences(to_dict(other), to_dict(cfg)) == ["SEED: 0 -> 4"]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (["SEGGEN.PAUG", "0.6"], "SEGGEN.P_AUG"),
        (["SOLVER.MAX_ITERS", "4"], "SOLVER.MAX_ITER"),
        (["SEGGEN", "1"], "unknown config key"),
        (["SEGGEN.P_AUG", "1.2"], "0 <= SEGGEN.P_AUG <= 1"),
        (["SEGGEN.P_AUG", "-0.1"], "P_AUG"),
        (["SOLVER.MAX_ITER", "1.5"], "wrong type"),
        (["SOLVER.MAX_ITER", "many"], "expected: int"),
        (["SEGGEN.SAMPLING", "unifrom"], "'uniform'"),
        (["SOLVER.IMS_PER_BATCH", "0"], "IMS_PER_BATCH"),
        (["SOLVER.ACCUMULATE", "3"], "does not divide"),
        (["INPUT.CROP.SIZE", "64"], "height, width"),
        (["MODEL.MASK_FORMER.HIDDEN_DIM", "64"], "CONVS_DIM"),
        (["SEED"], "no value"),
        (["SOLVER.AMP.ENABLED", "1"], "bool"),
        (["MODEL.DEVICE", "tpu"], "cuda"),
    ],
)
def test_what_is_wrong_is_named(pair, words):
    with pytest.raises(SegGenError, match=re.escape(words)):
        load_config(None, pair)


def test_detectron2_keys_that_do_nothing_here_are_listed():
    cfg, ignored = load_config(
        None, ["MODEL.META_ARCHITECTURE", "MaskFormer", "MODEL.MASK_FORMER.TEST.SEMANTIC_ON", "True", "SEED", "3"]
    )
    assert ignored == ["MODEL.META_ARCHITECTURE"] and cfg.SEED == 3
    assert load_config(None, ["SOLVER.OPTIMIZER", "ADAMW", "MODEL.SEM_SEG_HEAD.NORM", "GN"])[1] == []
    assert load_config(None, ["SOLVER.OPTIMIZER", "SGD"])[1] == ["SOLVER.OPTIMIZER"]


def line_end(source, node):
    return source.splitlines()[node.end_lineno - 1][node.end_col_offset :]


def test_every_default_has_a_comment_and_none_is_called_unread():
    source = Path(defaults.__file__).read_text()
    statements = [ast.get_source_segment(source, node) + line_end(source, node) for node in ast.parse(source).body]
    bare = [text for text in statements if text.startswith("_C.") and "= CfgNode()" not in text and "#" not in text]
    assert not bare
    known = {key for key, _ in flatten(defaults.get_defaults())}
    assert not detectron2_keys().intersection(known) and known >= defaults.ONLY_DETECTRON2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_configs_load(path):
    cfg, ignored = load_config(path)
    assert not ignored
    stages = cfg.SEGGEN.STAGES or [{"ITERATIONS": cfg.SOLVER.MAX_ITER}]
    assert (
        sum(stage["ITERATIONS"] for stage in stages)
        == load_config(next(path.parent.glob("Base-*.yaml")))[0].SOLVER.MAX_ITER
    )


def test_without_a_bank_p_aug_is_of_no_effect_and_the_log_says_so(caplog):
    from seggen_d2.engine.from_config import stages_of

    with caplog.at_level("INFO"):
        assert [stage.p_aug for stage in stages_of(load_config(None)[0])] == [0.0]
    assert "names no bank" in caplog.text
    cfg, _ = load_config(None, ["SEGGEN.BANKS", "banks/mine"])
    assert [stage.p_aug for stage in stages_of(cfg)] == [0.6]


@pytest.mark.parametrize("installed", [None, "a module's spec"])
def test_tensorboard_files_need_its_package_and_nothing_else_does(installed, monkeypatch, tmp_path):
    from seggen_d2.engine import trainer
    from seggen_d2.engine.from_config import solver_options

    monkeypatch.setattr("importlib.util.find_spec", {"tensorboard": installed}.get)
    wanted, plain = (solver_options(load_config(None, ["SOLVER.TENSORBOARD", on])[0]) for on in ("True", "False"))
    assert trainer.training_arguments(tmp_path, 1, plain).report_to == []
    if installed:
        assert trainer.training_arguments(tmp_path, 1, wanted).report_to == ["tensorboard"]
    else:
        with pytest.raises(SegGenError, match="needs the package tensorboard(?s:.)*pip install tensorboard"):
            trainer.training_arguments(tmp_path, 1, wanted)


def test_keys_that_only_detectron2_reads_are_listed_where_given():
    assert load_config(None, ["SEGGEN.EMA", "0.999", "SEGGEN.MAPPER", "host"])[1] == ["SEGGEN.EMA", "SEGGEN.MAPPER"]


UPSTREAM = """
MODEL:
  META_ARCHITECTURE: MaskFormer
  BACKBONE: {NAME: D2SwinTransformer, FREEZE_AT: 0}
  SWIN: {EMBED_DIM: 192, DEPTHS: [2, 2, 18, 2], NUM_HEADS: [6, 12, 24, 48], WINDOW_SIZE: 12, PRETRAIN_IMG_SIZE: 384}
  SEM_SEG_HEAD: {NAME: MaskFormerHead, CONVS_DIM: 256, TRANSFORMER_ENC_LAYERS: 6, PIXEL_DECODER_NAME: MSDeformAttnPixelDecoder}
DATASETS:
  TRAIN: ("ade20k_sem_seg_train",)
  TEST: ("ade20k_sem_seg_val",)
INPUT: {FORMAT: RGB, CROP: {ENABLED: True, TYPE: absolute, SIZE: "(640, 640)"}, SIZE_DIVISIBILITY: 640}
"""


def test_a_detectron2_config_has_detectron2s_defaults_and_backbones(tmp_path):
    (tmp_path / "file.yaml").write_text(UPSTREAM)
    cfg, ignored = load_config(tmp_path / "file.yaml")
    assert (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.OPTIONS.image_size) == ("swin-large", 384)
    assert (cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.MAX_ITER) == ("WarmupMultiStepLR", 40000)
    assert (cfg.INPUT.CROP.SIZE, cfg.DATASETS.TRAIN) == ([640, 640], ["ade20k_sem_seg_train"])
    assert "DATALOADER.ASPECT_RATIO_GROUPING" in ignored and "INPUT.SIZE_DIVISIBILITY" not in ignored
    resnet = ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.DEPTH", "101"]
    cfg, ignored = load_config(tmp_path / "file.yaml", [*resnet, "MODEL.RESNETS.NUM_GROUPS", "32"])
    assert cfg.MODEL.BACKBONE.NAME == "resnet101" and cfg.MODEL.BACKBONE.FREEZE_NORM
    assert "MODEL.RESNETS.NUM_GROUPS" in ignored
    cfg, _ = load_config(tmp_path / "file.yaml", [*resnet, "MODEL.RESNETS.NORM", "BN"])
    assert not cfg.MODEL.BACKBONE.FREEZE_NORM


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (["INPUT.DATASET_MAPPER_NAME", "coco_panoptic_ljs"], "coco_panoptic_lsj"),
        (["MODEL.META_ARCHITECTURE", "PanopticFPN"], "install Detectron2"),
        (["MODEL.META_ARCHITECTURE", "MaskDINO"], "MaskFormer"),
        (["INPUT.FORMAT", "BGR"], "RGB"),
        (["MODEL.RESNETS.DEPTH", "51", "MODEL.BACKBONE.NAME", "build_resnet_backbone"], "has no network"),
        (["MODEL.SWIN.EMBED_DIMS", "51"], "MODEL.SWIN.EMBED_DIM"),
    ],
)
def test_what_the_engine_cannot_do_is_an_error(tmp_path, pair, words):
    (tmp_path / "file.yaml").write_text(UPSTREAM)
    with pytest.raises(SegGenError, match=re.escape(words)):
        load_config(tmp_path / "file.yaml", pair)


def test_banks_are_folders_or_names_under_the_root(tmp_path):
    from seggen_d2.engine.from_config import bank_folders

    cfg, _ = load_config(None, ["SEGGEN.BANKS", str([str(tmp_path), "seggen_x"]), "SEGGEN.BANK_ROOT", "banks"])
    assert bank_folders(cfg) == [str(tmp_path), "banks/seggen_x"]


def test_a_dataset_that_only_detectron2_knows_is_told():
    with pytest.raises(SegGenError, match=r"no file in SEGGEN.DATASETS(.|\n)*list a dataset YAML with `name: ade20k_sem_seg_val`"):
        DatasetRegistry([]).get(["ade20k_sem_seg_val"], "DATASETS.TEST")

"""Every YAML file of configs/: safe to load, launched by the command that it opens with, with stages as long as intended."""

import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("fvcore")
pytest.importorskip("transformers")
from seggen_d2.engine.config import load_config
from seggen_d2.engine.dialects import names_architecture
from seggen_d2.engine.tasks import MAPPERS
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.options import load_yaml
from seggen_d2.modeling import BACKBONES

ROOT = Path(__file__).parents[1]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml"))
TRAINING = [name for name in FILES if "tools/train_net.py" in (ROOT / name).read_text()]
PAPER = [name for name in TRAINING if name.startswith(("configs/ade20k", "configs/coco"))]
ENGINES_DIFFER = {  # Detectron2's keys that the transformers engine does otherwise than upstream's ADE20K configs
    "DATALOADER.ASPECT_RATIO_GROUPING",
}


def opening(name: str) -> list[str]:
    """The comment at the top of a file, line by line."""
    lines = (ROOT / name).read_text().splitlines()
    return [line.lstrip("# ") for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]


def test_there_are_files():
    assert len(TRAINING) > 35 and len(PAPER) == 36


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_safe_yaml_and_opens_with_its_launch_command(name):
    assert isinstance(yaml.safe_load((ROOT / name).read_text()), dict)
    assert "!!python" not in (ROOT / name).read_text()
    assert load_yaml(ROOT / name)
    commands = [line for line in opening(name) if line.startswith("python ")]
    assert any(f"--config-file {name}" in line for line in commands)
    for command in commands:
        for word in re.findall(r"(?:tools|configs|datasets)/\S+\.(?:py|yaml)", command):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("name", PAPER)
def test_a_paper_setting_is_launched_by_its_first_line_and_writes_to_its_own_folder(name):
    assert opening(name)[0] == f"python tools/train_net.py --config-file {name} --num-gpus 8"
    values = load_yaml(ROOT / name)
    assert values["OUTPUT_DIR"] == name.replace("configs", "output", 1).removesuffix(".yaml")
    assert names_architecture(values)
    setting = name.removesuffix(".yaml").rsplit("_", 1)[1]
    node = values.get("SEGGEN", {})
    assert bool(node.get("BANKS")) == bool(node.get("BANK_ROOT")) == ("real" not in setting)
    for stage in node.get("STAGES", []):
        assert stage["ITERATIONS"] == values["SOLVER"]["MAX_ITER"]
    stages = {"pretrain-finetune": [1.0, 0.0], "pretrain-real": [0.0, 0.0]}
    assert [stage["P_AUG"] for stage in node.get("STAGES", [])] == stages.get(setting, [])


@pytest.mark.parametrize("name", [name for name in TRAINING if name not in PAPER and "maskdino" not in name])
def test_a_small_setting_trains_as_long_as_the_others_beside_it(name):
    cfg, ignored = load_config(ROOT / name)
    assert not ignored and not names_architecture(load_yaml(ROOT / name))
    base, _ = load_config(next((ROOT / name).parent.glob("Base-*.yaml")))
    stages = cfg.SEGGEN.STAGES or [{"ITERATIONS": cfg.SOLVER.MAX_ITER}]
    assert sum(stage["ITERATIONS"] for stage in stages) == base.SOLVER.MAX_ITER


@pytest.mark.parametrize("name", [name for name in PAPER if "ade20k" in name])
def test_the_transformers_engine_reads_the_semantic_settings(name):
    cfg, ignored = load_config(ROOT / name)
    assert set(ignored) == ENGINES_DIFFER
    chosen, frozen, crop = cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_NORM, list(cfg.INPUT.CROP.SIZE)
    swin = ("swin-large", False, [640, 640])
    assert (chosen, frozen, crop) == (swin if "swin-large" in name else ("resnet50", True, [512, 512]))


@pytest.mark.parametrize("name", [name for name in PAPER if "coco" in name and "maskdino" not in name])
def test_the_transformers_engine_reads_the_other_tasks(name):
    cfg, ignored = load_config(ROOT / name)
    kind, test = MAPPERS[cfg.INPUT.DATASET_MAPPER_NAME], cfg.MODEL.MASK_FORMER.TEST
    assert kind.large_scale and kind.task in name and (cfg.INPUT.IMAGE_SIZE, cfg.INPUT.MIN_SCALE, cfg.INPUT.MAX_SCALE) == (1024, 0.1, 2.0)
    assert (test.OBJECT_MASK_THRESHOLD, test.OVERLAP_THRESHOLD, test.INSTANCE_ON) == (0.8, 0.8, True)
    assert test.PANOPTIC_ON == test.SEMANTIC_ON == (kind.task == "panoptic")
    assert not {key for key in ignored if key.startswith(("INPUT", "MODEL.MASK_FORMER"))}


@pytest.mark.parametrize("name", [name for name in TRAINING if "maskdino" in name])
def test_the_transformers_engine_refuses_other_models(name):
    with pytest.raises(SegGenError, match="is not what the transformers engine does"):
        load_config(ROOT / name)


def test_mask_dino_at_toy_size_trains_as_long_as_the_other_toy_settings():
    for name in ("real", "pretrain-finetune"):
        ours, base = (load_yaml(ROOT / f"configs/toy/{file}.yaml") for file in (f"maskdino_{name}", "Base-toy"))
        stages = ours["SEGGEN"].get("STAGES", [{"ITERATIONS": ours["SOLVER"]["MAX_ITER"]}])
        assert sum(stage["ITERATIONS"] for stage in stages) == base["SOLVER"]["MAX_ITER"]
        assert (ours["SOLVER"]["IMS_PER_BATCH"], ours["DATASETS"]) == (base["SOLVER"]["IMS_PER_BATCH"], base["DATASETS"])
    assert ours["MODEL"]["SWIN"]["DEPTHS"] == BACKBONES["tiny-swin"]["options"]["depths"]


def test_the_readmes_files_exist():
    text, folder = (ROOT / "configs/README.md").read_text(), ""
    for line in text.splitlines():
        folder = next(iter(re.findall(r"file in `(\S+)/`", line)), folder)
        for file in re.findall(r"`(mask\S+\.yaml)`", line):
            assert (ROOT / "configs" / folder / file).is_file(), line

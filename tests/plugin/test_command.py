"""tools/train_net.py with Detectron2: one file for both engines, Detectron2's arguments, errors that say what to do."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_world import write_task_world

from seggen_d2.engine.choice import choose_engine
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin.training import command
from seggen_d2.plugin.training.trainer import Trainer

from .training_world import write_toy

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/train_net.py"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("command"), "command", SOLVER={"LOG_PERIOD": 1, "CHECKPOINT_PERIOD": 2})


@pytest.fixture
def tool(monkeypatch):
    """The tool's ``main`` in this process, called with words."""
    spec = importlib.util.spec_from_file_location("tools_train_net", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["train_net.py", *map(str, words)])
        module.main()

    return call


def call(*words, **variables):
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    environment = {**os.environ, **own, **variables}
    line = [sys.executable, str(TOOL), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300)


def metrics(folder):
    return json.loads((Path(folder) / "metrics_final.json").read_text())


def test_an_environment_without_opencv_is_told_what_it_lacks():
    out = subprocess.run([sys.executable, "-c", "import sys; sys.modules['cv2'] = None; import seggen_d2.plugin"], capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
    assert out.returncode and "SegGenError: opencv is needed by the mappers of seggen_d2.plugin" in out.stderr and "pip install opencv" in out.stderr


def test_two_processes_from_the_command_line(config, tmp_path):
    words = ("OUTPUT_DIR", tmp_path, "SOLVER.MAX_ITER", 2, "SOLVER.IMS_PER_BATCH", 4)
    out = call("--config-file", config, "--num-gpus", 2, *words)
    assert out.returncode == 0, out.stderr
    assert (tmp_path / "model_final.pth").exists() and metrics(tmp_path)["iterations"] == 2
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert lines[0]["swap/synthetic_share"] in (0.0, 0.25, 0.5, 0.75, 1.0)


def test_an_error_in_a_started_process_is_told_without_a_traceback(config, capsys):
    with pytest.raises(SystemExit) as exit_of:
        command._quietly(command.Arguments(str(config), ("SEGGEN.PAUG", "1")))
    told = capsys.readouterr().err
    assert exit_of.value.code == 2 and told.startswith("error: unknown config key") and "Traceback" not in told


def test_train_resume_evaluate(tool, config, tmp_path, caplog):
    words = ("--config-file", config, "--num-gpus", 0, "OUTPUT_DIR", tmp_path)
    tool(*words, "SOLVER.MAX_ITER", 2)
    assert "model_0000001.pth" in {path.name for path in tmp_path.iterdir()}
    tool(*words, "--resume")
    last = metrics(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(SegGenError, match=r"holds a run already(.|\n)*model_final.pth(.|\n)*--resume"):
        tool(*words)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert last["iterations"] == 4 and (tmp_path / "model_0000003.pth").exists()
    with caplog.at_level("INFO"):
        tool(*words, "--eval-only")
    (tmp_path / "model_final.pth").rename(tmp_path / "other.pth")
    tool(*words, "--eval-only", "MODEL.WEIGHTS", tmp_path / "other.pth")
    with pytest.raises(SegGenError, match="nothing to evaluate"):
        tool(*words, "--eval-only")
    saved = (tmp_path / "config.yaml").read_text()
    assert "P_AUG: 0.5" in saved and "META_ARCHITECTURE: SegGenMask2Former" in saved


def test_one_file_trains_with_either_engine(tool, config, tmp_path):
    for engine in ("transformers", "detectron2"):
        words = ("OUTPUT_DIR", tmp_path / engine, "SEGGEN.ENGINE", engine, "SOLVER.MAX_ITER", 2)
        tool("--config-file", config, *words)
    ours, theirs = metrics(tmp_path / "transformers"), metrics(tmp_path / "detectron2")
    shared = {"dataset", "iterations", "seconds", "peak_rss_mb", "miou", "pixel_accuracy", "per_class"}
    assert shared <= ours.keys() & theirs.keys() and ours["per_class"].keys() == theirs["per_class"].keys()
    assert ours["dataset"] == theirs["dataset"] == "command_test"


@pytest.mark.parametrize(
    ("setting", "task", "backbone"),
    [("real+seggen", "semantic", "tiny-resnet"), ("pretrain-finetune", "panoptic", "tiny-swin"), ("synthetic", "instance", "tiny-swin")],
)
def test_the_toy_configs_train_with_detectron2(tool, tmp_path, setting, task, backbone):
    """By the command that the recipes give: on any task's data all three results are asked for."""
    write_task_world(tmp_path, task, f"toy_{task}")
    datasets = [str(tmp_path / part / "dataset.yaml") for part in ("train", "test")]
    names = ("DATASETS.TRAIN", [f"toy_{task}_train"], "DATASETS.TEST", [f"toy_{task}_test"], "SEGGEN.DATASETS", datasets)
    test = ("MODEL.MASK_FORMER.TEST.PANOPTIC_ON", True, "MODEL.MASK_FORMER.TEST.INSTANCE_ON", True, "INPUT.DATASET_MAPPER_NAME", f"mask_former_{task}")
    short = ("SOLVER.MAX_ITER", 2, "SOLVER.IMS_PER_BATCH", 2, "OUTPUT_DIR", tmp_path / "out", "MODEL.BACKBONE.NAME", backbone, "SEGGEN.ENGINE", "detectron2",
             "SEGGEN.BANKS", [str(tmp_path / "bank")])
    stages = ("SEGGEN.STAGES", [{"P_AUG": 1.0, "ITERATIONS": 1}, {"P_AUG": 0.0, "ITERATIONS": 1}]) if setting == "pretrain-finetune" else ()
    words = ("--config-file", ROOT / f"configs/toy/{setting}.yaml", "--resume", *names, *test, *short, *stages)
    for _ in range(2):  # the second goes on with a finished run
        tool(*words)
        found = metrics(tmp_path / "out")
        assert (found["dataset"], found["task"], found["iterations"]) == (f"toy_{task}_test", task, 2)
    assert found["metric"] == {"semantic": "mIoU", "panoptic": "PQ", "instance": "AP"}[task] and (tmp_path / "out/model_final.pth").exists()


def test_the_plan(tool, config, tmp_path, capsys):
    stages = "[{'P_AUG': 1.0, 'ITERATIONS': 2}, {'P_AUG': 0.0, 'ITERATIONS': 3}]"
    tool("--config-file", config, "--dry-run", "SEGGEN.STAGES", stages, "OUTPUT_DIR", tmp_path / "out")
    told = capsys.readouterr().out
    assert "4 synthetic samples" in told and "stage 2    3 iterations" in told and "from the stage before" in told
    assert "SegGenMask2Former on tiny-resnet" in told and not (tmp_path / "out").exists()
    tool("--config-file", config, "--dry-run", "SEGGEN.BANKS", "[]", "OUTPUT_DIR", tmp_path / "out")
    assert "p_aug 0 (no bank)" in capsys.readouterr().out
    tool("--config-file", config, "--dry-run", "TEST.PRECISE_BN.ENABLED", True, "OUTPUT_DIR", tmp_path / "out")
    assert "not read   TEST.PRECISE_BN.ENABLED" in capsys.readouterr().out
    tool("--config-file", config, "--dry-run", "SEGGEN.ENGINE", "transformers", "OUTPUT_DIR", tmp_path / "out")
    assert "Mask2Former on a resnet" in capsys.readouterr().out


def test_the_engine_is_chosen_by_the_file_and_the_words_after_it(config, tmp_path):
    (tmp_path / "auto.yaml").write_text("SEGGEN: {P_AUG: 0.0}\n")
    assert choose_engine(tmp_path / "auto.yaml") == "detectron2" == choose_engine(config)
    assert choose_engine(config, ["SEGGEN.ENGINE", "transformers"]) == "transformers"
    with pytest.raises(SegGenError, match="SEGGEN.ENGINE"):
        choose_engine(config, ["SEGGEN.ENGINE", "tensorflow"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("DATASETS.TRAIN", "['command_trian']"), "did you mean 'command_train'"),
        (("SEGGEN.BANKS", "['nowhere/bank']"), "neither a registered bank nor a folder"),
        (("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5"), "NUM_CLASSES"),
        (("MODEL.DEVICE", "cuda"), "--num-gpus 0"),
        (("DATASETS.TEST", "['ade20k_sem_seg_val']"), r"Mask2Former's own datasets/README.md(.|\n)*DETECTRON2_DATASETS"),
        (("DATASETS.TRAIN", "['coco_2017_val_panoptic']", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "133"), "DATASETS.TRAIN: data"),
        (("SEGGEN.PAUG", "0.1"), "did you mean 'SEGGEN.P_AUG'"),
        (("SOLVER.ACCUMULATE", "3"), "2 images in 3 parts"),
        (("INPUT.DATASET_MAPPER_NAME", "mask_former_panoptic"), "mask_former_panoptic"),
    ],
)
def test_bad_input_is_said(tool, config, tmp_path, monkeypatch, words, text):
    if words[1] == "cuda" and __import__("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(SegGenError, match=text):
        tool("--config-file", config, "OUTPUT_DIR", tmp_path, *words)


@pytest.mark.parametrize("engine", ["detectron2", "transformers"])
def test_weights_that_are_not_there_are_told_before_anything_is_built(tool, config, tmp_path, monkeypatch, capsys, engine):
    words = ("--config-file", config, "--num-gpus", 0, "SEGGEN.ENGINE", engine, "OUTPUT_DIR", tmp_path / "out")
    stages = [{"P_AUG": 0.5, "ITERATIONS": 1}, {"P_AUG": 0.0, "ITERATIONS": 1, "START_WEIGHTS": f"{tmp_path}/none.pth"}]
    (tmp_path / "whole").mkdir()
    if engine == "detectron2":
        monkeypatch.setattr(Trainer, "build_model", None)
        with monkeypatch.context() as patch:
            patch.setattr("seggen_d2.plugin.training.plan.build_model", None)
            for start in (["--dry-run"], ["--resume"], ["--eval-only", "OUTPUT_DIR", tmp_path / "evaluated"]):
                with pytest.raises(SegGenError, match="there is no checkpoint at"):
                    tool(*words, *start, "MODEL.WEIGHTS", tmp_path / "none.pth")
    for wrong in (("MODEL.WEIGHTS", tmp_path / "whole"), ("SEGGEN.STAGES", stages), ("MODEL.WEIGHTS", "/none/none.pkl")):
        with pytest.raises(SegGenError, match=r"there is no checkpoint at|checkpoint .* does not exist"):
            tool(*words, "--dry-run", *wrong)
    assert not (tmp_path / "out").exists()
    (tmp_path / "whole/model.safetensors").touch()
    tool(*words, "--dry-run", "MODEL.WEIGHTS", tmp_path / "whole")
    assert "begins" in capsys.readouterr().out


def test_several_machines_need_an_address(tool, config):
    with pytest.raises(SegGenError, match="--dist-url"):
        tool("--config-file", config, "--num-machines", 2)


def test_a_host_that_is_not_built_or_not_there_is_said(config, tmp_path):
    """Neither package is imported into this process."""
    words = ("--config-file", config, "--dry-run", "MODEL.BACKBONE.NAME", "swin-tiny", "MODEL.META_ARCHITECTURE")
    (tmp_path / "empty/maskdino").mkdir(parents=True)
    (tmp_path / "empty/maskdino/__init__.py").write_text("raise ImportError('please compile it')\n")
    path = os.pathsep.join([str(tmp_path / "empty"), str(ROOT)])
    dino = call(*words, "MaskDINO", PYTHONPATH=path)
    assert dino.returncode == 2 and "IDEA-Research/MaskDINO" in dino.stderr and "please compile it" in dino.stderr
    assert "an empty file MultiScaleDeformableAttention.py" in dino.stderr and "Traceback" not in dino.stderr
    assert "SegGenMask2Former" not in dino.stderr  # which is no Mask DINO

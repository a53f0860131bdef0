"""tools/train_net.py as a process: trains, evaluates, resumes, explains itself, and says errors without a traceback."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("scipy")
from toy_world import write_world

TOOL = Path(__file__).parents[1] / "tools/train_net.py"


def call(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOOL.parents[1])}
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, words)], capture_output=True, text=True, env=environment, timeout=300
    )


def test_help_explains_without_loading_torch():
    out = call("--help")
    assert out.returncode == 0 and "--eval-only" in out.stdout and "metrics_final.json" in out.stdout
    assert all(word in out.stdout for word in ("--num-gpus", "--num-machines", "--machine-rank", "--dist-url"))


def test_train_resume_evaluate(tmp_path):
    config, folder = write_world(tmp_path), tmp_path / "out"
    short = call("--config-file", config, "SOLVER.MAX_ITER", 2)
    assert short.returncode == 0 and "toy_test: mIoU" in short.stdout, short.stderr
    longer = call("--config-file", config, "SEED", 0, "--resume")
    assert longer.returncode == 0 and (folder / "stage-0/checkpoint-4").exists(), longer.stderr
    scores = call("--config-file", config, "--eval-only")
    assert scores.returncode == 0 and scores.stdout.splitlines()[-1] == longer.stdout.splitlines()[-1]


def test_errors_are_said_plainly(tmp_path):
    out = call("--config-file", tmp_path / "none.yaml")
    assert out.returncode == 2 and "does not exist" in out.stderr and "Traceback" not in out.stderr
    unknown = call("--config-file", write_world(tmp_path), "SEGGEN.PAUG", 1)
    assert unknown.returncode == 2 and "did you mean 'SEGGEN.P_AUG'?" in unknown.stderr


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is not None, reason="Detectron2 is installed")
def test_detectron2_asked_for_and_absent_says_what_to_install(tmp_path):
    out = call("--config-file", write_world(tmp_path), "SEGGEN.ENGINE", "detectron2")
    assert out.returncode == 2 and "Traceback" not in out.stderr
    assert "INSTALL.md" in out.stderr and "SEGGEN.ENGINE transformers needs none of it" in out.stderr

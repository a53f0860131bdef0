"""Two processes on one machine (gloo) train one generator: they save once, resume to the same bits, and stop together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from seggen_d2.generators.directory import read_card
from seggen_d2.generators.training.states import States, read_progress

SCRIPT = Path(__file__).parent / "two_trainers.py"


def launch(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
              "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [subprocess.Popen([sys.executable, str(SCRIPT), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]
    try:
        for process in running:
            output = process.communicate(timeout=240)[0].decode()
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in running:
            process.kill()


def test_two_processes_train_save_and_resume_one_generator(toy_folder, tiny_base, tmp_path, make_generator_options):
    options = make_generator_options(toy_folder, tiny_base, steps=4)
    (tmp_path / "options.json").write_text(json.dumps(asdict(options)))
    launch(tmp_path)
    reports = [json.loads((tmp_path / f"report-{rank}.json").read_text()) for rank in range(2)]
    assert [report["processes"] for report in reports] == [2, 2]
    assert [report["draws"] for report in reports] == [[0, 2, 4], [1, 3, 5]]  # each its own batches, as many steps
    assert all(report["equal"] for report in reports) and reports[0]["weight"] == reports[1]["weight"]
    assert all(report["gradients"] == 1 for report in reports)  # held once, in what the processes send each other
    prints = [read_card(tmp_path / name / "model", "mask2img").fingerprint for name in ("whole-model", "resumed-model")]
    assert prints[0] == prints[1]
    assert read_progress(States(tmp_path / "resumed-model" / "training" / "state", 2).newest())["options"]["processes"] == 2

"""The bare package goes into somebody's environment: it changes nothing there, brings no framework, and trains a swap loop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD_NUMPY = "2.2.6" if sys.version_info >= (3, 13) else "1.26.4"
FRAMEWORKS = {"torch", "transformers", "diffusers", "accelerate", "cv2"}
INSTALLED = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}))
"""

pytestmark = pytest.mark.slow


def tracked_files() -> list[Path]:
    """What a clone holds, relative to the root; where this is no clone, what a build reads."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        names = done.stdout.rstrip("\0").split("\0")
        return [Path(name) for name in names if (ROOT / name).is_file()]
    package = (path.relative_to(ROOT) for path in (ROOT / "seggen_d2").rglob("*") if "__pycache__" not in path.parts and path.is_file())
    return [Path("setup.py"), Path("pyproject.toml"), Path("README.md"), *package]


def run(python: Path, *words: str, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([python, *words], capture_output=True, text=True, cwd=cwd, env=environment)
    if done.returncode and "pip" in words and "connection broken by" in done.stdout + done.stderr:
        pytest.skip("the package index cannot be reached: " + done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> tuple[Path, Path]:
    """``(python, folder)``: an environment that had an older numpy before the bare package came."""
    folder = tmp_path_factory.mktemp("bare")
    for name in tracked_files():  # a copy: a build leaves files in the tree
        (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "clone" / name)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = ("-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", "--retries", "2", "--timeout", "30")
    run(python, *pip, f"numpy=={OLD_NUMPY}", cwd=folder)
    run(python, *pip, str(folder / "clone"), cwd=folder)
    return python, folder


def test_nothing_is_changed_and_no_framework_comes(environment):
    python, folder = environment
    installed = json.loads(run(python, "-c", INSTALLED, cwd=folder))
    assert installed["numpy"] == OLD_NUMPY and {"seggen_d2", "seggen-d2"} & set(installed)
    assert not [name for name in installed if name in FRAMEWORKS or name.startswith("opencv")]
    run(python, "-m", "pip", "check", cwd=folder)


def test_every_data_file_is_in_the_wheel(environment):
    python, folder = environment
    place = Path(run(python, "-c", "import seggen_d2; print(seggen_d2.__path__[0])", cwd=folder).strip())
    assert folder in place.parents
    wanted = {str(name.relative_to("seggen_d2")) for name in tracked_files() if name.parts[0] == "seggen_d2"}
    held = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert wanted <= held, f"not installed: {sorted(wanted - held)}"
    assert {"segmentation/palettes/150.json", "recipes/quickstart.yaml", "evaluation/page/report.html"} <= held


def test_a_swap_loop_trains(environment):
    python, folder = environment
    found = json.loads(run(python, str(ROOT / "tests" / "swap_loop.py"), str(folder / "loop"), cwd=folder))
    assert found["last"] < 0.3 * found["first"] and abs(found["share"] - 0.6) < 0.08 and found["failures"] == 0
    assert found["numpy"] == OLD_NUMPY and not FRAMEWORKS & set(found["modules"])

"""The shape of the package: imports run one way, the light rooms stay light, nothing unsafe, every tool explains itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from source_rules import GROUND, PACKAGE, WINGS, allowed_rooms, import_faults, unsafe_faults

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("tools/*.py"), *ROOT.glob("datasets/*.py")])
YAMLS = sorted(path for folder in ("configs", "datasets", PACKAGE) for path in (ROOT / folder).rglob("*.yaml"))
HEAVY = {"torch", "transformers", "diffusers", "cv2", "accelerate", "detectron2"}


def modules() -> dict[str, str]:
    """``{dotted name: source}`` of the whole package."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8") for path in files}


def test_imports_run_one_way():
    faults = [fault for name, source in modules().items() for fault in import_faults(source, name)]
    assert not faults, "\n".join(faults)


def test_every_room_stands_in_the_table():
    rooms = {name.split(".")[1] for name in modules()} - {"__init__"}
    assert rooms <= {*GROUND, *(room for wing in WINGS for room in wing)}


def test_neither_wing_may_import_the_other():
    generating, training, recipes = map(set, WINGS)
    assert all(not allowed_rooms(room) & training for room in generating)
    assert all(not allowed_rooms(room) & generating for room in training)
    assert not allowed_rooms("recipes") & (generating | training) and not allowed_rooms("engine") & {"plugin"}
    assert all(not allowed_rooms(room) - set(GROUND) for room in GROUND)


@pytest.mark.parametrize(("module", "source"), [
    ("engine.run", "from seggen_d2.generators.sampling.sampler import noise"),
    ("synthesis.job", "import seggen_d2.mixing"),
    ("mapping.mapper", "from seggen_d2 import engine"),
    ("bank.reader", "from ..mixing import SwapMapper"),
    ("bank.__init__", "from ..mixing.swap import SwapMapper"),
    ("segmentation.codec", "def later():\n    from seggen_d2.sources import load_dataset"),
    ("recipes.runner", "from seggen_d2.engine import train"),
    ("captions.dataset", "from seggen_d2.generators import prompts"),
    ("engine.run", "import diffusers.models"),
    ("synthesis.job", "def later():\n    from diffusers import AutoencoderKL"),
    ("engine.run", "try:\n    import detectron2\nexcept ImportError:\n    pass"),
    ("bank.paths", "import importlib\nimportlib.import_module('seggen_d2.engine')"),
    ("bank.paths", "from importlib import import_module\nimport_module(name)"),
    ("__init__", "from . import bank"),
])
def test_an_import_against_the_direction_is_found(module, source):
    assert len(import_faults(source, f"{PACKAGE}.{module}")) == 1


@pytest.mark.parametrize(("module", "source"), [
    ("engine.run", "from seggen_d2.mixing import SwapMapper\nfrom .plan import Plan\nfrom . import log"),
    ("bank.__init__", "from .reader import Bank\nfrom seggen_d2.sources import read_image"),
    ("generators.directory", "import diffusers\nimport seggen_d2\nfrom seggen_d2 import __version__"),
    ("plugin.trainer", "import detectron2.engine\nfrom seggen_d2.engine import config"),
])
def test_an_import_along_the_direction_is_not(module, source):
    assert not import_faults(source, f"{PACKAGE}.{module}")


def test_a_room_that_the_table_lacks_is_refused():
    with pytest.raises(KeyError, match="attic"):
        import_faults("import os", f"{PACKAGE}.attic.box")


def loaded(statement: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after ``statement``."""
    report = f"{statement}\nimport sys\nprint(*sorted(set(sys.modules) & {HEAVY!r}))"
    return set(subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True, cwd=ROOT).stdout.split())


def test_the_light_rooms_load_no_framework():
    rooms = ("bank", "mixing", "segmentation", "sources", "foundation", "recipes.recipe")
    assert loaded("\n".join(f"import {PACKAGE}.{room}" for room in rooms)) == set()
    assert loaded("import cv2") == {"cv2"}


def test_nothing_unsafe_is_called():
    sources = {**modules(), **{str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in SCRIPTS}}
    faults = [fault for name, source in sources.items() for fault in unsafe_faults(source, name)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("source", [
    "import pickle", "from joblib import dump", "def f():\n    import dill as d", "eval('1')", "exec(text)", "yaml.load(text, Loader=loader)",
    "yaml.unsafe_load(text)", "from yaml import load", "from torch import load", "torch.load(path)", "torch.load(path, weights_only=False)",
    "torch.load(path, weights_only=flag)", "np.load(path, allow_pickle=True)", "subprocess.run(line, shell=True)", "os.system(line)",
])
def test_an_unsafe_call_is_found(source):
    assert len(unsafe_faults(source, "x")) == 1


@pytest.mark.parametrize("source", ["model.eval()", "yaml.safe_load(text)", "torch.load(path, weights_only=True)", "np.load(path)",
                                    "re.compile('x')", "ast.literal_eval(text)", "np.load(path, allow_pickle=False)"])
def test_a_safe_call_is_not(source):
    assert not unsafe_faults(source, "x")


def test_one_module_reads_pickles_and_may_do_no_other_unsafe_thing():
    reader = f"{PACKAGE}.modeling.pickled"
    assert not unsafe_faults("import pickle", reader) and unsafe_faults("import pickle", f"{PACKAGE}.modeling.pickled_too")
    assert len(unsafe_faults("import dill\npickle.load(file)\neval('1')\ntorch.load(path)\nfrom joblib import dump", reader)) == 5


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_yaml_needs_no_unsafe_loader(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_tool_explains_itself(script):
    """From another folder, and with every argument's help."""
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, timeout=60, cwd=os.sep)
    assert done.returncode == 0 and done.stdout.startswith("usage:") and len(done.stdout) > 300, done.stderr

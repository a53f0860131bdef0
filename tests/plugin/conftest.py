"""Tests against the real Detectron2 and Mask2Former; where Detectron2 is absent each module here is skipped, and says so."""

from __future__ import annotations

import importlib.util
import sys
import types
from multiprocessing.pool import ThreadPool

import pytest

HAS_DETECTRON2 = importlib.util.find_spec("detectron2") is not None
# Mask2Former imports its compiled op by this name at once. An empty module lets the import pass; each call of the op
# then fails and Mask2Former takes its own pure-torch path.
if HAS_DETECTRON2 and importlib.util.find_spec("MultiScaleDeformableAttention") is None:
    sys.modules.setdefault("MultiScaleDeformableAttention", types.ModuleType("MultiScaleDeformableAttention"))


class Skipped(pytest.Module):
    """A module that needs Detectron2 and is not even imported without it."""

    def collect(self):
        pytest.skip("Detectron2 is not installed (make test-detectron2 PYTHON=... runs these)", allow_module_level=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path, parent):
    return None if HAS_DETECTRON2 else Skipped.from_parent(parent, path=module_path)


@pytest.fixture(autouse=True)
def panopticapi_in_threads(monkeypatch):
    """panopticapi forks a process a core; a fork of this one, which has threads, may hang on a lock that one of them held."""
    if importlib.util.find_spec("panopticapi"):
        import panopticapi.evaluation

        pools = types.SimpleNamespace(cpu_count=lambda: 1, Pool=ThreadPool)
        monkeypatch.setattr(panopticapi.evaluation, "multiprocessing", pools)


@pytest.fixture(autouse=True)
def quick_set_up(monkeypatch):
    """Detectron2's set-up of a run describes the machine, and makes each config anew for every key that it reads: a second a run."""
    if HAS_DETECTRON2:
        monkeypatch.setattr("detectron2.engine.defaults.collect_env_info", str)
        monkeypatch.setattr("detectron2.engine.defaults._try_get_key", lambda cfg, *keys, default=None: cfg.get(keys[0], default))

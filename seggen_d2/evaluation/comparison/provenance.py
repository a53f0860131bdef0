"""Where a table's figures are from: the configs of its runs, which are copied beside it, commit and versions."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import seggen_d2
from seggen_d2.foundation.files import read_bytes, write_bytes
from seggen_d2.foundation.seeds import fingerprint

from .plan import Plan

RESOLVED = "config.yaml"  # in a run's folder
CONFIGS = "configs"  # in the table's folder
PACKAGES = ("numpy", "pycocotools", "torch", "transformers", "detectron2")


@dataclass(frozen=True)
class RunOrigin:
    """A run's config file, its resolved config as copied (from the table's folder, "" where the run has none) and its fingerprint."""

    row: str
    seed: int
    folder: str
    config: str
    copy: str
    fingerprint: str


@dataclass(frozen=True)
class Origin:
    """What a table was made from; ``versions`` are those installed where it was written."""

    plan: Plan
    runs: tuple[RunOrigin, ...]
    versions: dict[str, str]

    def facts(self) -> list[tuple[str, str]]:
        """What is told of the table as a whole; empty where it is unknown."""
        plan = self.plan
        return [("paper", plan.source), ("dataset", plan.dataset), ("scale", plan.scale), ("engine", plan.engine), *self.made()]

    def made(self) -> list[tuple[str, str]]:
        """By what it was made."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return [("commit", self.plan.commit), ("command", self.plan.command), ("versions", versions)]

    def runs_json(self) -> list[dict[str, object]]:
        return [asdict(one) for one in self.runs]


def origin_of(plan: Plan, output: Path) -> Origin:
    """The origin of a plan's runs; their resolved configs are copied below ``output``."""
    runs = [_copied(place, row.name, run.seed, Path(run.folder), row.config, output) for place, row in enumerate(plan.rows, start=1) for run in row.runs]
    return Origin(plan, tuple(runs), versions())


def _copied(place: int, row: str, seed: int, folder: Path, config: str, output: Path) -> RunOrigin:
    resolved = folder / RESOLVED
    if not resolved.is_file():
        return RunOrigin(row, seed, str(folder), config, "", "")
    data, name = read_bytes(resolved, "config"), re.sub(r"[^A-Za-z0-9+.]+", "-", row).strip("-")
    copy = f"{CONFIGS}/{place}-{name}-seed{seed}.yaml"
    write_bytes(output / copy, data)
    return RunOrigin(row, seed, str(folder), config, copy, fingerprint(data))


def versions() -> dict[str, str]:
    """Of Python, this package, and those of :data:`PACKAGES` that are installed."""
    found = {"Python": platform.python_version(), "seggen_d2": seggen_d2.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

"""A recipe: stages, each one command, what it needs and what it leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.options import build, load_yaml
from seggen_d2.foundation.seeds import fingerprint


@dataclass(frozen=True)
class StageFile:
    """A stage as the YAML file has it.

    Attributes:
        name: unique; may hold ``{variables}``.
        command: run from the repository's root; ``python`` becomes the running interpreter.
        produces: files (relative to the output folder) that must exist afterwards.
        needs: stages that come before; a pattern such as ``train-*`` names several.
        cores: CPU cores it takes; it gets as many threads.
        each: variables of each copy of the stage; one stage where there are none.
    """

    name: str
    command: str
    produces: list
    needs: list = field(default_factory=list)
    cores: int = 1
    each: list = field(default_factory=list)


@dataclass(frozen=True)
class RecipeFile:
    """A recipe's YAML file: ``variables`` are defaults that ``KEY VALUE`` pairs replace."""

    name: str
    description: str
    stages: tuple[StageFile, ...]
    variables: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A stage ready to run; see :class:`StageFile`. ``key`` changes with its command, its config files and its needs."""

    name: str
    command: list[str]
    produces: list[Path]
    needs: list[str]
    cores: int
    key: str


def load_recipe(name: str, output: Path, overrides: dict[str, Any]) -> list[Stage]:
    """Read a recipe and fill in its variables.

    Args:
        name: a recipe of the package (``quickstart``, ``camvid``), or a YAML file.
        output: the folder that ``{output}`` stands for.
        overrides: values for the recipe's variables.

    Raises:
        SegGenError: no such recipe, an unknown variable, stage or key.
    """
    path = _find(name)
    recipe = build(RecipeFile, load_yaml(path), f"recipe {path}")
    for key in overrides:
        if key not in recipe.variables:
            raise SegGenError(f"recipe {recipe.name} has no variable {key!r}", remedy=nearest(key, recipe.variables))
    values = {**recipe.variables, **overrides, "output": str(output)}
    stages: dict[str, Stage] = {}
    for spec in recipe.stages:
        for each in spec.each or [{}]:
            stage = _stage(spec, {**values, **each}, output, stages, path)
            if stage.name in stages:
                raise SegGenError(f"recipe {path} has two stages {stage.name!r}")
            stages[stage.name] = stage
    return list(stages.values())


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    folder = Path(str(resources.files(__package__)))
    known = {path.stem: path for path in folder.glob("*.yaml")}
    if name not in known:
        raise SegGenError(f"recipe {name!r} is not known", expected=", ".join(sorted(known)), remedy=nearest(name, known) + " or give a YAML file")
    return known[name]


def _stage(spec: StageFile, values: dict[str, Any], output: Path, before: dict[str, Stage], where: Path) -> Stage:
    def fill(text: str) -> str:
        try:
            return text.format(**values)
        except KeyError as error:
            raise SegGenError(f"recipe {where}: stage {spec.name!r} names an unknown variable {error}", remedy=nearest(str(error), values)) from error

    needs = [name for pattern in spec.needs for name in _matching(fill(pattern), before, spec.name, where)]
    command = [fill(word) for word in shlex.split(spec.command)]
    texts = [" ".join(command), *(before[name].key for name in needs), *(_config_text(word) for word in command)]
    return Stage(fill(spec.name), command, [output / fill(p) for p in spec.produces], needs, spec.cores, fingerprint("\n".join(texts).encode()))


def _matching(pattern: str, before: dict[str, Stage], stage: str, where: Path) -> list[str]:
    found = [name for name in before if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name)]
    if not found:
        raise SegGenError(f"recipe {where}: stage {stage!r} needs {pattern!r}, which no earlier stage is called",
                          remedy=nearest(pattern, before))
    return found


def _config_text(word: str) -> str:
    """The values of a config file named in a command, its base's with them: changing one makes the stage another one."""
    is_config = word.startswith("configs" + os.sep) and word.endswith((".yaml", ".yml")) and Path(word).is_file()
    return json.dumps(load_yaml(word), sort_keys=True, default=str) if is_config else ""

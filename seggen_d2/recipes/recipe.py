"""A recipe: stages, each one command, what it needs and what it leaves."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_range, nearest
from seggen_d2.foundation.options import build, load_yaml
from seggen_d2.foundation.seeds import fingerprint

from .filling import Filling

_KINDS = {list: (list, tuple), int: (int,), float: (float, int)}  # what may replace a variable's default, by the default's type
ROOM = Path(str(resources.files(__package__)))


@dataclass(frozen=True)
class Cost:
    """What a stage is expected to take; zeros where nothing is known.

    Attributes:
        pflop: 10^15 floating-point operations on GPUs, two to a multiplication with its addition.
        kind: of work, a key of ``costs.yaml``: it tells how fast a GPU does it.
        core_minutes: of a CPU core, where no GPU is meant.
        disk_gb: what stays on disk, and what is removed only by hand.
        per: a variable; all figures are of one of so many.
    """

    pflop: float = 0.0
    kind: str = ""
    core_minutes: float = 0.0
    disk_gb: float = 0.0
    per: str = ""

    def times(self, count: float) -> Cost:
        """That of ``count`` of them."""
        return Cost(self.pflop * count, self.kind, self.core_minutes * count, self.disk_gb * count)


@dataclass(frozen=True)
class StageFile:
    """A stage as the YAML file has it.

    Attributes:
        name: unique; may hold ``{variables}``.
        command: run from the repository's root; ``python`` becomes the running interpreter. A word that is a variable
            with a list for a value becomes the words of the list.
        produces: files (relative to the output folder) that must exist afterwards.
        needs: stages that come before; a pattern such as ``train-*`` names several.
        cores: CPU cores it takes; it gets as many threads. 0 takes the whole machine, with threads as they come. May be a variable.
        each: variables of each copy of the stage; one stage where there are none.
        cost: what it is expected to take.
    """

    name: str
    command: str
    produces: list
    needs: list = field(default_factory=list)
    cores: int | str = 1
    each: list = field(default_factory=list)
    cost: Cost = Cost()


@dataclass(frozen=True)
class RecipeFile:
    """A recipe's YAML file: ``variables`` are defaults that ``KEY VALUE`` pairs replace; stages of ``include`` come first."""

    name: str
    description: str
    stages: tuple[StageFile, ...] = ()
    variables: dict = field(default_factory=dict)
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A stage ready to run; see :class:`StageFile`. ``key`` changes with its command, its config files and its needs."""

    name: str
    command: list[str]
    produces: list[Path]
    needs: list[str]
    cores: int
    key: str
    cost: Cost = Cost()


def load_recipe(name: str, output: Path, overrides: Mapping[str, Any]) -> list[Stage]:
    """Read a recipe and fill in its variables.

    Args:
        name: a recipe of the package (``quickstart``, ``camvid``), or a YAML file.
        output: the folder that ``{output}`` stands for.
        overrides: values for the recipe's variables.

    Raises:
        SegGenError: no such recipe, an unknown variable, stage or key.
    """
    path = find_file(name, "recipe")
    recipe = read_recipe(path)
    values = {**chosen(recipe.variables, overrides, f"recipe {recipe.name}"), "output": output.as_posix()}
    return expand(recipe.stages, values, output, str(path))


def chosen(variables: Mapping[str, Any], overrides: Mapping[str, Any], what: str) -> dict[str, Any]:
    """``variables`` with ``overrides`` in place of some.

    Raises:
        SegGenError: an override is none of them, or of another type; ``what`` names whose they are.
    """
    for key in overrides:
        if key not in variables:
            raise SegGenError(f"{what} has no variable {key!r}", expected=", ".join(variables), remedy=nearest(key, variables))
        kind = _KINDS.get(type(variables[key]))
        if kind and not isinstance(overrides[key], kind):
            raise SegGenError(f"{what}: variable {key} has the wrong type", expected=f"{kind[0].__name__}, such as {variables[key]!r}",
                              found=repr(overrides[key]), remedy="write lists as \"['A','B']\"" if kind[0] is list else "mend the value")
    return {**variables, **overrides}


def expand(files: Sequence[StageFile], values: Mapping[str, Any], output: Path, where: str, prefix: str = "") -> list[Stage]:
    """Stages with their variables filled in, each copy of its own.

    Raises:
        SegGenError: two have one name; a variable or a stage is unknown.
    """
    stages: dict[str, Stage] = {}
    for spec in files:
        for each in spec.each or [{}]:
            stage = make_stage(spec, {**values, **each}, output, stages, where, prefix)
            if stage.name in stages:
                raise SegGenError(f"recipe {where} has two stages {stage.name!r}")
            stages[stage.name] = stage
    return list(stages.values())


def read_recipe(path: Path) -> RecipeFile:
    """A recipe with those that it includes, which come first.

    Raises:
        SegGenError: a file is missing, or holds what is no recipe.
    """
    recipe = build(RecipeFile, load_yaml(path), f"recipe {path}")
    before = [read_recipe(ROOM / f"{name}.yaml") for name in recipe.include]
    stages = tuple(stage for each in (*before, recipe) for stage in each.stages)
    variables = {key: value for each in (*before, recipe) for key, value in each.variables.items()}
    return RecipeFile(recipe.name, recipe.description, stages, variables)


def find_file(name: str, what: str, folder: str = "") -> Path:
    """The YAML file ``name`` of the package's recipes, or of one of their folders; or a file.

    Raises:
        SegGenError: there is none of that name.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = {path.stem: path for path in (ROOM / folder).glob("*.yaml") if path.stem != "costs"}
    if name not in known:
        raise SegGenError(f"{what} {name!r} is not known", expected=", ".join(sorted(known)), remedy=nearest(name, known) + " or give a YAML file")
    return known[name]


def make_stage(spec: StageFile, values: Mapping[str, Any], output: Path, before: Mapping[str, Stage], where: str, prefix: str = "") -> Stage:
    """A stage with its variables filled in.

    Args:
        values: of the variables. before: the stages that it may need, by name.

    Raises:
        SegGenError: a variable or a stage is unknown; ``where`` names the file.
    """
    filled = Filling(values, f"{where}: stage {spec.name!r}")
    needs = [name for pattern in spec.needs for name in _matching(prefix + filled.text(pattern), before, spec.name, where)]
    command = filled.words(shlex.split(spec.command))
    texts = [" ".join(command), *(before[name].key for name in needs), *(_config_text(word, output) for word in command)]
    produces = [output / filled.text(p) for p in spec.produces]
    cores, key = int(filled.text(str(spec.cores))), fingerprint("\n".join(texts).encode())
    cost = spec.cost.times(check_range(spec.cost.per, values[spec.cost.per], 0, 10**12)) if spec.cost.per else spec.cost
    return Stage(prefix + filled.text(spec.name), command, produces, needs, cores, key, cost)


def _matching(pattern: str, before: Mapping[str, Stage], stage: str, where: str) -> list[str]:
    found = [name for name in before if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name)]
    if not found:
        raise SegGenError(f"recipe {where}: stage {stage!r} needs {pattern!r}, which no earlier stage is called",
                          remedy=nearest(pattern, before))
    return found


def _config_text(word: str, output: Path) -> str:
    """The values of the YAML files named in a word, their bases' with them: changing one makes the stage another one."""
    paths = [Path(name) for name in re.findall(r"[^'\",\[\]]+\.ya?ml\b", word)]
    configs = [path for path in paths if not path.is_relative_to(output) and path.is_file()]
    return "".join(_values_text(path) for path in configs)


def _values_text(path: Path) -> str:
    """A file's values; of a dataset its list of images, too, and how long its JSON is."""
    values = load_yaml(path)
    files, annotations = (path.parent / str(values.get(key) or "") for key in ("files", "json"))
    listed = files.read_text(encoding="utf-8") if files.is_file() else ""
    return json.dumps(values, sort_keys=True, default=str) + listed + (str(annotations.stat().st_size) if annotations.is_file() else "")

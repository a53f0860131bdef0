"""A table of the paper, from one command: planned, run as far as it is missing, and written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import write_json
from seggen_d2.sources import load_dataset

from .checkout import commit
from .estimate import estimate_text
from .filling import command_line
from .planning import ENGINES, Planner
from .protocol import Protocol, load_protocol
from .recipe import Cost, Stage
from .runner import Runner
from .world import World, load_world

PLAN_FORMAT = 1
OUTPUT = Path("output/reproduce")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        protocol: a name (``ablation``) or a YAML file.
        dataset: a world's name, a prepared dataset's, or its folder; "" is the protocol's own.
        scale: of the world; "" is its first. task: of a protocol that has several; "" is its first.
        engine: ``auto`` is Detectron2 where it is installed.
        seeds: trainings of each row. classes: of ``mIoU*``.
        rows, models: of the protocol, these alone; none is all.
        replications: labelled sets with generators and banks of their own, under the seeds in turn.
        output: folder of all artefacts; "" is by the dataset's name.
        values: of the world's variables.
        command: as it was given, for the table.
    """

    protocol: str
    dataset: str = ""
    scale: str = ""
    task: str = ""
    engine: str = "auto"
    seeds: int = 1
    classes: tuple[str, ...] = ()
    replications: int = 1
    output: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    rows: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reproduction:
    """A planned table: the stages that it needs, and what it will show."""

    protocol: Protocol
    world: World
    engine: str
    root: Path
    stages: list[Stage]
    plan: dict[str, Any]
    tasks: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the table goes."""
        return self.root / "tables" / "-".join((self.protocol.name, *self.tasks[:1], self.engine))

    @property
    def table_words(self) -> list[str]:
        """What makes the table, for the interpreter."""
        return ["tools/make_table.py", "--plan", str(self.folder / "plan.json"), "--output", str(self.folder)]

    def missing(self) -> list[str]:
        """Files of the dataset, and test sets that no stage makes, that must be there and are not."""
        tests = [column["dataset"] for column in self.plan["columns"] if not Path(column["dataset"]).is_relative_to(self.root)]
        lacking = [name for task in self.tasks for name in self.world.missing(task)]
        return list(dict.fromkeys([*lacking, *(name for name in tests if not Path(name).exists())]))


def plan_table(request: Request) -> Reproduction:
    """Plan a table; nothing is run.

    Raises:
        SegGenError: the protocol, the dataset, an option or a variable is wrong.
    """
    check_range("--seeds", request.seeds, 1, 100)
    protocol = load_protocol(request.protocol)
    dataset = request.dataset or protocol.world
    world = load_world(dataset, request.scale, request.values)
    protocol = load_protocol(world.file.tables.get(request.protocol, request.protocol)).part(request.rows, request.models)
    engine = check_choice("--engine", request.engine, ("auto", *ENGINES))
    engine = ("detectron2" if find_spec("detectron2") else "transformers") if engine == "auto" else engine
    is_first = world.scale == next(iter(world.file.scales))  # the others' costs are not known
    short = Path(dataset).name if is_first else f"{Path(dataset).name}-{world.scale}"
    root = Path(request.output) if request.output else OUTPUT / short
    planner = Planner(protocol, world, root, engine, request.seeds, request.task, request.classes, request.replications)
    rows = planner.plan()
    _check_classes(request.classes, rows["columns"])
    if all(row["not_run"] for row in rows["rows"]):
        raise SegGenError(f"no row of the table {protocol.name} can be run on {world.file.description} with the {engine} engine",
                          found="; ".join(sorted({row["not_run"] for row in rows["rows"]})),
                          remedy="choose another --dataset, --task or --engine; or run it from the repository's root")
    facts = {"format": PLAN_FORMAT, "name": protocol.name, "title": f"{protocol.title} ({world.file.description})", "source": protocol.source,
             "dataset": dataset, "scale": world.scale, "engine": engine, "commit": commit(), "command": request.command,
             "replications": request.replications, **rows}
    tasks = tuple(dict.fromkeys((planner.task, *(row.task for row in planner.rows if row.task))))
    stages = planner.stages if is_first else [replace(stage, cost=Cost()) for stage in planner.stages]
    return Reproduction(protocol, world, engine, root, stages, facts, tasks)


def dry_run(made: Reproduction) -> str:
    """Every command with what it is expected to take, and what is missing."""
    rows = [f"not run: {row['name']}: {row['not_run']}" for row in made.plan["rows"] if row["not_run"]]
    lacking = made.missing()
    rows += [f"not there yet: {', '.join(lacking)}; prepare: {made.world.file.prepare}"] if lacking else []
    head = f"{made.protocol.name} on {made.world.file.description}, scale {made.world.scale}, {made.engine} engine: {len(made.stages)} stages, into {made.root}"
    return "\n".join([head, estimate_text(made.stages), f"table\n  {command_line(['python', *made.table_words])}", *rows])


def reproduce(made: Reproduction, cores: Sequence[int], *, replicates: int = 1000) -> Path:
    """Run what is missing and write the table.

    Args:
        cores: CPU numbers to use. replicates: of the bootstrap.

    Returns:
        The folder of table.md, table.json and table.html.

    Raises:
        SegGenError: the dataset is not there, or a stage failed; the same command goes on.
    """
    check_range("--replicates", replicates, 1, 1_000_000)  # told before the trainings, not after them
    lacking = made.missing()
    if lacking:
        raise SegGenError(f"the table {made.protocol.name} needs {made.world.file.description}, which is not there", expected=", ".join(lacking),
                          found="no such file", remedy=f"prepare it: {made.world.file.prepare}")
    if made.engine == "detectron2" and not find_spec("detectron2"):
        raise SegGenError("the engine is not installed", expected="Detectron2, with Mask2Former beside it", found="no package detectron2",
                          remedy="install them (docs/detectron2.md), or give --engine transformers")
    runner = Runner(made.stages, made.root, list(cores), commit=made.plan["commit"])
    runner.run()
    write_json(made.folder / "plan.json", {**made.plan, "notes": [*made.plan["notes"], *_other_commits(runner, made.plan["commit"])]})
    command = [sys.executable, *made.table_words, "--replicates", str(replicates)]
    code = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": str(len(cores))}).returncode
    if code:
        raise SegGenError("the table could not be written", expected="exit code 0", found=f"exit code {code} of {command_line(command)}",
                          remedy="mend what it names above; the same command goes on")
    return made.folder


def _other_commits(runner: Runner, commit: str) -> list[str]:
    """A note of the stages that were made at another commit than the table."""
    others = {name: made_at for name, made_at in runner.commits().items() if made_at != commit}
    names = {made_at: ", ".join(name for name, other in others.items() if other == made_at) for made_at in sorted({*others.values()})}
    told = "; ".join(f"{made_at or 'unknown'}: {stages}" for made_at, stages in names.items())
    return [f"The commit above is that of the table; these stages were made at another one: {told}."] if others else []


def _check_classes(classes: Sequence[str], columns: Sequence[dict[str, Any]]) -> None:
    """Classes are of use where a column has a ``*``; where the test set is there already, they are among its own.

    Raises:
        SegGenError: they are not.
    """
    starred = [column for column in columns if column["figure"].endswith("*")]
    if classes and not starred:
        raise SegGenError("--classes is of no use for this table", expected="a column with a *, as synthetic-only has",
                          found=", ".join(column["name"] for column in columns), remedy="leave --classes out")
    for column in starred:
        if Path(column["dataset"]).is_file():
            names = load_dataset(column["dataset"]).categories.names
            for name in classes:
                check_choice("--classes: a category", name, names)

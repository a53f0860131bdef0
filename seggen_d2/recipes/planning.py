"""From a protocol and a world to stages, and to the plan that the table is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range

from .protocol import MAIN, Column, Protocol, Row
from .recipe import Stage
from .trainings import Site, Trainings
from .world import World

ENGINES = ("transformers", "detectron2")
ORACLES = ("oracle", "oracle-imgsyn")  # banks of true scenes, which only a world that is drawn has


@dataclass
class Planner:
    """Plans a table: each of its trainings and what they need, once.

    Args:
        protocol, world: what is asked for, and on what.
        root: folder of the world's artefacts, which all its tables share.
        engine: ``transformers`` or ``detectron2``. seeds: trainings of each row. task: of the rows that name none.
        classes: names of categories that ``mIoU*`` is over; none is all.
        replications: labelled sets, generators and banks; seed ``s`` stands on those of number ``s % replications``.

    Raises:
        SegGenError: the protocol has no such task, or the world no such evaluation or one chain only.
    """

    protocol: Protocol
    world: World
    root: Path
    engine: str
    seeds: int
    task: str = ""
    classes: Sequence[str] = ()
    replications: int = 1
    wanted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        possible = [task for task in self.protocol.tasks if task in self.world.file.tasks] or self.protocol.tasks
        own = [task for task in possible if task == self.world.values.get("own_task", task)]
        self.task = check_choice(f"--task for {self.protocol.name}", self.task or (own or possible)[0], self.protocol.tasks)
        self._check_replications()
        self.rows = self.protocol.rows_of(self.world.file.models)
        self.trainings = Trainings(self.world, self.root, self.engine, self.protocol.name)
        for task in dict.fromkeys(row.task or self.task for row in self.rows):
            for replication in range(self.replications):
                self.trainings.open(Site(task, replication))

    def _check_replications(self) -> None:
        check_range("--replications", self.replications, 1, self.seeds)
        if self.replications > 1 and not self.world.file.replicable:
            raise SegGenError(f"--replications is of no use for {self.world.file.name}", expected="1: its labelled set is one", found=self.replications,
                              remedy="leave --replications out")

    def plan(self) -> dict[str, Any]:
        """``columns``, ``rows``, ``pairs`` and ``notes`` of the plan; the stages that they need are planned with them."""
        columns = [self._column(column) for column in self.protocol.columns]
        rows = [self._row(row) for row in self.rows]
        notes = [*self.protocol.notes, *dict.fromkeys(row.note for row in self.protocol.rows if row.note)]
        notes += [*self.world.file.notes, *self.world.file.notes_of.get(self.world.scale, ()), *self._stand_ins(), *self._all_classes(), *self._things()]
        pairs = [asdict(pair) for pair in self.protocol.pairs_of(self.world.file.models)]
        return {"columns": columns, "rows": rows, "pairs": pairs, "notes": notes}

    @property
    def stages(self) -> list[Stage]:
        """The stages that the rows need, in order; those of :meth:`plan`, after it."""
        needed, left = set(), list(self.wanted)
        while left:
            name = left.pop()
            if name not in needed:
                needed.add(name)
                left += self.trainings.stages[name].needs
        return [stage for name, stage in self.trainings.stages.items() if name in needed]

    # -- what the table holds --------------------------------------------------------------------------------------

    def _column(self, column: Column) -> dict[str, Any]:
        task = column.task or self.task
        kind, site = column.kind or task, Site(task)
        figure = (column.figure or "{main}").replace("{main}", MAIN[kind])
        figure = figure if self.classes else figure.removesuffix("*")
        objects = self.world.file.objects if (task, kind, column.evaluation) == ("panoptic", "instance", "") else ""
        file = self.trainings.filled(objects or self.trainings.images(column.evaluation, site).file, site)
        classes = list(self.classes) if figure.endswith("*") else []
        return {"name": self._column_name(column), "figure": figure, "kind": kind, "dataset": file, "classes": classes}

    def _column_name(self, column: Column) -> str:
        return column.name.replace("{main}", MAIN[column.kind or column.task or self.task])

    def _row(self, row: Row) -> dict[str, Any]:
        site, segmenter = Site(row.task or self.task), self.world.file.models.get(row.model)
        config = "" if segmenter is None else self.trainings.config(row, site, segmenter)
        reason = self._not_run(row, site, config)
        names = {column.name: self._column_name(column) for column in self.protocol.columns}
        runs = [] if reason else [self._run(row, Site(site.task, seed % self.replications), seed) for seed in range(self.seeds)]
        paper = {names[name]: value for name, value in row.paper.items() if self.task == self.protocol.tasks[0]}
        return {"name": row.name, "model": row.model, "against": row.against, "oracle": row.oracle, "paper": paper,
                "not_run": reason, "config": config, "runs": runs}

    def _not_run(self, row: Row, site: Site, config: str) -> str:
        """Why a row can't be trained here, or ""."""
        file, segmenter = self.world.file, self.world.file.models.get(row.model)
        if site.task not in file.tasks or site.task != self.world.values.get("own_task", site.task):
            return f"{file.name} has no labels for {site.task} segmentation"
        if segmenter is None:
            return f"{row.model} is not set up for {file.name}, which has {', '.join(file.models)}"
        if self.engine not in segmenter.engines:
            return segmenter.why
        if any(bank in ORACLES and not self.trainings.has_bank(bank, site) for bank in row.banks):
            return f"{file.name} has no more true scenes than its labelled ones"
        absent = Path(config).parent.is_dir() and not Path(config).is_file()
        return f"there is no config {config}" if absent else ""

    def _run(self, row: Row, site: Site, seed: int) -> dict[str, Any]:
        training = self.trainings.training(row, site, seed)
        columns = [column for column in self.protocol.columns if (column.task or self.task) == site.task]
        looks = dict.fromkeys(column.evaluation for column in columns if column.evaluation)
        self.wanted += [site.prefix + name for name in (training[0], *(self.trainings.evaluation(name, row, training, site) for name in looks))]
        run = self.trainings.below(training[1], site)
        predictions = {self._column_name(column): self.trainings.filled(self.trainings.predictions(run, column.evaluation, site), site) for column in columns}
        return {"seed": seed, "folder": run, "predictions": predictions}

    # -- what is told below it -------------------------------------------------------------------------------------

    def _stand_ins(self) -> list[str]:
        models = self.world.file.models
        words = [f"{name} is {models[name].words}" for name in dict.fromkeys(row.model for row in self.rows) if name in models and models[name].words]
        return [f"Here {'; '.join(words)}."] if words else []

    def _all_classes(self) -> list[str]:
        starred = [column.name for column in self.protocol.columns if column.figure.endswith("*")]
        return [f"{', '.join(starred)} is over all categories here; the paper's is over those compared (--classes)."] if starred and not self.classes else []

    def _things(self) -> list[str]:
        names = [column.name for column in self.protocol.columns if (column.task or self.task, column.kind) == ("panoptic", "instance")]
        here = f"{', '.join(names)} is counted against the things of the panoptic truth here; the paper's is against COCO's instance annotations."
        return [here] if names and not self.world.file.objects else []

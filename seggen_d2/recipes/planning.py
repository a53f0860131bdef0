"""From a protocol and a world to stages, and to the plan that the table is made from."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.options import load_yaml

from .filling import Filling, command_line
from .protocol import MAIN, Column, Protocol, Row
from .recipe import Stage, StageFile, expand, make_stage
from .world import Evaluation, ImageSet, Segmenter, World

METRICS = "metrics_final.json"
ENGINES = ("transformers", "detectron2")
ANNOTATOR_ENGINE = "transformers"  # its models are what tools/label_bank.py opens


@dataclass
class Planner:
    """Plans a table: each of its trainings and what they need, once.

    Args:
        protocol, world: what is asked for, and on what.
        root: folder of the world's artefacts, which all its tables share.
        engine: ``transformers`` or ``detectron2``. seeds: trainings of each row. task: of the rows that name none.
        classes: names of categories that ``mIoU*`` is over; none is all.

    Raises:
        SegGenError: the protocol has no such task, or the world no such evaluation.
    """

    protocol: Protocol
    world: World
    root: Path
    engine: str
    seeds: int
    task: str = ""
    classes: Sequence[str] = ()
    all_stages: dict[str, Stage] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        possible = [task for task in self.protocol.tasks if task in self.world.file.tasks] or self.protocol.tasks
        own = [task for task in possible if task == self.world.values.get("own_task", task)]
        self.task = check_choice(f"--task for {self.protocol.name}", self.task or (own or possible)[0], self.protocol.tasks)
        for task in dict.fromkeys(row.task or self.task for row in self.protocol.rows):
            for stage in expand(self.world.stages, self.values(task), self.root / task, str(self.world.path), f"{task}."):
                self.all_stages[stage.name] = stage

    def values(self, task: str, **more: Any) -> dict[str, Any]:
        """Of the variables, for a task; those of the world may name others."""
        known = {**self.world.values, "task": task, "output": (self.root / task).as_posix(), "engine": self.engine, **more}
        filling = Filling(known, f"world {self.world.path}")
        return {key: filling.text(value) if isinstance(value, str) else value for key, value in known.items()}

    def _filled(self, text: str, task: str, **more: Any) -> str:
        return Filling(self.values(task, **more), str(self.world.path)).text(text)

    def plan(self) -> dict[str, Any]:
        """``columns``, ``rows`` and ``notes`` of the plan; the stages that they need are planned with them."""
        columns = [self._column(column) for column in self.protocol.columns]
        rows = [self._row(row) for row in self.protocol.rows]
        notes = [*self.protocol.notes, *self.world.file.notes, *self.world.file.notes_of.get(self.world.scale, ())]
        notes += [*self._stand_ins(), *self._all_classes(), *self._things()]
        return {"columns": columns, "rows": rows, "notes": notes}

    @property
    def stages(self) -> list[Stage]:
        """The stages that the rows need, in order; those of :meth:`plan`, after it."""
        needed, left = set(), list(self.wanted)
        while left:
            name = left.pop()
            if name not in needed:
                needed.add(name)
                left += self.all_stages[name].needs
        return [stage for name, stage in self.all_stages.items() if name in needed]

    # -- what the table holds --------------------------------------------------------------------------------------

    def _column(self, column: Column) -> dict[str, Any]:
        task = column.task or self.task
        kind = column.kind or task
        figure = (column.figure or "{main}").replace("{main}", MAIN[kind])
        figure = figure if self.classes else figure.removesuffix("*")
        objects = self.world.file.objects if (task, kind, column.evaluation) == ("panoptic", "instance", "") else ""
        file = self._filled(objects or self._images(column.evaluation, task).file, task)
        classes = list(self.classes) if figure.endswith("*") else []
        return {"name": self._column_name(column), "figure": figure, "kind": kind, "dataset": file, "classes": classes}

    def _column_name(self, column: Column) -> str:
        return column.name.replace("{main}", MAIN[column.kind or column.task or self.task])

    def _row(self, row: Row) -> dict[str, Any]:
        task, segmenter = row.task or self.task, self.world.file.models.get(row.model)
        config = "" if segmenter is None else self._config(row, task, segmenter)
        reason = self._not_run(row, task, segmenter, config)
        names = {column.name: self._column_name(column) for column in self.protocol.columns}
        runs = [] if reason or segmenter is None else [self._run(row, task, segmenter, config, seed) for seed in range(self.seeds)]
        paper = {names[name]: value for name, value in row.paper.items() if self.task == self.protocol.tasks[0]}
        return {"name": row.name, "model": row.model, "against": row.against, "paper": paper,
                "not_run": reason, "config": config, "runs": runs}

    def _config(self, row: Row, task: str, segmenter: Segmenter) -> str:
        setting = self.world.file.settings.get(row.setting, row.setting)
        return self._filled(segmenter.config, task, setting=setting)

    def _not_run(self, row: Row, task: str, segmenter: Segmenter | None, config: str) -> str:
        """Why a row can't be trained here, or ""."""
        name = self.world.file.name
        if task not in self.world.file.tasks or task != self.world.values.get("own_task", task):
            return f"{name} has no labels for {task} segmentation"
        if segmenter is None:
            return f"{row.model} is not set up for {name}, which has {', '.join(self.world.file.models)}"
        if self.engine not in segmenter.engines:
            return segmenter.why
        absent = Path(config).parent.is_dir() and not Path(config).is_file()
        return f"there is no config {config}" if absent else ""

    def _stand_ins(self) -> list[str]:
        used = dict.fromkeys(row.model for row in self.protocol.rows)
        words = [f"{name} is {self.world.file.models[name].words}" for name in used if name in self.world.file.models and self.world.file.models[name].words]
        return [f"Here {'; '.join(words)}."] if words else []

    def _all_classes(self) -> list[str]:
        starred = [column.name for column in self.protocol.columns if column.figure.endswith("*")]
        return [f"{', '.join(starred)} is over all categories here; the paper's is over those compared (--classes)."] if starred and not self.classes else []

    def _things(self) -> list[str]:
        names = [column.name for column in self.protocol.columns if (column.task or self.task, column.kind) == ("panoptic", "instance")]
        here = f"{', '.join(names)} is counted against the things of the panoptic truth here; the paper's is against COCO's instance annotations."
        return [here] if names and not self.world.file.objects else []

    # -- what has to run -------------------------------------------------------------------------------------------

    def _run(self, row: Row, task: str, segmenter: Segmenter, config: str, seed: int) -> dict[str, Any]:
        training, folder = self._training(row, task, segmenter, config, seed, self.engine)
        columns = [column for column in self.protocol.columns if (column.task or self.task) == task]
        names = [training, *(self._evaluation(name, training, folder, task, segmenter, config)
                             for name in dict.fromkeys(column.evaluation for column in columns if column.evaluation))]
        self.wanted += [f"{task}.{name}" for name in names]
        run = self._below(folder, task)
        predictions = {self._column_name(column): self._filled(self._predictions(run, column.evaluation, task), task) for column in columns}
        return {"seed": seed, "folder": run, "predictions": predictions}

    def _training(self, row: Row, task: str, segmenter: Segmenter, config: str, seed: int, engine: str) -> tuple[str, str]:
        """The stage of a training, and the run's folder, both within the task."""
        name = f"{row.model.replace(' ', '-')}-{row.run or row.setting}-seed{seed}"
        folder, banks = f"runs/{engine}/{name}", [self._bank(bank, row, task) for bank in row.banks]
        goes_on = ["--resume"] if engine == "detectron2" else []  # the other goes on by itself, and refuses another config
        words = ["--config-file", config, *goes_on, "OUTPUT_DIR", self._below(folder, task), "SEED", str(seed)]
        words += [*self._common(task, segmenter, engine, self.world.file.test), *self.world.file.of_settings.get(row.setting, ())]
        words += ["SEGGEN.BANKS", _listed(self._below(f"banks/{bank}", task) for bank in row.banks)] if banks else []
        needs = [*banks, *self.world.file.train.needs, *self.world.file.test.needs]
        produces = [f"{folder}/{METRICS}", self._predictions(folder, "", task)]
        spec = StageFile(f"train-{engine}-{name}", self._command(engine, words), produces, needs, self.world.file.cores, cost=segmenter.cost(row.setting))
        return self._add(spec, task, engine), folder

    def _bank(self, bank: str, row: Row, task: str) -> str:
        """The stage that makes a bank; the annotator's needs a model trained on real data."""
        if bank != "annotator":
            return f"bank-{bank}"
        real, segmenter = Row("annotator", "real", row.model, task), self.world.file.models[row.model]
        training, folder = self._training(real, task, segmenter, self._config(real, task, segmenter), 0, ANNOTATOR_ENGINE)
        spec = self.world.file.annotator
        command = spec.command.replace("{segmenter}", shlex.quote(self._below(folder, task)))
        return self._add(replace(spec, command=command, needs=[*spec.needs, training]), task, self.engine)

    def _evaluation(self, name: str, training: str, folder: str, task: str, segmenter: Segmenter, config: str) -> str:
        """The stage of another look at a trained model; what it leaves lies below the run's folder."""
        evaluation, images, run = self._known(name), self._images(name, task), self._below(folder, task)
        options = [*evaluation.options, "DATASETS.TEST", f"['{images.name}']"] if evaluation.test else list(evaluation.options)
        words = ["--config-file", config, "--eval-only", "OUTPUT_DIR", f"{run}/{name}", *self._common(task, segmenter, self.engine, images), *options,
                 "MODEL.WEIGHTS", run]
        spec = StageFile(training.replace("train-", f"{name}-", 1), self._command(self.engine, words),
                         [f"{folder}/{name}/{METRICS}", self._predictions(folder, name, task)], [training, *images.needs], self.world.file.cores)
        return self._add(spec, task, self.engine)

    def _below(self, place: str, task: str) -> str:
        """A place within the task's folder, for commands and for the plan."""
        return (self.root / task / place).as_posix()

    def _predictions(self, folder: str, evaluation: str, task: str) -> str:
        """Where a run keeps what it predicted; the name may hold variables."""
        images = self._images(evaluation, task).name
        return f"{folder}/{evaluation}/predictions/{images}{self._known(evaluation).ending}" if evaluation else f"{folder}/predictions/{images}"

    def _common(self, task: str, segmenter: Segmenter, engine: str, images: ImageSet) -> list[str]:
        """Words of every training and evaluation."""
        words = ["SEGGEN.ENGINE", engine, "TEST.SAVE_PREDICTIONS", "True", "SEGGEN.DATASETS", _listed((self.world.file.train.file, images.file))]
        return [*words, *self.world.file.options, *segmenter.options, *getattr(segmenter, engine)]

    def _command(self, engine: str, words: list[str]) -> str:
        return shlex.join([*self.world.file.launch[engine], *words])

    def _add(self, spec: StageFile, task: str, engine: str) -> str:
        """Plan a stage; its name within the task, as other stages' needs have it."""
        prefix = f"{task}."
        stage = make_stage(spec, self.values(task, engine=engine), self.root / task, self.all_stages, str(self.world.path), prefix)
        if self.all_stages.setdefault(stage.name, stage).key != stage.key:
            raise SegGenError(f"protocol {self.protocol.name}: two rows would share the run {stage.name}",
                              expected="a run of its own for each way of training",
                              found="\nand ".join(command_line(each.command) for each in (stage, self.all_stages[stage.name])),
                              remedy="give one of the rows a name: run: NAME")
        return stage.name.removeprefix(prefix)

    def _known(self, name: str) -> Evaluation:
        check_choice(f"an evaluation of {self.world.file.name}", name, self.world.file.evaluations)
        evaluation = self.world.file.evaluations[name]
        lacking = [variable for variable in evaluation.given if not self.world.values.get(variable)]
        if lacking:
            raise SegGenError(f"the table {self.protocol.name} needs more on {self.world.file.name}", expected=f"values of {', '.join(lacking)}",
                              found="none", remedy=evaluation.remedy)
        return evaluation

    def _images(self, evaluation: str, task: str) -> ImageSet:
        """What an evaluation looks at."""
        images = (self._known(evaluation).test or self.world.file.test) if evaluation else self.world.file.test
        file = Path(self._filled(images.file, task))
        return images if images.name else replace(images, name=str(load_yaml(file).get("name", "")) if file.is_file() else "NAME")


def _listed(paths: Any) -> str:
    return "[" + ",".join(f"'{path}'" for path in paths) + "]"

"""The stages of trainings and of further looks at trained models: which commands, on which data and banks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.options import load_yaml

from .filling import Filling, command_line
from .protocol import Row
from .recipe import Stage, StageFile, expand, make_stage
from .world import Evaluation, ImageSet, Segmenter, World

METRICS = "metrics_final.json"
ANNOTATOR = "annotator"  # the bank that a segmenter labelled
ANNOTATOR_ENGINE = "transformers"  # its models are what tools/label_bank.py opens


@dataclass(frozen=True)
class Site:
    """Where artefacts that belong together lie: those of a task, and of one of the replications of labelled set and generators."""

    task: str
    replication: int = 0

    @property
    def folder(self) -> str:
        """Below the world's folder."""
        return f"{self.task}/replication-{self.replication}" if self.replication else self.task

    @property
    def prefix(self) -> str:
        """Of its stages' names."""
        return self.folder.replace("/", ".") + "."


@dataclass
class Trainings:
    """Plans trainings, once each, and the stages that they stand on.

    Args:
        world: what is trained on. root: folder of its artefacts. engine: ``transformers`` or ``detectron2``.
        table: the protocol's name, for errors.
    """

    world: World
    root: Path
    engine: str
    table: str
    stages: dict[str, Stage] = field(default_factory=dict)

    def open(self, site: Site) -> None:
        """Plan how the site's data, generators and banks are made."""
        for stage in expand(self.world.stages, self.values(site), self.root / site.folder, str(self.world.path), site.prefix):
            self.stages[stage.name] = stage

    def values(self, site: Site, **more: Any) -> dict[str, Any]:
        """Of the variables, at a site; those of the world may name others."""
        known = {**self.world.values, "task": site.task, "replication": site.replication, "output": (self.root / site.folder).as_posix(),
                 "engine": self.engine, **more}
        filling = Filling(known, f"world {self.world.path}")
        return {key: filling.text(value) if isinstance(value, str) else value for key, value in known.items()}

    def filled(self, text: str, site: Site, **more: Any) -> str:
        """A text of the world with its variables filled in."""
        return Filling(self.values(site, **more), str(self.world.path)).text(text)

    def below(self, place: str, site: Site) -> str:
        """A place within the site's folder, for commands and for the plan."""
        return (self.root / site.folder / place).as_posix()

    def config(self, row: Row, site: Site, segmenter: Segmenter) -> str:
        """The config file of a row."""
        return self.filled(segmenter.config, site, setting=self.world.file.settings.get(row.setting, row.setting))

    def has_bank(self, bank: str, site: Site) -> bool:
        """Whether some stage of the world makes a bank."""
        return bank == ANNOTATOR or f"{site.prefix}bank-{bank}" in self.stages

    def training(self, row: Row, site: Site, seed: int, engine: str = "") -> tuple[str, str]:
        """The stage of a training, and the run's folder, both within the site."""
        segmenter, engine = self.world.file.models[row.model], engine or self.engine
        name = f"{row.model.replace(' ', '-')}-{row.run or row.setting}-seed{seed}"
        folder, banks = f"runs/{engine}/{name}", [self._bank(bank, row, site) for bank in row.banks]
        goes_on = ["--resume"] if engine == "detectron2" else []  # the other goes on by itself, and refuses another config
        words = ["--config-file", self.config(row, site, segmenter), *goes_on, "OUTPUT_DIR", self.below(folder, site), "SEED", str(seed)]
        words += [*self._common(segmenter, engine, self.world.file.test), *self.world.file.of_settings.get(row.setting, ())]
        words += ["SEGGEN.BANKS", _listed(self.below(f"banks/{self._bank_name(bank, row)}", site) for bank in row.banks)] if banks else []
        needs = [*banks, *self.world.file.train.needs, *self.world.file.test.needs]
        produces = [f"{folder}/{METRICS}", self.predictions(folder, "", site)]
        spec = StageFile(f"train-{engine}-{name}", self._command(engine, [*words, *row.options]), produces, needs, self.world.file.cores,
                         cost=segmenter.cost(row.setting))
        return self._add(spec, site, engine=engine), folder

    def evaluation(self, name: str, row: Row, training: tuple[str, str], site: Site) -> str:
        """The stage of another look at a trained model; what it leaves lies below the run's folder."""
        evaluation, images, segmenter = self._known(name), self.images(name, site), self.world.file.models[row.model]
        stage, folder = training
        run, config = self.below(folder, site), self.config(row, site, segmenter)
        options = [*evaluation.options, "DATASETS.TEST", f"['{images.name}']"] if evaluation.test else list(evaluation.options)
        words = ["--config-file", config, "--eval-only", "OUTPUT_DIR", f"{run}/{name}", *self._common(segmenter, self.engine, images), *options,
                 *row.options, "MODEL.WEIGHTS", run]
        spec = StageFile(stage.replace("train-", f"{name}-", 1), self._command(self.engine, words),
                         [f"{folder}/{name}/{METRICS}", self.predictions(folder, name, site)], [stage, *images.needs], self.world.file.cores)
        return self._add(spec, site)

    def predictions(self, folder: str, evaluation: str, site: Site) -> str:
        """Where a run keeps what it predicted; the name may hold variables."""
        images = self.images(evaluation, site).name
        return f"{folder}/{evaluation}/predictions/{images}{self._known(evaluation).ending}" if evaluation else f"{folder}/predictions/{images}"

    def images(self, evaluation: str, site: Site) -> ImageSet:
        """What an evaluation looks at."""
        images = (self._known(evaluation).test or self.world.file.test) if evaluation else self.world.file.test
        file = Path(self.filled(images.file, site))
        return images if images.name else replace(images, name=str(load_yaml(file).get("name", "")) if file.is_file() else "NAME")

    def _bank(self, bank: str, row: Row, site: Site) -> str:
        """The stage that makes a bank; the annotator's needs a model of the row's kind, trained on real data."""
        if bank != ANNOTATOR:
            return f"bank-{bank}"
        stage, folder = self.training(Row(ANNOTATOR, "real", row.model, row.task), site, 0, ANNOTATOR_ENGINE)
        spec = self.world.file.annotator
        command = spec.command.replace("{segmenter}", shlex.quote(self.below(folder, site)))
        return self._add(replace(spec, command=command, needs=[*spec.needs, stage]), site, annotator=self._bank_name(ANNOTATOR, row))

    def _bank_name(self, bank: str, row: Row) -> str:
        """Of its folder: annotators of different models are different banks."""
        first = next(iter(self.world.file.models))
        return bank if bank != ANNOTATOR or row.model == first else f"{bank}-{row.model.replace(' ', '-')}"

    def _common(self, segmenter: Segmenter, engine: str, images: ImageSet) -> list[str]:
        """Words of every training and evaluation."""
        words = ["SEGGEN.ENGINE", engine, "TEST.SAVE_PREDICTIONS", "True", "SEGGEN.DATASETS", _listed((self.world.file.train.file, images.file))]
        return [*words, *self.world.file.options, *segmenter.options, *getattr(segmenter, engine)]

    def _command(self, engine: str, words: list[str]) -> str:
        return shlex.join([*self.world.file.launch[engine], *words])

    def _add(self, spec: StageFile, site: Site, **more: Any) -> str:
        """Plan a stage; its name within the site, as other stages' needs have it."""
        stage = make_stage(spec, self.values(site, **more), self.root / site.folder, self.stages, str(self.world.path), site.prefix)
        if self.stages.setdefault(stage.name, stage).key != stage.key:
            raise SegGenError(f"protocol {self.table}: two rows would share the run {stage.name}",
                              expected="a run of its own for each way of training",
                              found="\nand ".join(command_line(each.command) for each in (stage, self.stages[stage.name])),
                              remedy="give one of the rows a name: run: NAME")
        return stage.name.removeprefix(site.prefix)

    def _known(self, name: str) -> Evaluation:
        check_choice(f"an evaluation of {self.world.file.name}", name, self.world.file.evaluations)
        evaluation = self.world.file.evaluations[name]
        lacking = [variable for variable in evaluation.given if not self.world.values.get(variable)]
        if lacking:
            raise SegGenError(f"the table {self.table} needs more on {self.world.file.name}", expected=f"values of {', '.join(lacking)}",
                              found="none", remedy=evaluation.remedy)
        return evaluation


def _listed(paths: Iterable[str]) -> str:
    return "[" + ",".join(f"'{path}'" for path in paths) + "]"

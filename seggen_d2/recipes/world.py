"""A world: what a protocol's words stand for on one dataset, at one size. Its data, banks, segmenters and evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice, nearest
from seggen_d2.foundation.options import build, load_yaml

from .filling import Filling
from .recipe import ROOM, Cost, StageFile, chosen, read_recipe

OWN = "own"  # the world of datasets that have none of their own
SMALL = "small"  # the scale of a rehearsal, which datasets prepared with --small have alone


@dataclass(frozen=True)
class Segmenter:
    """What a model's name stands for.

    Attributes:
        config: its config files; ``{setting}`` stands for what :attr:`World.settings` makes of a row's setting.
        words: what it is, for the table's readers, where the name does not say it.
        options: KEY VALUE words on top of the config; those of an engine come after.
        transformers, detectron2: options of one engine.
        engines: that can run it; ``why`` tells what the other lacks.
        costs: of one training, by setting; "" is that of all others.
    """

    config: str
    words: str = ""
    options: tuple[str, ...] = ()
    transformers: tuple[str, ...] = ()
    detectron2: tuple[str, ...] = ()
    engines: tuple[str, ...] = ("transformers", "detectron2")
    why: str = ""
    costs: dict[str, Cost] = field(default_factory=dict)

    def cost(self, setting: str) -> Cost:
        """What a training of a setting is expected to take."""
        return self.costs.get(setting, self.costs.get("", Cost()))


@dataclass(frozen=True)
class ImageSet:
    """Images to train or test on: the dataset's name ("" is what its file says), its file, and the stages that make it."""

    name: str
    file: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """Another look at a trained model.

    Attributes:
        options: KEY VALUE words of ``train_net.py --eval-only``.
        test: other images; None takes the usual ones.
        ending: of the predictions' folder, as the engines have it.
        given: variables that must be given, as they have no default; ``remedy`` tells what to give.
    """

    options: tuple[str, ...] = ()
    test: ImageSet | None = None
    ending: str = ""
    given: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class WorldFile:
    """The YAML file of a world; ``{task}``, ``{output}`` and its variables may stand in all texts.

    Attributes:
        name, description: of the dataset.
        tasks: that it has labels for.
        scales: by name, values of variables; the first is the default.
        train, test: the training images, and those that tables are about.
        models: by the names that protocols use, :class:`Segmenter`.
        launch: by engine, the words that start a training.
        annotator: the stage that labels the bank ``unlabelled`` by the model ``{segmenter}``: the bank ``{annotator}``, one for each model.
        include, stages, variables: as in :class:`RecipeFile`: how data, captions, generators and banks are made.
        requires: files that must be there before anything runs. prepare: how they are made.
        tables: protocols that stand in for others here, by the others' names.
        replicable: its stages make other labelled sets, generators and banks for each ``{replication}``.
        objects: the dataset's file that a panoptic model's objects are scored against; "" is the things of its panoptic truth.
        settings: what settings are called in names of configs, where it differs.
        options: KEY VALUE words of every training and evaluation. cores: of each, as :class:`StageFile` has it.
        of_settings: KEY VALUE words of trainings of one setting.
        evaluations: by the names that protocols use, :class:`Evaluation`.
        notes: sentences below each table of this world. notes_of: of one scale.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    scales: dict
    train: ImageSet
    test: ImageSet
    models: dict[str, Segmenter]
    launch: dict
    annotator: StageFile
    include: tuple[str, ...] = ()
    stages: tuple[StageFile, ...] = ()
    variables: dict = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    prepare: str = ""
    tables: dict[str, str] = field(default_factory=dict)
    replicable: bool = False
    objects: str = ""
    settings: dict = field(default_factory=dict)
    options: tuple[str, ...] = ()
    of_settings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cores: int | str = 1
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    notes_of: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """A world at one scale: its file, the stages of what it includes, and the values of its variables."""

    file: WorldFile
    path: Path
    scale: str
    stages: tuple[StageFile, ...]
    values: Mapping[str, Any]

    def missing(self, task: str) -> list[str]:
        """The files that must be there and are not."""
        filled = [Filling({**self.values, "task": task}, f"world {self.path}").text(name) for name in self.file.requires]
        return [name for name in filled if not Path(name).exists()]


def load_world(name: str, scale: str = "", overrides: Mapping[str, Any] | None = None) -> World:
    """The world of a dataset.

    Args:
        name: a world of the package, or a prepared dataset: its folder, or that below ``datasets/``.
        scale: one of the world's; "" is its first.
        overrides: values of its variables.

    Raises:
        SegGenError: there is no such dataset, scale or variable.
    """
    known = {path.stem: path for path in (ROOM / "worlds").glob("*.yaml") if path.stem != OWN}
    path = known.get(name, ROOM / "worlds" / f"{OWN}.yaml")
    facts = {} if name in known else _prepared(name, known)
    file = build(WorldFile, load_yaml(path), f"world {path}")
    usual = SMALL if facts.pop("is_small", False) else next(iter(file.scales))
    scale = check_choice(f"--scale for {name}", scale or usual, file.scales if usual != SMALL or len(file.scales) == 1 else [SMALL])
    included = [read_recipe(ROOM / f"{each}.yaml") for each in file.include]
    variables = {key: value for each in (*(recipe.variables for recipe in included), file.variables, file.scales[scale] or {}) for key, value in each.items()}
    values = chosen({**variables, **facts}, overrides or {}, f"the world of {name}")
    stages = tuple(stage for each in (*included, file) for stage in each.stages)
    return World(file, path, scale, stages, values)


def _prepared(name: str, known: Mapping[str, Path]) -> dict[str, Any]:
    """What the files of a prepared dataset tell: folder, names and task.

    Raises:
        SegGenError: there is no such folder.
    """
    folder = next((each for each in (Path(name), Path("datasets") / name) if (each / "train.yaml").is_file()), None)
    if folder is None:
        raise SegGenError(f"no dataset is called {name!r}",
                          expected=f"{', '.join(sorted(known))}, or a prepared dataset: a folder with train.yaml and val.yaml",
                          found=f"neither {name}/train.yaml nor datasets/{name}/train.yaml",
                          remedy=f"{nearest(name, known)}; or python datasets/prepare_folder.py --output datasets/{Path(name).name} (docs/own-dataset.md)")
    train, val = (load_yaml(folder / f"{side}.yaml") for side in ("train", "val"))
    generator = load_yaml(folder / "text2mask.yaml") if (folder / "text2mask.yaml").is_file() else {}
    return {"is_small": generator.get("base") == "toy", "folder": folder.as_posix(), "train_name": train.get("name", ""), "test_name": val.get("name", ""),
            "own_task": train.get("task", "semantic")}

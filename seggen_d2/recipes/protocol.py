"""A protocol: a table of the paper as data. Which rows, trained how and on what, by which figures they are compared."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from seggen_d2.foundation.errors import SegGenError, check_choice, nearest
from seggen_d2.foundation.options import build, load_yaml

from .recipe import find_file

MAIN = {"semantic": "mIoU", "panoptic": "PQ", "instance": "AP"}  # the figure that a task is judged by


@dataclass(frozen=True)
class Column:
    """A figure that rows are compared by.

    Attributes:
        name: what the table calls it.
        figure: its name in the scores of its kind; "" is the main one of the row's task (mIoU, PQ, AP).
        kind: of predictions: ``semantic``, ``panoptic`` or ``instance``; "" is the row's task.
        task: of the rows that have it; "" is all.
        evaluation: "" for the test images as they are, or a key of the world's ``evaluations``.
    """

    name: str
    figure: str = ""
    kind: str = ""
    task: str = ""
    evaluation: str = ""


@dataclass(frozen=True)
class Row:
    """A way of training.

    Attributes:
        name: unique in the table.
        setting: the name of its config: ``real``, ``real+seggen``, ``synthetic``, ...
        model: the segmenter, a key of the world's ``models``; "" stands for each of the protocol's in turn.
        task: of data and segmenter; "" is the one that the table is asked for.
        banks: that it trains on: ``masksyn``, ``imgsyn``, ``annotator``, ``oracle``, or another that a stage ``bank-NAME`` makes.
        options: KEY VALUE words on top of all others; such a row needs a ``run`` of its own.
        run: what the folders of its runs are called; "" is the setting. Tables share runs of one name.
        against: the row that it is compared with; "" is none.
        oracle: the row of true scenes whose gain is what perfect generators would reach; this row's gain is told as a share of it.
        paper: the paper's figures, by column.
        note: a sentence below every table that has the row.
    """

    name: str
    setting: str
    model: str = ""
    task: str = ""
    banks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    run: str = ""
    against: str = ""
    oracle: str = ""
    paper: dict = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """Two rows that are compared below the table."""

    row: str
    against: str


@dataclass(frozen=True)
class Protocol:
    """A table.

    Attributes:
        name: the word that asks for it. title: above the table. source: where the paper's figures stand.
        world: the dataset that it is made for; others will do.
        tasks: that it can be asked for; the first is taken unless another is named.
        columns, rows: of the table.
        models: rows that name no model stand once for each of these that the world has, and are called by it where they are several.
        pairs: rows that are compared besides. notes: sentences below it, whichever rows it has.
    """

    name: str
    title: str
    source: str
    world: str
    tasks: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    models: tuple[str, ...] = ("R50",)
    pairs: tuple[Pair, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names, columns = [row.name for row in self.rows], [column.name for column in self.columns]
        for kind, all_names in (("rows", names), ("columns", columns)):
            twice = sorted({name for name in all_names if all_names.count(name) > 1})
            if twice:
                raise SegGenError(f"protocol {self.name} has two {kind} {twice[0]!r}", remedy="give each a name of its own")
        compared = [(row.name, other) for row in self.rows for other in (row.against, row.oracle) if other]
        for row_name, other in (*compared, *((name, name) for pair in self.pairs for name in (pair.row, pair.against))):
            if other not in names:
                raise SegGenError(f"protocol {self.name}: row {row_name!r} is compared with {other!r}, which is no row", remedy=nearest(other, names))
        for row in self.rows:
            if row.options and not row.run:
                raise SegGenError(f"protocol {self.name}: row {row.name!r} has options and would share its runs with rows of other tables",
                                  expected="run: NAME, of its own", remedy=f"such as run: {row.setting}-{len(row.options) // 2}-more")
            for column in row.paper:
                check_choice(f"protocol {self.name}: a figure of row {row.name!r}", column, columns)
        for task in (*self.tasks, *(row.task for row in self.rows if row.task), *(column.kind for column in self.columns if column.kind)):
            check_choice(f"protocol {self.name}: task", task, MAIN)

    def part(self, rows: Sequence[str] = (), models: Sequence[str] = ()) -> Protocol:
        """The protocol with these rows and models alone, none named for all; what is compared with a row left out stands by itself.

        Raises:
            SegGenError: a name is none of the protocol's.
        """
        for what, given, known in (("--rows: a row", rows, [row.name for row in self.rows]), ("--models: a model", models, self.models)):
            for name in given:
                check_choice(f"{what} of the table {self.name}", name, known)
        kept = {row.name for row in self.rows if not rows or row.name in rows}
        chosen = tuple(replace(row, against=row.against if row.against in kept else "", oracle=row.oracle if row.oracle in kept else "")
                       for row in self.rows if row.name in kept)
        return replace(self, rows=chosen, models=tuple(model for model in self.models if not models or model in models),
                       pairs=tuple(pair for pair in self.pairs if {pair.row, pair.against} <= kept))

    def rows_of(self, known: Container[str]) -> tuple[Row, ...]:
        """The rows, each with its model: those of the first of :attr:`models`, then those of the others that are ``known``."""
        models = self._models(known)
        return tuple(row if row.model else replace(row, model=model, name=self._called(row.name, model, models),
                                                   against=self._called(row.against, model, models), oracle=self._called(row.oracle, model, models))
                     for model in models for row in self.rows if not row.model or model == models[0])

    def pairs_of(self, known: Container[str]) -> tuple[Pair, ...]:
        """The pairs, by the names that :meth:`rows_of` gives the rows."""
        models = self._models(known)
        named = (Pair(*(self._called(name, model, models) for name in (pair.row, pair.against))) for model in models for pair in self.pairs)
        return tuple(dict.fromkeys(named))

    def _models(self, known: Container[str]) -> list[str]:
        return [model for model in self.models if model in known] or list(self.models[:1])

    def _called(self, name: str, model: str, models: Sequence[str]) -> str:
        own = {row.name for row in self.rows if row.model}
        return name if not name or name in own or len(models) == 1 else f"{name}, {model}"


def load_protocol(name: str) -> Protocol:
    """The protocol ``name`` of the package, or a YAML file.

    Raises:
        SegGenError: there is none; a key is unknown; rows or columns do not hold together.
    """
    path = find_file(name, "protocol", "protocols")
    return build(Protocol, load_yaml(path), f"protocol {path}")

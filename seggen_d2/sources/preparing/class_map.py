"""Which category of another dataset is which of ours: a YAML file of names that a person writes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.files import write_bytes
from seggen_d2.foundation.options import read_yaml
from seggen_d2.segmentation import Categories

NONE = -1  # stands for no category of ours
FORM = "THEIRS: OURS, or THEIRS: null for what is none of ours"
MARK = "  # decide"


@dataclass(frozen=True)
class ClassMap:
    """Of each of ``theirs`` the id of its category of ``ours``, or ``NONE``, in ``targets``."""

    theirs: Categories
    ours: Categories
    targets: tuple[int, ...]

    @property
    def names(self) -> dict[str, str | None]:
        """As the file tells it."""
        return {name: None if n == NONE else self.ours.names[n] for name, n in zip(self.theirs.names, self.targets, strict=True)}

    @property
    def changes(self) -> tuple[tuple[int, int], ...]:
        """``(from, to)`` of ids in label maps; what is none of ours becomes unlabelled."""
        ids = [self.ours.ignore_id if n == NONE else n for n in self.targets]
        return (*enumerate(ids), (self.theirs.ignore_id, self.ours.ignore_id))

    def remarks(self) -> list[str]:
        """What a reader of figures on the mapped dataset should know."""
        dropped = [name for name, ours in self.names.items() if ours is None]
        absent = [name for number, name in enumerate(self.ours.names) if number not in self.targets]
        rows = [f"{len(dropped)} of its categories are none of ours: {', '.join(dropped)}"] if dropped else []
        return rows + ([f"{len(absent)} of ours are none of its: {', '.join(absent)}. They have no truth there; what is predicted as one of them "
                        "is wrong"] if absent else [])


def read_class_map(path: str | os.PathLike, theirs: Categories, ours: Categories) -> ClassMap:
    """Read ``{their name: our name or null}``; several of theirs may be one of ours.

    Raises:
        SegGenError: the file is no mapping of names, names what neither side has, lacks some of theirs, or maps none.
    """
    names = read_yaml(path)
    if not isinstance(names, dict) or not all(isinstance(key, str) and isinstance(value, str | None) for key, value in names.items()):
        raise SegGenError(f"{path} is no mapping of categories", expected=FORM, found=f"{names!r:.80}",
                          remedy="begin with --template; names that YAML takes for something else (no, on, 7) stand in quotes")
    _check_names(path, list(names), theirs, "the dataset's")
    _check_names(path, [name for name in names.values() if name is not None], ours, "the training set's")
    missing = [name for name in theirs.names if name not in names]
    if missing:
        raise SegGenError(f"{path} lacks {len(missing)} of the dataset's {len(theirs)} categories", expected=FORM, found=f"{len(names)} names",
                          remedy="\n".join(["add these lines, and decide those that are marked:", *template_lines(missing, ours)]))
    targets = tuple(NONE if names[name] is None else ours.names.index(names[name]) for name in theirs.names)
    if set(targets) == {NONE}:
        raise SegGenError(f"{path} maps no category", expected="a category of the training set for some of the dataset's",
                          found="null for each", remedy=f"the training set has {', '.join(ours.names[:20])}")
    return ClassMap(theirs, ours, targets)


def _check_names(path: str | os.PathLike, names: list[str], known: Categories, whose: str) -> None:
    strange = [name for name in names if name not in known.names]
    if strange:
        raise SegGenError(f"{path} names {strange[0]!r}, which is none of {whose} categories", expected=f"names of {whose} {len(known)} categories",
                          found=", ".join(strange), remedy=nearest(strange[0], known.names))


def write_template(path: str | os.PathLike, theirs: Categories, ours: Categories) -> int:
    """Write a mapping that a person completes; how many lines are to be decided.

    Raises:
        SegGenError: the file is there already; it is left.
    """
    if Path(path).exists():
        raise SegGenError(f"{path} is there already", expected="a new file", remedy="name another one, or take it away")
    lines = template_lines(theirs.names, ours)
    words = [f"# {FORM}. Several of theirs may be one of ours.", f"# Ours: {', '.join(ours.names)}"]
    write_bytes(path, "".join(f"{line}\n" for line in (*words, *lines)).encode())
    return sum(line.endswith(MARK) for line in lines)


def template_lines(names: Sequence[str], ours: Categories) -> list[str]:
    """A line of YAML each: equal names filled in, whatever their case and hyphens; the rest null, marked to be decided."""
    equal = {_plain(name): _quoted(name) for name in ours.names}
    return [f"{_quoted(name)}: {equal.get(_plain(name), 'null' + MARK)}" for name in names]


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)  # a text of JSON is one of YAML, whatever it says

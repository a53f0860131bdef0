"""How a checkpoint's keys differ from a model's, in brief."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Mismatch:
    """Falsy where nothing differs.

    Args:
        missing: keys of the model that the checkpoint lacks. unexpected: keys that the model lacks.
        shapes: key: (the checkpoint's shape, the model's), where they differ.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: dict[str, tuple[Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)

    def __str__(self) -> str:
        shapes = [f"{key} {_text(found)} for {_text(wanted)}" for key, (found, wanted) in self.shapes.items()]
        groups = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": shapes}
        return "; ".join(brief(name, rows) for name, rows in groups.items() if rows)


def compare(own: Mapping[str, Any], loaded: Mapping[str, Any]) -> Mismatch:
    """The differences between two state dicts (of anything that has a ``shape``), in the order of names."""
    shapes = {
        key: (tuple(loaded[key].shape), tuple(own[key].shape))
        for key in sorted(own.keys() & loaded.keys())
        if tuple(loaded[key].shape) != tuple(own[key].shape)
    }
    return Mismatch(tuple(sorted(own.keys() - loaded.keys())), tuple(sorted(loaded.keys() - own.keys())), shapes)


def brief(name: str, rows: list[str] | tuple[str, ...]) -> str:
    """``5 missing (a, b, c, ...)``."""
    return f"{len(rows)} {name} ({', '.join(rows[:3])}{', ...' if len(rows) > 3 else ''})"


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"

"""Colour tables: which colour of an RGB mask stands for which category."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes, read_json
from seggen_d2.foundation.options import read_yaml
from seggen_d2.segmentation.label_maps import read_png

UNLABELLED = ("void", "unlabelled", "unlabeled", "ignore")  # names of colours that are no category
FORMS = "lines `r g b name` or `#rrggbb name` (.txt), columns name, r, g, b (.csv), {name: [r, g, b]} (.json, .yaml)"


@dataclass(frozen=True)
class ColorTable:
    """Colours by category.

    Args:
        names: of the categories, in the order of the table; a category may have several colours.
        codes: the colours as ``r << 16 | g << 8 | b``, ascending.
        ids: the category of each code, or the ignore id.
        ignore_id: the id of unlabelled pixels.
    """

    names: tuple[str, ...]
    codes: tuple[int, ...]
    ids: tuple[int, ...]
    ignore_id: int

    def labels(self, path: str | os.PathLike) -> np.ndarray:
        """``(H, W)`` ids of a PNG of colours.

        Raises:
            SegGenError: it cannot be read, holds no RGB colours, or a colour that the table lacks.
        """
        mode, array = read_png(path, str(path), "mask", "a PNG of colours")
        if array.ndim != 3 or mode not in ("RGB", "RGBA"):
            raise SegGenError(f"mask {path} holds no colours", expected="an RGB PNG, as a colour table was given", found=f"mode {mode}",
                              remedy="leave --colors out where masks hold ids")
        red, green, blue = (array[..., channel].astype(np.int32) for channel in range(3))
        found = red << 16 | green << 8 | blue
        codes = np.array(self.codes, np.int32)
        places = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
        strange = codes[places] != found
        if strange.any():
            raise self._unknown(path, found[strange])
        return np.array(self.ids, np.uint8 if max(self.ids) <= 255 else np.uint16)[places]

    def _unknown(self, path: str | os.PathLike, codes: np.ndarray) -> SegGenError:
        colors, counts = np.unique(codes, return_counts=True)
        order = np.argsort(-counts)[:6]
        rows = [f"{color_of(int(colors[i]))} on {counts[i]:,} pixels" for i in order]
        return SegGenError(f"mask {path} holds colours that the table lacks", expected=f"one of its {len(self.codes)} colours",
                           found="; ".join(rows) + (f"; {len(colors) - 6} more colours" if len(colors) > 6 else ""),
                           remedy="add them to the table, as a category or under the name void; many rare ones tell of smoothed or resized masks")


def color_of(code: int) -> str:
    """``(r, g, b)`` of a code."""
    return f"({code >> 16}, {code >> 8 & 255}, {code & 255})"


def read_color_table(path: str | os.PathLike, ignore_id: int = 255, unlabelled: Sequence[str] = UNLABELLED) -> ColorTable:
    """Read a colour table; its names, in their order, are the categories.

    Args:
        path: a file of one of the forms of ``FORMS``.
        ignore_id: the id of unlabelled pixels.
        unlabelled: names, in any case, whose colours are no category.

    Raises:
        SegGenError: the file is missing, of none of the forms, or gives one colour to two categories.
    """
    rows = _rows(Path(path))
    lowered = {name.lower() for name in unlabelled}
    names = list(dict.fromkeys(name for name, _ in rows if name.lower() not in lowered))
    table: dict[int, int] = {}
    for name, color in rows:
        code, number = color[0] << 16 | color[1] << 8 | color[2], names.index(name) if name in names else ignore_id
        if table.setdefault(code, number) != number:
            raise SegGenError(f"colour table {path} gives {color_of(code)} to two categories", found=f"{name} and another",
                              remedy="give each category colours of its own")
    if not names:
        raise SegGenError(f"colour table {path} names no category", expected=FORMS, found=", ".join(name for name, _ in rows[:5]) or "nothing")
    codes = sorted(table)
    return ColorTable(tuple(names), tuple(codes), tuple(table[code] for code in codes), ignore_id)


def _rows(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """``(name, (r, g, b))`` of each line or entry."""
    ending = path.suffix.lower()
    if ending in (".json", ".yaml", ".yml"):
        return _entries(read_json(path, "colour table") if ending == ".json" else read_yaml(path), path)
    text = read_bytes(path, "colour table").decode("utf-8-sig", "replace")
    if ending == ".csv":
        return [_csv_row(row, path) for row in csv.DictReader(text.splitlines())]
    return [_line(line, path) for line in text.splitlines() if line.strip() and not re.match(r"\s*(//|#\s)", line)]


def _entries(value: Any, path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    if isinstance(value, list) and all(isinstance(item, dict) and {"name", "color"} <= set(item) for item in value):
        return [(str(item["name"]), _color(item["color"], path)) for item in value]
    if not isinstance(value, dict):
        raise _formless(path, value)
    return [(str(name), _color(color, path)) for name, color in value.items()]


def _csv_row(row: dict[str, str], path: Path) -> tuple[str, tuple[int, int, int]]:
    cells = {(key or "").strip().lower(): (cell or "").strip() for key, cell in row.items() if isinstance(cell, str)}
    try:
        return cells["name"], _color([cells[channel] for channel in "rgb"], path)
    except KeyError as error:
        raise _formless(path, ", ".join(cells)) from error


def _line(line: str, path: Path) -> tuple[str, tuple[int, int, int]]:
    hexed = re.match(r"\s*#([0-9a-fA-F]{6})[\s,]+(\S.*)", line)
    if hexed:
        return hexed.group(2).strip(), tuple(bytes.fromhex(hexed.group(1)))
    first = re.match(r"\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\S.*)", line)
    last = re.match(r"\s*(.*?\D)[\s,:]+(\d+)[\s,]+(\d+)[\s,]+(\d+)\s*$", line)
    if not first and not last:
        raise _formless(path, line)
    name, color = (first.group(4), first.groups()[:3]) if first else (last.group(1), last.groups()[1:])
    return name.strip(" \t,:"), _color(color, path)


def _color(values: Any, path: Path) -> tuple[int, int, int]:
    try:
        color = tuple(int(value) for value in values)
    except (TypeError, ValueError) as error:
        raise _formless(path, values) from error
    if len(color) != 3 or not all(0 <= value <= 255 for value in color):
        raise _formless(path, values)
    return color


def _formless(path: Path, found: Any) -> SegGenError:
    return SegGenError(f"{path} is no colour table", expected=FORMS, found=f"{found!r:.80}", remedy="see datasets/README.md")

"""Datasets that are made of another dataset: its YAML file's keys as a file elsewhere names them."""

from __future__ import annotations

import os
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError

from ..dataset_file import DatasetFile
from .prepared import place

NAME = "dataset"  # what is made is called OUTPUT/dataset.yaml
PLACES = ("images", "masks", "json", "files")


def derived_spec(spec: DatasetFile, path: Path, output: Path) -> dict[str, Any]:
    """The keys of the dataset YAML ``path`` that are not as they are by default, for a YAML in ``output``.

    Attributes are left out: they tell of looks, for captions, and what is made may look otherwise.
    """
    defaults = {field.name: field.default for field in fields(spec)}
    keys = {name: getattr(spec, name) for name, usual in defaults.items() if usual is MISSING or getattr(spec, name) != usual}
    keys.pop("attributes", None)
    named = [name for name in (*PLACES, "categories") if isinstance(keys.get(name), str)]
    return {**keys, **{name: place(path.parent / keys[name], output) for name in named}}


def need_own_folder(spec: DatasetFile, path: Path, output: Path) -> None:
    """Nothing is written where a given dataset lies.

    Raises:
        SegGenError: its file, photos, masks or JSON lie in ``output``.
    """
    given = [path, *(path.parent / value for name in PLACES if (value := getattr(spec, name)))]
    inside = [str(file) for file in given if file.resolve().is_relative_to(output.resolve())]
    if inside:
        raise SegGenError(f"{output} holds files of dataset {path}", expected="an output folder of its own", found=", ".join(inside),
                          remedy="name another folder: --output DIR; the given files stay as they are")


def below(file: str, folder: Path) -> Path:
    """A file's path below a folder of the dataset, where what is made of it goes by the same name.

    Raises:
        SegGenError: it lies elsewhere, as a JSON may tell.
    """
    path = Path(os.path.relpath(file, folder))
    if ".." in path.parts:
        raise SegGenError(f"{file} does not lie in {folder}", expected="a path below that folder", found=str(path),
                          remedy="name files in the JSON by their paths below the dataset's folders")
    return path

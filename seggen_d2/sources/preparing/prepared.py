"""What every preparation ends with: dataset files, and a note of what they were made from, so that nothing is done twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_bytes, write_json
from seggen_d2.foundation.options import check_same_options
from seggen_d2.foundation.seeds import fingerprint
from seggen_d2.segmentation import Categories

from ..dataset_file import load_dataset
from .relabel import Convert, MaskFile, convert_all

STATE = ".prepared.json"  # what each split was made from, beside the dataset files
OPTIONS = "prepare.json"


@dataclass(frozen=True)
class Split:
    """One side of a prepared dataset.

    Attributes:
        side: ``train`` or ``val``: the name of its file.
        spec: the keys of its dataset YAML.
        masks: semantic masks to look at and to convert; none for COCO's own formats, whose JSON is checked.
        sources: files that it follows from, beside the masks.
    """

    side: str
    spec: Mapping[str, Any]
    masks: Sequence[MaskFile] = ()
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Prepared:
    """What was made.

    Attributes:
        output: the folder.
        photos: of each side.
        categories: the label space.
        task: semantic, panoptic or instance.
        done_before: sides that were whole already.
        remarks: what the owner should know.
    """

    output: Path
    photos: dict[str, int]
    categories: Categories
    task: str
    done_before: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def file(self, side: str) -> Path:
        """The dataset YAML of ``train`` or ``val``."""
        return self.output / f"{side}.yaml"

    def __str__(self) -> str:
        rows = [f"{shown(self.file(side))}: {count:,} photos, {len(self.categories)} categories, {self.task}"
                + (", as before" if side in self.done_before else "") for side, count in self.photos.items()]
        return "\n".join([*rows, *(f"note: {remark}" for remark in self.remarks)])


def prepare(
    output: str | os.PathLike,
    splits: Sequence[Split],
    relabel: Convert | None,
    options: Mapping[str, Any],
    *,
    workers: int = 1,
    remarks: Sequence[str] = (),
) -> Prepared:
    """Convert what must be, check everything, write ``output/train.yaml`` and ``val.yaml``.

    A side whose files are those of the last time is left. After a stop the same call goes on: masks that were
    converted are kept, unless another colour table or other ids have come in between.

    Args:
        output: the folder to write; photos are never copied there.
        splits: the sides.
        relabel: how masks are read and converted; None for COCO's own formats.
        options: what decides the result; another value needs another folder.
        workers: processes.
        remarks: carried into the result.

    Raises:
        SegGenError: masks or annotations cannot be used, the folder was made with other options, or masks would go to
            where the given ones lie.
    """
    output = Path(output)
    check_begun(output, options)
    _check_places(splits)
    state = _state(output, splits, relabel)
    photos, before, categories, task = {}, [], None, ""
    for split in splits:
        print_of = _print(split, relabel)
        done = state.get(split.side, {})
        path = output / f"{split.side}.yaml"
        if done.get("from") != print_of or not path.is_file() or not all(os.path.isfile(file.output) for file in split.masks if file.output):
            done = {"from": print_of, "photos": _make(path, split, relabel, workers)}
            state[split.side] = done
            write_json(output / STATE, state)
        else:
            before.append(split.side)
        source = load_dataset(path)
        photos[split.side], categories, task = done["photos"], source.categories, source.task
    write_json(output / OPTIONS, _plain(options))  # only now: until all is well, options may still be mended
    return Prepared(output, photos, categories, task, tuple(before), tuple(remarks))


def _check_places(splits: Sequence[Split]) -> None:
    """Masks that are made never lie among those that they are made from: not one of those may be written or taken away."""
    files = [file for split in splits for file in split.masks if file.output]
    given, made = ({os.path.realpath(folder): folder for folder in {os.path.dirname(name) for name in names}}
                   for names in ((file.mask for file in files), (file.output for file in files)))
    for folder in sorted(set(given) & set(made)):
        raise SegGenError(f"converted masks would go to {made[folder]}, where the given ones lie", expected="an output folder of its own",
                          found=f"masks in {given[folder]}", remedy="name another folder: --output DIR; the given masks stay as they are")


def check_begun(output: Path, options: Mapping[str, Any]) -> None:
    """What was prepared in ``output`` was prepared with ``options``; to be asked before anything is written there.

    Raises:
        SegGenError: with others; they are listed.
    """
    if (output / OPTIONS).is_file():
        check_same_options(output, _plain(options), OPTIONS)


def begin(output: Path, options: Mapping[str, Any]) -> None:
    """:func:`check_begun`, and the options are noted before the first piece is written: pieces of two ways never mix."""
    check_same_options(output, _plain(options), OPTIONS)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read: tuples become lists."""
    return json.loads(json.dumps(dict(options)))


def _state(output: Path, splits: Sequence[Split], relabel: Convert | None) -> dict[str, Any]:
    """The note of the last time; masks that were converted in another way are taken away first."""
    state = read_json(output / STATE, "note of a preparation") if (output / STATE).is_file() else {}
    segments = [(file.output, file.segments) for split in splits for file in split.masks if file.segments]
    way = fingerprint(repr((relabel, segments) if segments else relabel).encode())
    if state.get("masks", way) != way:
        for file in (file for split in splits for file in split.masks if file.output):
            Path(file.output).unlink(missing_ok=True)
    if state.get("masks") != way:
        state["masks"] = way
        write_json(output / STATE, state)
    return state


def _make(path: Path, split: Split, relabel: Convert | None, workers: int) -> int:
    """Write one side; how many photos it has."""
    if relabel and split.masks:
        convert_all(relabel, split.masks, workers, f"masks of {split.side}")
    aside = path.with_name(f".{path.name}")  # opened once before it counts
    write_yaml(aside, split.spec)
    try:
        count = len(load_dataset(aside).records())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _print(split: Split, relabel: Convert | None) -> str:
    """A fingerprint of what a side follows from: names, sizes and times of files, not contents, and how masks are converted."""
    names = [name for file in split.masks for name in (file.photo, file.mask)]
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name in (*names, *split.sources) for stat in [os.stat(name)]]
    return fingerprint(repr((sorted(split.spec.items(), key=str), facts, relabel)).encode())


def write_yaml(path: Path, values: Mapping[str, Any], header: Sequence[str] = ()) -> None:
    """Write a YAML file, its keys in the order given, below comment lines."""
    parts = [yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=None if isinstance(value, (dict, list)) else False,
                            allow_unicode=True, width=120) for key, value in values.items()]
    write_bytes(path, ("".join(f"# {line}\n" for line in header) + "".join(parts)).encode())


def category_items(categories: Categories) -> list[str | dict[str, Any]]:
    """Categories as a dataset YAML lists them."""
    return [{"name": item.name, "isthing": True} if item.isthing else item.name for item in categories.items]


def place(path: str | os.PathLike, output: Path) -> str:
    """A path as ``output``'s files name it: relative where it lies in ``output``, else absolute without links."""
    resolved, folder = Path(path).resolve(), output.resolve()
    return resolved.relative_to(folder).as_posix() if resolved.is_relative_to(folder) else str(resolved)


def shown(path: Path) -> str:
    """A path as commands name it: relative to where they are given, if it lies there."""
    resolved = path.resolve()
    return resolved.relative_to(Path.cwd()).as_posix() if resolved.is_relative_to(Path.cwd()) else str(resolved)

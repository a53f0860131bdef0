"""``bank.json``: what a bank is for and what made it. Written once, before any shard; no times, no hosts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seggen_d2 import __version__
from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.files import parse_json
from seggen_d2.segmentation import Categories, Palette, check_same_categories, check_same_palette

from .format import FORMAT_VERSION, TASKS
from .store import open_store

INFO_FILE = "bank.json"
READ_BY = "read_by"  # from format 2 on: the first package version that reads the file, such as "seggen_d2 0.3"
_KEYS = ("task", "categories", "palette", "generators", "job", "format_version")
_OTHER_FOLDER = "write to another folder, or give the options that the bank was begun with"


@dataclass(frozen=True)
class BankInfo:
    """A bank's identity.

    Args:
        task: ``"semantic"``, ``"panoptic"`` or ``"instance"``.
        categories: the label space of its masks.
        palette: the colours that its generators read and paint.
        generators: one mapping a generator: ``kind``, ``fingerprint``, ``licence`` and the like; JSON values.
        job: the options that decide what the samples are; JSON values.
        format_version: of the files on disk.
    """

    task: str
    categories: Categories
    palette: Palette
    generators: tuple[dict[str, Any], ...]
    job: dict[str, Any]
    format_version: int = FORMAT_VERSION

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": self.format_version,
            "task": self.task,
            "categories": self.categories.to_json(),
            "palette": self.palette.to_json(),
            "generators": list(self.generators),
            "job": self.job,
        }

    @property
    def licences(self) -> dict[str, str]:
        """The licence of each model, or imported dataset, that made the samples, by its kind; ``"not stated"`` else.

        A model that belongs to another is told with it (``"distilled of mask2img"``); a kind that is there again with its place.
        """
        told: dict[str, str] = {}
        for number, model in enumerate(self.generators):
            kind = f"{model.get('kind', number)}" + (f" of {model['of']}" if model.get("of") else "")
            told[f"{kind} ({number})" if kind in told else kind] = str(model.get("licence") or "not stated")
        return told


def read_info(root: str | os.PathLike) -> BankInfo:
    """Read ``root/bank.json``.

    Raises:
        SegGenError: it is missing, truncated, lacks a key, or is of another format version.
    """
    store = open_store(root)
    path = store.address(INFO_FILE)
    value = parse_json(store.read(INFO_FILE, "bank description"), path, "bank description")
    _check_version(value, path)
    missing = [key for key in _KEYS if key not in value]
    if missing:
        raise SegGenError(
            f"{path} lacks {', '.join(missing)}",
            expected=", ".join(_KEYS),
            found=", ".join(value),
            remedy="copy it from the bank's origin, or make the bank again",
        )
    return BankInfo(
        task=check_choice(f"{path}: task", value["task"], TASKS),
        categories=Categories.from_json(value["categories"], f"{path}: categories"),
        palette=Palette.from_json(value["palette"], f"{path}: palette"),
        generators=tuple(value["generators"]),
        job=value["job"],
    )


def _check_version(value: Any, path: str) -> None:
    version = value.get("format_version") if isinstance(value, dict) else None
    if version == FORMAT_VERSION:
        return
    reader = f"seggen_d2 newer than {__version__}, which is installed"
    if isinstance(value, dict) and isinstance(value.get(READ_BY), str):
        reader = f"{value[READ_BY]} ({__version__} is installed)"
    newer = isinstance(version, int) and version > FORMAT_VERSION
    raise SegGenError(
        f"{path} is of a format that this version cannot read",
        expected=f"format_version {FORMAT_VERSION}",
        found=f"format_version {version!r}",
        remedy=f"a newer version wrote it: read it with {reader}, or make the bank again" if newer
        else "bring the bank's own file back, or make the bank again",
    )


def check_same_info(wanted: BankInfo, found: BankInfo, root: Path | str) -> None:
    """A bank holds the samples of one job.

    Raises:
        SegGenError: task, categories, palette, generators or job differ; the differences come first, then both sides.
    """
    sides = {"a_is": "this command", "b_is": f"the bank {root}"}
    check_same_categories(wanted.categories, found.categories, **sides)
    check_same_palette(wanted.palette, found.palette, **sides)
    strategies = [info.job.get("strategy") for info in (wanted, found)]
    if all(strategies) and strategies[0] != strategies[1]:
        raise SegGenError(f"the bank {root} is of another strategy", expected=f"{strategies[0]}, which this command makes", found=strategies[1],
                          remedy="give each strategy a folder of its own")
    for name in ("task", "generators", "job"):
        ours, theirs = (_plain(getattr(info, name)) for info in (wanted, found))
        if ours != theirs:
            shown = "; ".join(_differences(ours, theirs, name))
            raise SegGenError(
                f"the bank {root} was made with another {name.removesuffix('s')}: {shown}",
                expected=f"this command: {json.dumps(ours, sort_keys=True)}",
                found=f"the bank: {json.dumps(theirs, sort_keys=True)}",
                remedy=_OTHER_FOLDER,
            )


def _plain(value: Any) -> Any:
    """As JSON brings it back: tuples are lists, keys are strings."""
    return json.loads(json.dumps(value))


def _differences(ours: Any, theirs: Any, where: str) -> Iterator[str]:
    """``where.key: ours against theirs`` for each leaf that differs."""
    if isinstance(ours, list) and isinstance(theirs, list):
        ours, theirs = (dict(enumerate(value)) for value in (ours, theirs))
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        if ours != theirs:
            yield f"{where}: {json.dumps(ours)} against {json.dumps(theirs)}"
        return
    for key in sorted({*ours, *theirs}):
        if key in ours and key in theirs:
            yield from _differences(ours[key], theirs[key], f"{where}.{key}")
        else:
            left, right = (json.dumps(side.get(key, "nothing")) for side in (ours, theirs))
            yield f"{where}.{key}: {left} against {right}"

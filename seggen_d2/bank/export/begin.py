"""What every export begins with: one bank and one set of options a folder, licences, and enough space."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import check_space, write_json
from seggen_d2.foundation.options import check_same_options
from seggen_d2.foundation.seeds import fingerprint

if TYPE_CHECKING:
    from ..reader import Bank

STATE = "export.json"
LICENCES = "LICENCES.json"
_PER_FILE = 4096  # bytes that a file system may add to each file


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other process exports into ``folder``, which is made if it is missing, until the block ends.

    A file system that knows no locks lets the block run.

    Raises:
        SegGenError: another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)  # closing it, or the process's end, lets the lock go
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(held)
            raise SegGenError(f"another process exports into {folder}", expected="one at a time", found="its lock on the folder",
                              remedy="wait for it, or choose another folder") from error
    try:
        yield
    finally:
        os.close(held)


def begin_export(bank: Bank, folder: Path, options: dict[str, Any]) -> None:
    """Note what is exported into ``folder``, and the licences; refuse a folder that another export began.

    Raises:
        SegGenError: the folder was begun with another bank, or with other options.
    """
    identity = json.dumps(bank.info.to_json(), sort_keys=True).encode()
    check_same_options(folder, {**options, "bank": fingerprint(identity), "samples": len(bank)}, STATE)
    write_json(folder / LICENCES, licences(bank))


def licences(bank: Bank) -> dict[str, Any]:
    """The models that made a bank, and their licences."""
    return {
        "note": "made by the models below; their licences, and that of the data they were trained on, apply to what they made",
        "licences": bank.info.licences,
        "models": list(bank.info.generators),
        "strategy": bank.info.job.get("strategy", ""),
        "dataset": bank.info.job.get("dataset", ""),
    }


def check_room(bank: Bank, folder: Path, kinds: tuple[str, ...]) -> None:
    """There is room for the members of these kinds, less what ``folder`` holds already.

    Raises:
        SegGenError: there is not.
    """
    lengths = sum(int(bank.column(f"{kind}_length").sum()) for kind in kinds)
    there = sum(file.stat().st_size + _PER_FILE for file in folder.rglob("*") if file.is_file())
    check_space(folder, max(0, lengths + _PER_FILE * len(bank) * len(kinds) - there), "the export")

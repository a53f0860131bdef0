"""What every export begins with: one bank and one set of options a folder, licences, and enough space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seggen_d2.foundation.files import check_space, write_json
from seggen_d2.foundation.options import check_same_options
from seggen_d2.foundation.seeds import fingerprint

if TYPE_CHECKING:
    from ..reader import Bank

STATE = "export.json"
LICENCES = "LICENCES.json"
_PER_FILE = 4096  # bytes that a file system may add to each file


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

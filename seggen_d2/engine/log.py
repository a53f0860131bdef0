"""``metrics.json``: a line of JSON every few iterations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from seggen_d2.foundation.files import write_bytes


class JsonLines:
    """Appends mappings, one JSON line each; where a run goes on, lines past ``keep_before`` are dropped first.

    None leaves the file to another process.
    """

    def __init__(self, path: Path, keep_before: int | None):
        self.path = path
        if keep_before is None:
            return
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _iteration(line) <= keep_before]
        if len(kept) < len(lines):
            write_bytes(path, "".join(f"{line}\n" for line in kept).encode())
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, entry: dict[str, Any]) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(entry) + "\n")


def _iteration(line: str) -> float:
    try:
        return json.loads(line)["iteration"]
    except (json.JSONDecodeError, KeyError, TypeError):  # a line cut short by a kill
        return math.inf

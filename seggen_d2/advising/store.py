"""What was measured, by what it depends on: nothing is measured twice, and advice on several banks shares its baseline."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from seggen_d2.foundation.files import json_bytes, write_aside
from seggen_d2.foundation.seeds import fingerprint


class Store:
    """Arrays on disk, a file for each set of facts that they follow from.

    Args:
        folder: of the files; made when the first is written.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def path(self, kind: str, facts: Mapping[str, Any]) -> Path:
        """Where the arrays of a kind lie that follow from ``facts`` (JSON values)."""
        return self.folder / f"{kind}-{fingerprint(json_bytes(dict(facts)))}.safetensors"

    def get(self, kind: str, facts: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """The arrays, or None where there are none, or none that are whole."""
        try:
            return load_file(self.path(kind, facts))
        except (FileNotFoundError, SafetensorError):
            return None

    def put(self, kind: str, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays, with the facts as text beside them.

        Raises:
            SegGenError: the disk is full.
        """
        with write_aside(self.path(kind, facts)) as aside:
            save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, aside, {"facts": json.dumps(facts, sort_keys=True)})

"""Which engine a config asks for, told before anything heavy is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

from seggen_d2.foundation.errors import check_choice
from seggen_d2.foundation.options import load_yaml, merge, parse_overrides

ENGINES = ("auto", "transformers", "detectron2")


def choose_engine(path: str | os.PathLike, overrides: Sequence[str] = ()) -> str:
    """``"detectron2"`` or ``"transformers"``, by ``SEGGEN.ENGINE``; ``auto`` is Detectron2 where it is installed.

    Raises:
        SegGenError: the file cannot be read, or names another engine.
    """
    values = merge(load_yaml(path), parse_overrides(list(overrides)))
    keys = values.get("SEGGEN")
    name = keys.get("ENGINE", "auto") if isinstance(keys, dict) else "auto"
    check_choice("SEGGEN.ENGINE", name, ENGINES)
    if name == "auto":
        return "detectron2" if find_spec("detectron2") else "transformers"
    return name

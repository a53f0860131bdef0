"""Local copies of what lies elsewhere: where they go."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from seggen_d2.foundation.seeds import fingerprint

CACHE_VARIABLE = "SEGGEN_CACHE"


def cache_folder() -> Path:
    """Where copies of remote index files and look-up tables go: SEGGEN_CACHE, or the system's temporary folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(tempfile.gettempdir()) / f"seggen_d2-{os.getuid()}"


def cache_of(root: Path | str) -> Path:
    """The part of :func:`cache_folder` that belongs to one bank."""
    return cache_folder() / fingerprint(os.fsencode(root))

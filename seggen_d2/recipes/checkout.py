"""Which version of the package is at work."""

from __future__ import annotations

import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def commit() -> str:
    """The commit that is checked out, ``+ changes`` where files differ from it; "" where the package is in no checkout of its own."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")) != PACKAGE.parent:
            return ""
        head = _git("rev-parse", "HEAD")
        return head + (" + changes" if head and _git("status", "--porcelain", "--untracked-files=no") else "")
    except OSError:  # there is no git
        return ""


def _git(*words: str) -> str:
    found = subprocess.run(["git", *words], capture_output=True, text=True, cwd=PACKAGE)
    return found.stdout.strip() if found.returncode == 0 else ""

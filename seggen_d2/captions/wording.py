"""What may stand in a caption: a blocklist, and captions without its phrases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes

_LEFT_OVER = re.compile(r"^[\s,;:.\-|]+|[\s,;:\-|]+$")  # punctuation around a phrase that was cut out
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"


def read_blocklist(path: str = "") -> tuple[str, ...]:
    """The phrases of a text file, one a line; lines that begin with ``#`` are notes.

    Args:
        path: the file; the package's own by default, ``"none"`` for an empty list.

    Raises:
        SegGenError: the file is missing, empty or not UTF-8.
    """
    if path == "none":
        return ()
    data = read_bytes(Path(path), "blocklist") if path else (resources.files(__package__) / "blocklist.txt").read_bytes()
    try:
        lines = (line.strip() for line in data.decode("utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise SegGenError(f"blocklist {path} is no text", expected="UTF-8, one phrase a line", found=str(error)) from error
    return tuple(line for line in lines if line and not line.startswith("#"))


class Wording:
    """Judges captions and mends them.

    Args:
        blocked: phrases that no caption may hold, as whole words, in any case.
    """

    def __init__(self, blocked: Sequence[str] = ()):
        words = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in sorted(blocked, key=len, reverse=True))
        self._blocked = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None

    def tidied(self, text: str) -> str:
        """The first line that holds anything, single-spaced, without what could not be decoded."""
        lines = (" ".join(line.replace(_UNREADABLE, "").split()) for line in text.splitlines())
        return next(filter(None, lines), "")

    def is_good(self, caption: str) -> bool:
        """It says something, and nothing that is blocked."""
        return any(c.isalnum() for c in caption) and not (self._blocked and self._blocked.search(caption))

    def mended(self, caption: str) -> str:
        """The caption without blocked phrases; "" where nothing is left."""
        kept = self._blocked.sub(" ", caption) if self._blocked else caption
        kept = _LEFT_OVER.sub("", " ".join(kept.split()))
        return kept if any(c.isalnum() for c in kept) else ""

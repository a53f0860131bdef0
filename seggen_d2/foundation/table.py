"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence


def labelled(rows: Sequence[tuple[str, str]]) -> str:
    """A line for each ``(label, text)``, the texts below each other."""
    return "\n".join(f"{name:<10} {text}" for name, text in rows)

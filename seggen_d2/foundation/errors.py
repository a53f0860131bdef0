"""The one error that bad input gets: what was wrong, where, what was expected, what to do."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable


class SegGenError(ValueError):
    """Input that cannot be used.

    The message has up to four parts, so that a reader never has to open the code.

    Args:
        problem: one clause naming the file or key.
        expected: what would have been right.
        found: what was there instead.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, *, expected: str = "", found: str = "", remedy: str = ""):
        self.problem, self.expected, self.found, self.remedy = problem, expected, found, remedy
        lines = [problem]
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  found:    {found}"] if found else []
        lines += [f"  to do:    {remedy}"] if remedy else []
        super().__init__("\n".join(lines))


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as ``did you mean 'SEGGEN.P_AUG'?``, or the list of what is known."""
    known = sorted(known)
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"use one of: {shown}" if known else "none is known"


def check_range(name: str, value: float, low: float, high: float) -> float:
    """Return ``value`` if ``low <= value <= high``.

    Raises:
        SegGenError: ``value`` is outside the range, or not a number.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise SegGenError(f"{name} is out of range", expected=f"{low} <= {name} <= {high}", found=repr(value),
                          remedy=f"give {name} a value in the range")
    return value


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        SegGenError: it is not; the nearest choice is suggested.
    """
    choices = list(choices)
    if value not in choices:
        raise SegGenError(f"{name} is not known", expected=" | ".join(choices), found=repr(value),
                          remedy=nearest(str(value), choices))
    return value


def check_installed(name: str, package: str, otherwise: str) -> None:
    """``name``, a key with its value, needs ``package``.

    Raises:
        SegGenError: it is not installed; ``otherwise`` is what can be done but install it.
    """
    if importlib.util.find_spec(package) is None:
        raise SegGenError(f"{name} needs the package {package}", expected=f"{package}, installed", found="it is not",
                          remedy=f"pip install {package}, or {otherwise}")

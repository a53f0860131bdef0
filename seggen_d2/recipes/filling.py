"""Commands as texts: variables filled in, and words put back together as people type them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seggen_d2.foundation.errors import SegGenError, nearest


@dataclass(frozen=True)
class Filling:
    """Fills ``{variables}`` in; ``where`` names what is filled, for errors."""

    values: Mapping[str, Any]
    where: str

    def text(self, text: str) -> str:
        """``text`` with each ``{name}`` replaced.

        Raises:
            SegGenError: a name is no variable, or a brace stands alone.
        """
        try:
            return text.format(**self.values)
        except (IndexError, ValueError, AttributeError) as error:
            raise SegGenError(f"{self.where} cannot be filled in", expected="{NAME} of a variable; {{ and }} stand for braces", found=text,
                              remedy="write braces that are no variable's twice") from error
        except KeyError as error:
            raise SegGenError(f"{self.where} names an unknown variable {error}", remedy=nearest(str(error), self.values)) from error

    def words(self, words: list[str]) -> list[str]:
        """Each word filled; a word ``{name}`` of a list becomes the list's words, filled too."""
        found: list[str] = []
        for word in words:
            value = self.values.get(word[1:-1]) if word[:1] == "{" else None
            found += self.words([str(item) for item in value]) if isinstance(value, (list, tuple)) else [self.text(word)]
        return found


def command_line(words: Sequence[str]) -> str:
    """Words as they are typed into a shell; those that hold single quotes are put into double ones, as people do."""
    plain = (f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in words)
    return " ".join(plain)

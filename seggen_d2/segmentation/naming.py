"""Which categories a sentence names: their names as captions have them, in the plural too, and listed synonyms."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.options import load_yaml

from .categories import Categories, spoken

_PLURALS = {"person": "people", "man": "men", "woman": "women", "child": "children", "foot": "feet", "mouse": "mice"}
_SEPARATOR = re.compile(r"[,;]")  # between synonyms, in lists such as ADE20K's "building, edifice"


class Naming:
    """Finds categories in sentences.

    Of names that share words the longest counts: a palm tree is no tree where both are categories.

    Args:
        categories: a name may hold synonyms between commas or semicolons.
        synonyms: other words by category, ``{"person": ["man", "woman"]}``.

    Raises:
        SegGenError: synonyms are of no category.
    """

    def __init__(self, categories: Categories, synonyms: Mapping[str, Sequence[str]] | None = None):
        strange = [name for name in synonyms or {} if name not in categories.names]
        if strange:
            raise SegGenError("synonyms are of no category", expected=", ".join(categories.names[:20]), found=", ".join(map(str, strange)),
                              remedy=nearest(str(strange[0]), categories.names))
        self._ids: dict[str, int] = {}
        for place, name in enumerate(categories.names):
            for word in (*_words(name), *(synonyms or {}).get(name, ())):
                for form in _forms(" ".join(word.lower().split())):
                    self._ids.setdefault(form, place)
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    def named(self, caption: str) -> list[int]:
        """Ids of the categories that ``caption`` names, ascending."""
        return sorted({place for _, _, place in self.mentions(" ".join(caption.split()))})

    def mentions(self, caption: str) -> list[tuple[int, int, int]]:
        """``(start, end, id)`` of each name in a single-spaced ``caption``, in order: ``caption[start:end]`` is the name."""
        lowered = "".join(letter if len(letter.lower()) > 1 else letter.lower() for letter in caption)  # as long as the caption
        return [(found.start(), found.end(), self._ids[found.group()]) for found in self._pattern.finditer(lowered)]


def named_categories(caption: str, categories: Categories) -> list[int]:
    """:meth:`Naming.named` by the categories' own names."""
    return _by_name(categories).named(caption)


@lru_cache(maxsize=8)
def _by_name(categories: Categories) -> Naming:
    return Naming(categories)


def read_synonyms(path: str | os.PathLike) -> dict[str, list[str]]:
    """A YAML mapping from a category to its other words.

    Raises:
        SegGenError: it cannot be read, or holds something else.
    """
    told: dict[Any, Any] = load_yaml(path)
    for name, words in told.items():
        if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
            raise SegGenError(f"{path}: the synonyms of {name!r} are no list of words", expected="person: [man, woman]", found=repr(words)[:80])
    return {str(name): words for name, words in told.items()}


def _words(name: str) -> Iterator[str]:
    """A category's name as a caption has it, whole and by its synonyms."""
    yield spoken(name)
    yield from filter(None, (part.strip() for part in _SEPARATOR.split(spoken(name))))


def _forms(word: str) -> set[str]:
    """A word and its plurals."""
    first, _, last = word.rpartition(" ")
    before = f"{first} " if first else ""
    forms = {word, word + "s", word + "es", *([before + _PLURALS[last]] if last in _PLURALS else [])}
    forms |= {word[:-1] + "ies"} if word.endswith("y") else set()
    forms |= {word[:-1] + "ves"} if word.endswith("f") else {word[:-2] + "ves"} if word.endswith("fe") else set()
    return forms

"""What a caption says of how things look: ``"brown and yellow checked"`` of the grass, ``"at dusk"`` of the scene.

A *slot* is a place in a caption where such words stand, or could stand. Two kinds are found, without a list of adjectives:

- the *look* of a category: what stands between a determiner and the category's name, in "two red and white **balloons**";
- a *circumstance*: a preposition, at most three words and a word of light, weather or time ("on a bright sunny day"), or
  of a place ("in the city").

A name without a determiner ("cars parked") has no slot, since what stands before it may be a verb. Nor has one with a word
of the closed classes or a verb's form in -ing between ("a group of people"). Words that name a category are never part of
a slot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.naming import Naming

from .lexicon import ADDED, ARTICLES, CLOSED, DETERMINERS, HEADS, JOIN, PREPOSITIONS

LONGEST = 4  # words of a look, besides "and"
_VERB = re.compile(r"\w\w+ing")  # "a woman walking horses", where no category is a woman
_TOKEN = re.compile(r"[\w'’-]+|[^\w\s]")
_INSIDE = rf" (?!(?:{'|'.join(sorted(CLOSED))})\b)[\w'’-]+"  # a word between a preposition and what it leads to


@dataclass(frozen=True)
class Slot:
    """A place in a caption.

    Attributes:
        of: the category's name, or ``light`` or ``place``.
        start, end: its words are ``caption[start:end]``; an empty look's place is where one would begin.
        words: lower case; "" where there are none.
        article: where the ``a`` or ``an`` before a look stands, as start and end; None without one.
    """

    of: str
    start: int
    end: int
    words: str
    article: tuple[int, int] | None = None


class Slots:
    """Finds the slots of single-spaced captions.

    Args:
        categories: whose looks count.
    """

    def __init__(self, categories: Categories):
        self.names, self._naming = categories.names, Naming(categories)
        after = rf"(?=$|[.,;:!?)]| (?:{'|'.join(sorted(CLOSED))})\b| \w+ing\b)"
        self._circumstances = {
            kind: re.compile(rf"\b(?:{'|'.join(PREPOSITIONS)})(?:{_INSIDE}){{0,3}}? (?:{'|'.join(sorted(heads))})\b{after}", re.IGNORECASE)
            for kind, heads in HEADS.items()
        }

    def __call__(self, caption: str) -> list[Slot]:
        """The slots of ``caption``, in its order; none overlap."""
        mentions = self._naming.mentions(caption)
        looks = self._looks(caption, mentions)
        taken = [(start, end) for start, end, _ in mentions] + [(slot.start, slot.end) for slot in looks]
        return sorted([*looks, *self._circumstances_of(caption, taken)], key=lambda slot: slot.start)

    def named(self, caption: str) -> list[str]:
        """The categories that a single-spaced caption names."""
        return [self.names[place] for place in sorted({place for _, _, place in self._naming.mentions(caption)})]

    def _looks(self, caption: str, mentions: list[tuple[int, int, int]]) -> list[Slot]:
        tokens = [(found.start(), found.end(), found.group().lower()) for found in _TOKEN.finditer(caption)]
        found, before = [], 0
        for start, end, place in mentions:
            slot = _look(caption, [token for token in tokens if before <= token[0] and token[1] <= start], start, self.names[place])
            found += [slot] if slot else []
            before = end
        return found

    def _circumstances_of(self, caption: str, taken: list[tuple[int, int]]) -> Iterator[Slot]:
        for kind, pattern in self._circumstances.items():
            for found in pattern.finditer(caption):
                if all(found.end() <= start or end <= found.start() for start, end in taken):
                    taken.append(found.span())
                    yield Slot(kind, *found.span(), found.group().lower())


def _look(caption: str, tokens: list[tuple[int, int, str]], name_at: int, name: str) -> Slot | None:
    """The slot before a name, from the tokens between it and the name before."""
    words: list[str] = []
    for start, end, word in reversed(tokens):
        if word in DETERMINERS or word.isdigit():
            fits = not words or JOIN not in (words[0], words[-1])
            return Slot(name, end + 1, name_at, caption[end + 1 : name_at].strip().lower(), (start, end) if word in ARTICLES else None) if fits else None
        ends = (word in CLOSED and word != JOIN) or not word[0].isalpha() or _VERB.fullmatch(word)
        if ends or sum(w != JOIN for w in words) == LONGEST:
            return None
        words.append(word)
    return None


@dataclass(frozen=True)
class Attributes:
    """What captions say of each category and of circumstances: ``{of: {words: times}}``, the most frequent first.

    Saying nothing counts as saying "": a category is as often without a look as it is there. Words are drawn as often as
    they are said.

    Attributes:
        counts: of each category, light and place; those of which nothing is said are left out.
        beside: ``{category: {light or place: {words: times}}}``: what is said in captions that name the category.
    """

    counts: dict[str, dict[str, int]]
    beside: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, captions: Iterable[str], slots: Slots, least: int = 1) -> Attributes:
        """Those of ``captions``.

        Args:
            captions: of any images; none of them is looked at.
            slots: finds the words.
            least: words that are said of a category less often are left out: in free captions most are mistakes.
        """
        said: dict[str, Counter[str]] = {of: Counter() for of in (*slots.names, *HEADS)}
        beside = {name: {kind: Counter() for kind in HEADS} for name in slots.names}
        for caption in captions:
            caption = " ".join(caption.split())
            found = slots(caption)
            pairs = [(slot.of, slot.words) for slot in found] + [(kind, "") for kind in ADDED if all(slot.of != kind for slot in found)]
            for of, words in pairs:
                said[of].update([words])
            for name in slots.named(caption):
                for kind, words in pairs:
                    if kind in HEADS:
                        beside[name][kind].update([words])
        kept = {of: {words: times for words, times in sorted(counter.items(), key=lambda item: (-item[1], item[0])) if not words or times >= least}
                for of, counter in said.items()}
        return cls({of: words for of, words in kept.items() if any(words)}, beside)

    def words(self) -> frozenset[str]:
        """All single words that they are made of."""
        return frozenset(word for said in self.counts.values() for words in said for word in words.split())

    def draw(self, of: str, at: float, named: Iterable[str] = ()) -> str:
        """The words at a place in [0, 1) of their cumulative distribution.

        Args:
            of: a category, light or place.
            at: the place.
            named: the categories of the caption. Light and place are drawn from the mean of what is said beside each: it
                does not snow in bedrooms.
        """
        said = self.counts[of]
        sums = list(accumulate(self._shares(of, named) or said.values()))
        return next(words for words, reached in zip(said, sums, strict=True) if at * sums[-1] < reached)

    def _shares(self, of: str, named: Iterable[str]) -> list[float]:
        """Of the words of ``counts[of]``, in their order; none where nothing is said beside these categories."""
        known = [[self.beside[name][of][words] for words in self.counts[of]] for name in named if of in self.beside.get(name, {})]
        known = [times for times in known if any(times)]
        return [sum(column) for column in zip(*([number / sum(times) for number in times] for times in known))]

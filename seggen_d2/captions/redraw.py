"""Edits of captions whose attributes are drawn again; what is in the picture stays."""

from __future__ import annotations

from collections.abc import Sequence

from seggen_d2.foundation.seeds import derive_seed, unit_float

from .attributes import Attributes, Slot, Slots
from .lexicon import ADDED, HEADS


class Redraw:
    """Draws the attributes of captions again.

    A slot takes the words of another in ``attributes``, said of the same category or kind of circumstance, as often as
    they are said there. Words that ``attributes`` does not know are left where they are: they may name something that is
    in the picture.

    The draws of one caption's slot are spread over the distribution, one in each of K equal parts of it (stratified
    sampling), so that K edits show as many different words as they can while each is as frequent as it should be.

    Args:
        attributes: what to draw from.
        slots: finds the places.
        seed: changes every draw.
    """

    def __init__(self, attributes: Attributes, slots: Slots, seed: int = 0):
        self.attributes, self.slots, self.seed = attributes, slots, seed
        self._known = attributes.words()

    def edits(self, image_id: str, captions: Sequence[str], count: int) -> tuple[tuple[str, int], ...]:
        """At most ``count`` texts that differ from each other and from ``captions``, and the number of the caption that each was made from."""
        chosen: dict[str, int] = {}
        columns = [self._of_one(image_id, number, caption, len(range(number, count, len(captions)))) for number, caption in enumerate(captions)]
        for place in range(count):
            number = place % len(captions)
            chosen.setdefault(columns[number][place // len(captions)], number)
        return tuple((text, number) for text, number in chosen.items() if text not in captions)

    def _of_one(self, image_id: str, number: int, caption: str, count: int) -> list[str]:
        caption = " ".join(caption.split())
        slots = [slot for slot in self.slots(caption) if self._is_open(slot)]
        absent = [kind for kind in ADDED if kind in self.attributes.counts and all(slot.of != kind for slot in slots)]
        slots += [Slot(kind, *2 * (len(caption.rstrip(" .!")),), "") for kind in absent]
        named = self.slots.named(caption)
        draws = [self._draws((self.seed, image_id, number, place), slot.of, named, count) for place, slot in enumerate(slots)]
        return [_rewritten(caption, slots, [drawn[edit] for drawn in draws]) for edit in range(count)]

    def _is_open(self, slot: Slot) -> bool:
        return slot.of in self.attributes.counts and (slot.of in HEADS or all(word in self._known for word in slot.words.split()))

    def _draws(self, name: tuple, of: str, named: Sequence[str], count: int) -> list[str]:
        """One in each of ``count`` equal parts of the distribution, in an order of its own."""
        first, parts = unit_float("redraw", *name), sorted(range(count), key=lambda part: derive_seed("redraw", *name, part))
        return [self.attributes.draw(of, (first + part) / count, named) for part in parts]


def _rewritten(caption: str, slots: Sequence[Slot], words: Sequence[str]) -> str:
    """The caption with other words in its slots; from its end on, so that the places before stay."""
    for slot, new in sorted(zip(slots, words, strict=True), key=lambda pair: pair[0].start, reverse=True):
        caption = (_circumstance if slot.of in HEADS else _look)(caption, slot, new)
    return caption


def _look(caption: str, slot: Slot, words: str) -> str:
    after = f"{words} {caption[slot.end :]}" if words else caption[slot.end :]
    before = caption[: slot.start]
    if slot.article:
        start, end = slot.article
        article = "an" if after[0].lower() in "aeiou" else "a"
        before = before[:start] + (article.capitalize() if before[start].isupper() else article) + before[end:]
    return before + after


def _circumstance(caption: str, slot: Slot, words: str) -> str:
    before, after = caption[: slot.start].rstrip(), caption[slot.end :]
    if not before:
        return (words.capitalize() + after) if words else after.lstrip(" ,")
    return f"{before} {words}{after}" if words else before + after

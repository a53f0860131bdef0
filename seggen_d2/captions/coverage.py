"""How varied a table's captions are: what re-captioning and edits bring, before anything is painted from them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.naming import Naming
from seggen_d2.sources.caption_table import read_captions, read_edits

from .attributes import Slots
from .lexicon import HEADS

Said = Mapping[str, Counter[tuple[str, str]]]  # of a category: (attribute, light of the caption), times
_HEAD = (f"{'':<20}{'share of':>18}{'':>9}{'captions':>27}{'edits':>27}",
         f"{'':<20}" + "".join(f"{word:>9}" for word in ("images", "samples", "words", *("words", "covered", "lit") * 2)))


@dataclass(frozen=True)
class SaidOf:
    """What texts say of one category.

    Attributes:
        words: different attributes.
        covered: of all that the other table says of it, the share that is said here at least once.
        lit: the same of each attribute together with the light of its caption, as one.
    """

    words: int
    covered: float
    lit: float


@dataclass(frozen=True)
class Coverage:
    """Of one category, or of ``light`` or ``place``.

    Attributes:
        of: its name.
        images: share of the images whose captions name it, 0..1; 1 for light and place.
        samples: share of the samples made from captions whose image names it: more where it is rare and images have weights.
        words: different attributes that the other table says of it.
        captions, edits: what those that describe the images say, and the edits.
    """

    of: str
    images: float
    samples: float
    words: int
    captions: SaidOf
    edits: SaidOf

    def cells(self) -> list[str]:
        """As the text has them."""
        sides = [[str(side.words), *([f"{side.covered:.1%}", f"{side.lit:.1%}"] if self.words else ["-", "-"])] for side in (self.captions, self.edits)]
        return [f"{self.images:.1%}", f"{self.samples:.1%}", str(self.words), *sides[0], *sides[1]]


@dataclass(frozen=True)
class Variety:
    """Of a table.

    Attributes:
        images: captioned.
        captions, edits: those that describe, and the edits: in all, and different ones.
        of: each category that they name, light and place.
    """

    images: int
    captions: tuple[int, int]
    edits: tuple[int, int]
    of: tuple[Coverage, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything that was found."""
        return asdict(self)

    def text(self) -> str:
        """As a table; its last row is the mean over what the other table says anything of."""
        first = (f"{self.images} images; {self.captions[0]} captions that describe them, {self.captions[1]} of them different; "
                 f"{self.edits[0]} edits, {self.edits[1]} different")
        rows = [(each.of, each.cells()) for each in self.of] + [("mean", ["", "", *self._means()])]
        return "\n".join([first, "", *_HEAD, *(f"{name[:20]:<20}" + "".join(f"{cell:>9}" for cell in cells) for name, cells in rows)])

    def _means(self) -> list[str]:
        there = [each for each in self.of if each.words]
        sides = [[getattr(each, side) for each in there] for side in ("captions", "edits")]
        shares = [["", *(f"{fmean(getattr(said, name) for said in side):.1%}" if side else "-" for name in ("covered", "lit"))] for side in sides]
        return ["", *shares[0], *shares[1]]


def variety(table: str | os.PathLike, categories: Categories, attributes_from: str | os.PathLike, least: int = 2) -> Variety:
    """Measure the captions of ``table`` against what another table says.

    Args:
        table: captions, with or without edits.
        categories: of its dataset.
        attributes_from: the table whose attributes count; of unlabelled images, say.
        least: attributes that it says of a category less often do not count.

    Raises:
        SegGenError: a table cannot be read.
    """
    captions, edits, slots = read_captions(table), read_edits(table), Slots(categories)
    described = [text for given in captions.values() for text in given]
    edited = [text for given in edits.texts.values() for text, _ in given]
    there = said_in((text for given in read_captions(attributes_from).values() for text in given), slots, least)
    of = _Coverages(there, said_in(described, slots), said_in(edited, slots))
    weight, naming = {image_id: edits.weights.get(image_id, 1.0) for image_id in captions}, Naming(categories)
    named = {image_id: {place for text in given for place in naming.named(text)} for image_id, given in captions.items()}
    found = [of(name, [image_id for image_id, places in named.items() if place in places], weight) for place, name in enumerate(categories.names)]
    found += [of(kind, list(captions), weight) for kind in HEADS if of.is_said(kind)]
    return Variety(len(captions), (len(described), len(set(described))), (len(edited), len(set(edited))), tuple(each for each in found if each.images))


def said_in(captions: Iterable[str], slots: Slots, least: int = 1) -> Said:
    """What captions say of each category, light and place; attributes said less than ``least`` times of one are left out."""
    said: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for caption in captions:
        found = slots(" ".join(caption.split()))
        light = next((slot.words for slot in found if slot.of == "light"), "")
        for slot in found:
            said[slot.of].update([(slot.words, light if slot.of != "light" else "")] if slot.words else [])
    for of, counter in said.items():
        times = _words(counter)
        said[of] = Counter({pair: count for pair, count in counter.items() if times[pair[0]] >= least})
    return said


def _words(said: Counter[tuple[str, str]]) -> Counter[str]:
    """The times of attributes, whatever the light."""
    times: Counter[str] = Counter()
    for (words, _), count in said.items():
        times[words] += count
    return times


class _Coverages:
    """Makes :class:`Coverage` from what is said there, in captions, and in edits."""

    def __init__(self, there: Said, captions: Said, edits: Said):
        self.there, self.sides = there, (captions, edits)

    def is_said(self, of: str) -> bool:
        """Anything, anywhere."""
        return any(side.get(of) for side in (self.there, *self.sides))

    def __call__(self, of: str, images: Sequence[str], weight: Mapping[str, float]) -> Coverage:
        there = self.there.get(of, Counter())
        here = [side.get(of, Counter()) for side in self.sides]
        sides = [SaidOf(len(_words(said)), _share(_words(there), _words(said)), _share(there, said)) for said in here]
        return Coverage(of, len(images) / len(weight), sum(weight[i] for i in images) / sum(weight.values()), len(_words(there)), *sides)


def _share(there: Counter, here: Counter) -> float:
    return sum(times for words, times in there.items() if words in here) / max(1, there.total())

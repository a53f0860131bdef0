"""What a table of captions holds beside the captions that describe its images: edits, and weights of rare categories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.seeds import fingerprint_of_files
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.naming import Naming
from seggen_d2.segmentation.rarity import repeat_factors
from seggen_d2.sources.caption_table import Edits, read_captions

from .attributes import Attributes, Slots
from .redraw import Redraw

Captions = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class EditOptions:
    """How captions are edited.

    Attributes:
        attributes_from: a table of captions, of unlabelled images say, whose attributes are drawn; "" makes no edits.
        redraws: edits an image at most.
        least: attributes that the table says of a category less often are not drawn.
        rare_below: categories that a smaller share of the images names are rare, and images with them are worth more
            samples; 0 treats all alike.
        seed: changes every draw.
    """

    attributes_from: str = ""
    redraws: int = 8
    least: int = 2
    rare_below: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("redraws", self.redraws, 1, 10_000)
        check_range("least", self.least, 1, 10**6)
        check_range("rare_below", self.rare_below, 0, 1)

    def facts(self) -> dict:
        """What a table tells of its edits: no paths."""
        source = fingerprint_of_files([self.attributes_from]) if self.attributes_from else ""
        return {**asdict(self), "attributes_from": source}


class Editor:
    """Makes the edits and weights that its options ask for.

    An image of weight w has ``redraws`` times w edits, so that its samples are no more alike than those of the others.

    Args:
        categories: of the dataset.
        options: how.

    Raises:
        SegGenError: the table of attributes cannot be read, or says nothing of any category.
    """

    def __init__(self, categories: Categories, options: EditOptions):
        self.categories, self.options = categories, options
        self.redraw = _redraw(categories, options) if options.attributes_from else None

    def __call__(self, captions: Captions) -> Edits | None:
        """Of ``{image_id: captions that describe it}``; None where nothing is asked for."""
        if not self.redraw and not self.options.rare_below:
            return None
        weights = rare_weights(captions, self.categories, self.options.rare_below)
        return Edits(self._texts(captions, weights) if self.redraw else {}, weights, self.options.facts())

    def _texts(self, captions: Captions, weights: Mapping[str, float]) -> dict[str, tuple[tuple[str, int], ...]]:
        counts = {image_id: math.ceil(self.options.redraws * weights.get(image_id, 1)) for image_id in captions}
        found = {image_id: self.redraw.edits(image_id, given, counts[image_id]) for image_id, given in captions.items()}
        return {image_id: edits for image_id, edits in found.items() if edits}


def _redraw(categories: Categories, options: EditOptions) -> Redraw:
    slots, table = Slots(categories), read_captions(options.attributes_from)
    attributes = Attributes.of((caption for given in table.values() for caption in given), slots, options.least)
    if not attributes.counts:
        first = next(iter(table.values()), ("",))[0]
        raise SegGenError(f"captions {options.attributes_from} say nothing of how things look", found=f"{len(table)} images, the first: {first!r}",
                          expected=f"looks of categories, such as 'a red {categories.names[-1]}', or light and weather, each {options.least} times at least",
                          remedy="give captions that describe the categories of this dataset, or a smaller --least-said")
    return Redraw(attributes, slots, options.seed)


def rare_weights(captions: Captions, categories: Categories, rare_below: float) -> dict[str, float]:
    """Weights of images with rare categories: their repeat factors, of what captions name instead of annotations.

    Returns:
        ``{image_id: weight}`` of those whose weight is above 1.
    """
    naming = Naming(categories)
    named = {image_id: {place for caption in given for place in naming.named(caption)} for image_id, given in captions.items()}
    return {image_id: factor for image_id, factor in repeat_factors(named, rare_below).items() if factor > 1}

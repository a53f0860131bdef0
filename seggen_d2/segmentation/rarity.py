"""How much more an image counts that holds rare categories."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping


def repeat_factors(held: Mapping[str, Collection[int]], rare_below: float = 1.0) -> dict[str, float]:
    """The greatest ``sqrt(rare_below / f)`` over the categories that each image holds; 1 of an image without any.

    f is the share of the images that hold the category. These are the repeat factors of Gupta et al., LVIS (CVPR 2019),
    arXiv 1908.03195, before they are cut off at 1 below.

    Args:
        held: the categories of each image. rare_below: a share, in [0, 1]; 1 calls every category rare.
    """
    images_with = Counter(category for categories in held.values() for category in {*categories})
    return {image: max((math.sqrt(rare_below * len(held) / images_with[category]) for category in categories), default=1.0)
            for image, categories in held.items()}

"""Pictures that live inside the page: label maps, colour maps and photos as ``data:`` URIs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seggen_d2.foundation.data_uris import data_uri, fitted, shrunk
from seggen_d2.foundation.markup import Markup, join, tag
from seggen_d2.segmentation import ColorCodec, resize_labels
from seggen_d2.segmentation.mask_codec import MaskCodec
from seggen_d2.segmentation.masks import Mask

MOST = 320  # pixels of the longer side of what the page holds
OUTLINED = 240  # pixels to which small masks are enlarged before their borders are drawn
SMALL = 128  # pixels up to which a picture is kept as it is and shown with square pixels
NAMED_SHARE = 0.025  # of the picture, from which a category's name is written on its mask
LETTER = 0.038  # width of a letter, as a share of the picture's
NAMING_SIDE = 64  # pixels at which the places of names are looked for


def photo(image: np.ndarray, title: str) -> Markup:
    """A tile of an ``(H, W, 3)`` uint8 RGB image."""
    return _tile(_image(image.shape, data_uri(shrunk(image, MOST), exact=max(image.shape[:2]) <= SMALL), title), title)


def color_map(mask: Mask, codec: MaskCodec, title: str) -> Markup:
    """A tile of a mask as the generators see it: each pixel in its category's colour, segments outlined."""
    small = mask.resized(*fitted(mask.shape, MOST))
    return _tile(_image(mask.shape, data_uri(codec.encode(small), exact=True), title), title)


def named_mask(labels: np.ndarray, codec: ColorCodec, names: tuple[str, ...], title: str, *, parts: np.ndarray | None = None) -> Markup:
    """A tile of ``(H, W)`` labels as training sees them: segments, their borders, and their categories' names.

    Args:
        parts: ``(H, W)`` numbers of segments, whose borders are drawn; None draws those of categories.
    """
    factor = max(1, OUTLINED // max(labels.shape))
    small, parts = (_small_labels(each).repeat(factor, 0).repeat(factor, 1) for each in (labels, labels if parts is None else parts))
    outlined = 0.55 * codec.encode(small) + 0.45 * 255  # enlarged, so that borders are thin
    outlined[_borders(parts)] = 40
    picture = _image(labels.shape, data_uri(outlined.astype(np.uint8), exact=True), title)
    return _tile(join(picture, _name_tags(labels, names)), title)


def _name_tags(labels: np.ndarray, names: tuple[str, ...]) -> Iterator[Markup]:
    """The names of what is large enough, largest first; one that would cover another is left out."""
    height, width = fitted(labels.shape, NAMING_SIDE)
    small = resize_labels(labels, height, width)
    found = [(int((small == i).sum()), i) for i in np.unique(small) if i < len(names)]
    taken: list[tuple[float, float, float]] = []
    for count, i in sorted(found, reverse=True):
        row, column = _middle(small == i)
        x, y, wide = (column + 0.5) / width, (row + 0.5) / height, (len(names[i]) + 2) * LETTER
        place = x + (0.5 - x) * wide, y, wide
        if count >= NAMED_SHARE * small.size and not any(_collide(place, other) for other in taken):
            taken.append(place)
            yield _name_tag(names[i], x, y)


def _collide(a: tuple[float, float, float], b: tuple[float, float, float]) -> bool:
    """Whether two names ``(x, y, width)``, in shares of the picture, cover each other."""
    return abs(a[0] - b[0]) < (a[2] + b[2]) / 2 and abs(a[1] - b[1]) < 2 * LETTER


def _name_tag(name: str, x: float, y: float) -> Markup:
    """Shifted against its place by as much as keeps it inside of the picture."""
    x, y = round(100 * x), round(100 * y)
    return tag("span", name, class_="name", style=f"left:{x}%;top:{y}%;transform:translate(-{x}%,-{y}%)")


def _middle(here: np.ndarray) -> tuple[int, int]:
    """Row and column of a pixel that is farthest from the border of ``here``, found by eating away at it."""
    while True:
        padded = np.pad(here, 1)
        eaten = here & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        if not eaten.any():
            rows, columns = np.nonzero(here)
            centre = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
            return int(rows[centre]), int(columns[centre])
        here = eaten


def _borders(labels: np.ndarray) -> np.ndarray:
    borders = np.zeros(labels.shape, dtype=bool)
    borders[1:] |= labels[1:] != labels[:-1]
    borders[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return borders


def _tile(picture: Markup, title: str) -> Markup:
    return tag("figure", tag("div", picture, class_="frame"), tag("figcaption", title))


def _image(shape: tuple[int, ...], uri: str, title: str) -> Markup:
    height, width = shape[:2]
    pixelated = "pixelated" if max(height, width) <= SMALL else None
    return tag("img", src=uri, alt=title, width=width, height=height, class_=pixelated)


def _small_labels(labels: np.ndarray) -> np.ndarray:
    return resize_labels(labels, *fitted(labels.shape, MOST))

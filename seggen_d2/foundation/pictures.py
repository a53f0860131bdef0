"""Opening image files that strangers may have made: broken ones are named, and enormous ones refused unread."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from .errors import SegGenError, check_range

MOST_PIXELS = 178_956_970  # where Pillow itself refuses: some 0.5 GB of RGB
VARIABLE = "SEGGEN_MAX_PIXELS"


def most_pixels() -> int:
    """The largest image that is decoded, height times width: SEGGEN_MAX_PIXELS, or ``MOST_PIXELS``.

    Raises:
        SegGenError: the variable holds no number of 1 or more.
    """
    chosen = os.environ.get(VARIABLE, "")
    if not chosen:
        return MOST_PIXELS
    if not chosen.isdecimal():
        raise SegGenError(f"{VARIABLE} is no number", expected="pixels, such as 400000000", found=repr(chosen))
    return int(check_range(VARIABLE, int(chosen), 1, 2**40))


@contextmanager
def open_picture(data: bytes | str | os.PathLike, name: str, expected: str = "a JPEG or PNG") -> Iterator[Image.Image]:
    """Pillow's image of ``data``, not decoded yet; what goes wrong while it is decoded is told in one way, too.

    Args:
        data: the file's bytes, or its path.
        name: what errors call it, such as ``image a.jpg``.
        expected: what it should be.

    Raises:
        SegGenError: it is no image, cut short, or of more than :func:`most_pixels`.
    """
    limit = most_pixels()
    if limit > MOST_PIXELS and Image.MAX_IMAGE_PIXELS is not None:  # asked for: Pillow has a limit of its own
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            if image.width * image.height > limit:
                raise _too_large(name, f"{image.height} x {image.width} (H x W), {image.width * image.height} pixels", limit)
            yield image
    except SegGenError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error), limit) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise SegGenError(f"{name} cannot be read", expected=expected, found=str(error),
                          remedy="it may be truncated: make or copy it again") from error


def _too_large(name: str, found: str, limit: int) -> SegGenError:
    return SegGenError(f"{name} is too large to be decoded", expected=f"at most {limit} pixels", found=found,
                       remedy=f"make it smaller; or, where you trust it, set {VARIABLE}")

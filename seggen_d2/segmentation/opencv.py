"""opencv, which only decoding needs: opened when it is."""

from __future__ import annotations

from seggen_d2.foundation.errors import SegGenError


def opencv():
    """The package.

    Raises:
        SegGenError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise SegGenError("opencv is needed to decode colour maps", found=str(error), remedy="pip install opencv-python-headless") from error
    return cv2

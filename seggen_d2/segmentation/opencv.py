"""opencv, opened where it is needed: the bare package comes without, and a Detectron2 need not bring one."""

from __future__ import annotations

from seggen_d2.foundation.errors import SegGenError


def opencv(need: str = "to decode colour maps"):
    """The package.

    Args:
        need: what it is needed for, for the error.

    Raises:
        SegGenError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise SegGenError(f"opencv is needed {need}", found=str(error), remedy="pip install opencv-python-headless") from error
    return cv2

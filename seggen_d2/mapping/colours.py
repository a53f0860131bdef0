"""Colour operations on ``(H, W, 3)`` uint8 RGB: what a plan names is computed, by tables of 256 values.

A table is made by the very arithmetic that it stands for (float32, cut to 0..255, rounded down), so results are those of
computing every pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

_ALL_VALUES = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Linear:
    """value x ``factor`` + ``shift`` in every channel: brightness and contrast."""

    factor: float = 1.0
    shift: float = 0.0

    def table(self) -> np.ndarray:
        """``(256,)`` uint8."""
        return np.clip(_ALL_VALUES.astype(np.float32) * self.factor + self.shift, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Saturation:
    """Saturation x ``factor`` in OpenCV's HSV."""

    factor: float
    channel = 1

    def table(self) -> np.ndarray:
        """``(256,)`` uint8."""
        return Linear(self.factor).table()


@dataclass(frozen=True)
class Hue:
    """Hue + ``shift``, of OpenCV's 180."""

    shift: int
    channel = 0

    def table(self) -> np.ndarray:
        """``(256,)`` uint8."""
        return ((_ALL_VALUES.astype(int) + self.shift) % 180).astype(np.uint8)


Operation = Linear | Saturation | Hue


def apply_colours(image: np.ndarray, operations: Iterable[Operation]) -> np.ndarray:
    """``(H, W, 3)`` uint8 RGB in and out; linear operations in a row become one table."""
    for operation in _merged(operations):
        if isinstance(operation, np.ndarray):
            image = cv2.LUT(image, operation)
            continue
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        channel = cv2.LUT(cv2.extractChannel(hsv, operation.channel), operation.table())
        image = cv2.cvtColor(cv2.insertChannel(channel, hsv, operation.channel), cv2.COLOR_HSV2RGB)
    return image


def _merged(operations: Iterable[Operation]) -> Iterator[np.ndarray | Saturation | Hue]:
    table: np.ndarray | None = None
    for operation in operations:
        if isinstance(operation, Linear):
            table = operation.table() if table is None else operation.table()[table]
            continue
        if table is not None:
            yield table
            table = None
        yield operation
    if table is not None:
        yield table

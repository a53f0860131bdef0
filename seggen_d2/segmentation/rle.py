"""Run-length masks as COCO writes them: runs of 0 and 1 in turn, down the columns, as a list or as a short text.

In the text each count is a base-32 number, lowest digit first, in characters from ``"0"`` on whose bit 5 says that
more digits follow; from the fourth on, counts are differences to the count two before (cocodataset/cocoapi's format).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError

_MORE, _SIGN, _DIGIT = 0x20, 0x10, 0x1F


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """``(H, W)`` bool to ``{"size": [H, W], "counts": text}``. :func:`decode_mask` is its inverse."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([changes, [flat.size]])
    counts = np.diff(ends, prepend=0)
    leading = [0] if flat.size and flat[0] else []
    return {"size": [int(side) for side in mask.shape], "counts": _text(np.concatenate([leading, counts]).astype(int))}


def decode_mask(rle: Any, where: str) -> np.ndarray:
    """``{"size": [H, W], "counts": text or list}`` to ``(H, W)`` bool; ``where`` names it in errors.

    Raises:
        SegGenError: it is no run-length mask, or its runs do not fill its size.
    """
    height, width = rle_size(rle, where)
    counts = _counts(rle, where)
    if (counts < 0).any() or counts.sum() != height * width:
        raise SegGenError(
            f"the run-length mask of {where} is broken",
            expected=f"runs that add up to {height} x {width} = {height * width} pixels",
            found=f"{counts.sum()} pixels in {len(counts)} runs" + (", some negative" if (counts < 0).any() else ""),
            remedy="it may be cut short: export the annotations again",
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape((height, width), order="F")


def rle_size(rle: Any, where: str) -> tuple[int, int]:
    """Height and width of a run-length mask.

    Raises:
        SegGenError: it is no run-length mask.
    """
    size = rle.get("size") if isinstance(rle, dict) else None
    fits = isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(s, int) and s > 0 for s in size)
    if not fits or not isinstance(rle.get("counts"), (str, bytes, list)):
        raise SegGenError(
            f"the run-length mask of {where} is none",
            expected='{"size": [H, W], "counts": text or list}',
            found=repr(rle)[:80],
        )
    return size[0], size[1]


def _counts(rle: dict[str, Any], where: str) -> np.ndarray:
    counts = rle["counts"]
    try:
        if isinstance(counts, list):
            return np.array(counts, dtype=np.int64).reshape(-1)
        return _parse(counts.encode("ascii") if isinstance(counts, str) else counts)
    except (ValueError, TypeError, OverflowError) as error:
        raise SegGenError(
            f"the run-length mask of {where} is broken",
            expected="counts: whole numbers, or COCO's text of them",
            found=f"{counts!r:.60}: {error}",
            remedy="it may be cut short: export the annotations again",
        ) from error


def _parse(text: bytes) -> np.ndarray:
    """``(R,)`` int64 counts of the text."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & _MORE:
        raise ValueError("a character out of place, or the last number unfinished")
    lasts = np.flatnonzero(codes & _MORE == 0)
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    places = np.arange(len(codes)) - np.repeat(firsts, lasts - firsts + 1)
    if places.max() > 11:
        raise ValueError("a number of too many digits")
    numbers = np.add.reduceat((codes & _DIGIT) << 5 * places, firsts)
    numbers -= np.where(codes[lasts] & _SIGN, 1 << 5 * (places[lasts] + 1), 0)
    for start in (1, 2):  # from the fourth number on, each adds the one two before
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers


def _text(counts: np.ndarray) -> str:
    deltas = counts.copy()
    deltas[3:] -= counts[1:-2]
    letters = []
    for number in deltas.tolist():
        more = True
        while more:
            digit, number = number & _DIGIT, number >> 5
            more = number != (-1 if digit & _SIGN else 0)
            letters.append(chr(48 + (digit | _MORE if more else digit)))
    return "".join(letters)

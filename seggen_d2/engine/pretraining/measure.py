"""How well words are predicted for pictures that were not learnt from: average precision, beside what guessing has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from seggen_d2.foundation.table import labelled

SHOWN = 6  # words that the report names at either end


def word_precision(scores: Tensor, labels: Tensor, words: Sequence[str]) -> dict[str, Any]:
    """Mean average precision over the words that some picture has and some has not.

    Args:
        scores, labels: (N, W) of N pictures; higher is surer, and 1 where the word is in the captions.

    Returns:
        ``mean_average_precision`` and ``base_rate`` (percent; the latter is what scores without information have),
        ``pictures``, ``words``: how many, and ``of``: ``{word: [average precision, base rate]}``.
    """
    of = {}
    for word, score, label in zip(words, scores.T, labels.T, strict=True):
        rate = float(label.double().mean())
        if 0 < rate < 1:
            of[word] = [round(100 * float(binary_average_precision(score, label.long())), 2), round(100 * rate, 2)]
    return {"mean_average_precision": _mean(of, 0), "base_rate": _mean(of, 1), "pictures": len(labels), "words": len(of), "of": of}


def _mean(of: dict[str, list[float]], column: int) -> float | None:
    return round(sum(row[column] for row in of.values()) / len(of), 2) if of else None


def report(found: dict[str, Any]) -> str:
    """The figures in a few lines."""
    gains = sorted(found["of"], key=lambda word: found["of"][word][1] - found["of"][word][0])
    rows = [("held out", f"{found['pictures']} pictures, {found['words']} words"),
            ("precision", f"{found['mean_average_precision']} on average (guessing: {found['base_rate']}, the words' share of the pictures)")]
    for name, words in (("most above", gains[:SHOWN]), ("least", gains[-SHOWN:])):
        rows.append((name, ", ".join(f"{word} {found['of'][word][0]:.0f} ({found['of'][word][1]:.0f})" for word in words)))
    return labelled(rows)

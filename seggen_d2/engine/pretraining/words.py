"""What is predicted: words of captions, and runs of adjacent ones.

Source of the runs: Li et al., "Learning visual n-grams from web data", arXiv 1612.09161.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence

import numpy as np

from seggen_d2.foundation.errors import SegGenError

_WORD = re.compile(r"[^\W\d_]+")
# What parts a caption's phrases and is no word to learn: commas and the like, and words that name nothing.
_BREAK = re.compile(r"[^\w\s'-]+|\b(?:an?|and|are|as|at|by|for|from|has|in|is|its?|of|on|or|that|the|their|there|this|to|with)\b")


def words_of(captions: Iterable[str], longest: int = 1) -> set[str]:
    """The words of captions, in lower case, and the runs of up to ``longest`` words that no punctuation and no article or the like parts."""
    found: set[str] = set()
    for part in (part for caption in captions for part in _BREAK.split(caption.lower())):
        words = _WORD.findall(part)
        found.update(" ".join(words[at : at + length]) for length in range(1, longest + 1) for at in range(len(words) - length + 1))
    return found


def in_singular(words: set[str], known: Container[str]) -> set[str]:
    """Plurals in -s become the words that they are plurals of, where those are ``known``: two cars tell of a car."""
    return {" ".join(word[:-1] if word.endswith("s") and word[:-1] in known else word for word in run.split()) for run in words}


def vocabulary(pictures: Sequence[set[str]], *, min_pictures: int, max_share: float) -> tuple[str, ...]:
    """The words to predict, in alphabetical order.

    Args:
        pictures: of each picture what :func:`words_of` found.
        min_pictures, max_share: words of fewer pictures, or of a larger share of them, are left out.

    Raises:
        SegGenError: no word is left.
    """
    counts = Counter(word for words in pictures for word in words)
    kept = sorted(word for word, count in counts.items() if min_pictures <= count <= max_share * len(pictures))
    if not kept:
        raise SegGenError("no word of the captions is to be learnt",
                          expected=f"words of {min_pictures} pictures or more, and of at most {max_share:.0%} of them",
                          found=", ".join(f"{word} ({count})" for word, count in counts.most_common(5)) + f", of {len(pictures)} pictures",
                          remedy="lower min_pictures, or give captions that differ")
    return tuple(kept)


def word_labels(pictures: Sequence[set[str]], words: Sequence[str]) -> np.ndarray:
    """``(N, W)`` float32: 1 where picture n's captions hold word w."""
    place = {word: at for at, word in enumerate(words)}
    labels = np.zeros((len(pictures), len(words)), np.float32)
    for row, found in zip(labels, pictures, strict=True):
        row[[place[word] for word in found if word in place]] = 1
    return labels

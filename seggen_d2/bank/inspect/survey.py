"""One pass over a bank's index: what it holds of each class, what it rejected, and which samples a page shows."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.seeds import derive_seed

from ..format import Rejection, index_name

if TYPE_CHECKING:
    from ..reader import Bank

_AT_ONCE = 64  # index files that are fetched together
_MOST_REJECTED = 200  # that are listed one by one
_SHOWN_SHARE = 0.002  # of an image, from which a class can be seen in it
_NUMBER = re.compile(r"\d+(?:\.\d+)?%?")


@dataclass
class Frequencies:
    """How often classes occur.

    Attributes:
        pixels: ``(N,)`` labelled pixels of each class.
        images: ``(N,)`` images that hold it.
        count: of images.
        note: what they are of, where it is not all images.
    """

    pixels: np.ndarray
    images: np.ndarray
    count: int = 0
    note: str = ""

    @classmethod
    def none(cls, classes: int) -> Frequencies:
        return cls(np.zeros(classes, np.int64), np.zeros(classes, np.int64))

    def add(self, histograms: np.ndarray) -> None:
        """``(S, N)`` pixel counts of S images."""
        self.pixels += histograms.sum(0)
        self.images += (histograms > 0).sum(0)
        self.count += len(histograms)


@dataclass
class Survey:
    """What :func:`survey_bank` found.

    Attributes:
        chosen: row numbers of the samples to show, ascending.
        strategies: how many samples there are of each strategy.
        frequencies: of the bank.
        rejected: some of the rejections, in the order of the plan.
        reasons: how many rejections there are of each kind; numbers in their words are left out.
    """

    chosen: list[int]
    strategies: dict[str, int]
    frequencies: Frequencies
    rejected: list[Rejection] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def survey_bank(bank: Bank, most: int, seed: int = 0) -> Survey:
    """Read the index once and choose at most ``most`` samples, the same ones every time.

    Each class that the bank holds is in one of them, as far as there is room; the rest are shared out among the
    strategies by their sizes, and drawn at random within them.

    Args:
        bank: memory does not grow with its classes times its samples: the index is read shard by shard.
        most: samples to choose.
        seed: of the draw.
    """
    classes = len(bank.info.categories)
    draw = np.random.default_rng(derive_seed("inspect", seed, len(bank))).random(len(bank))
    survey = Survey([], {}, Frequencies.none(classes))
    strategies, best, holder, start = [], np.full(classes, np.inf), np.full(classes, -1), 0
    for rows, rejections in _index(bank):
        histograms = rows["histogram"]
        survey.frequencies.add(histograms)
        _note(survey, rejections)
        strategies.append(rows["strategy"])
        seen = histograms >= _SHOWN_SHARE * rows["pixels"][:, None]
        ranks = np.where(seen, draw[start : start + len(seen), None], np.inf)
        if len(ranks):
            first = ranks.argmin(0)
            better = ranks[first, np.arange(classes)] < best
            best[better], holder[better] = ranks[first, np.arange(classes)][better], start + first[better]
        start += len(seen)
    names = np.concatenate(strategies) if strategies else np.array([], object)
    survey.strategies = dict(sorted(Counter(names.tolist()).items()))
    survey.chosen = _choose(names, draw, dict.fromkeys(holder[holder >= 0].tolist()), most)
    return survey


def _index(bank: Bank):
    """Each shard's histograms, strategies and sizes, and its rejections."""
    from ..index import read_columns, read_facts  # pyarrow stays out of processes that only read

    classes = len(bank.info.categories)
    with tqdm(total=len(bank.shards), desc="index", unit="shard") as bar:
        for start in range(0, len(bank.shards), _AT_ONCE):
            for path in bank.store.fetch([index_name(shard) for shard in bank.shards[start : start + _AT_ONCE]]):
                table = read_columns(path, ["strategy", "height", "width", "histogram"])
                flat = table["histogram"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                pixels = table["height"].to_numpy() * table["width"].to_numpy()
                yield {"histogram": flat.reshape(len(table), classes), "strategy": table["strategy"].to_numpy(), "pixels": pixels}, read_facts(path)[1]
                bar.update()


def _note(survey: Survey, rejections: list[Rejection]) -> None:
    survey.reasons.update(_NUMBER.sub("…", rejection.reason) for rejection in rejections)
    survey.rejected += rejections[: max(0, _MOST_REJECTED - len(survey.rejected))]


def _choose(strategies: np.ndarray, draw: np.ndarray, first: dict[int, None], most: int) -> list[int]:
    """``first``, then the lowest draws of each strategy, in proportion to the strategies' sizes; then any."""
    chosen = list(first)[:most]
    for name, size in sorted(Counter(strategies.tolist()).items(), key=lambda item: item[1]):
        quota = max(1, round(most * size / len(strategies)))
        _fill(chosen, np.flatnonzero(strategies == name), draw, min(most, len(chosen) + quota - sum(strategies[row] == name for row in chosen)))
    _fill(chosen, np.arange(len(strategies)), draw, most)
    return sorted(chosen)


def _fill(chosen: list[int], rows: np.ndarray, draw: np.ndarray, upto: int) -> None:
    """Add the lowest draws among ``rows`` until there are ``upto``."""
    held = set(chosen)
    ordered = rows[np.argsort(draw[rows], kind="stable")][: upto + len(held)]
    chosen += [row for row in ordered.tolist() if row not in held][: max(0, upto - len(chosen))]

"""All probes that an advice needs: which are there, and how the others are made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tqdm import tqdm

from seggen_d2.bank import Bank, FilteredBank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import json_bytes
from seggen_d2.foundation.seeds import fingerprint
from seggen_d2.scoring.nearest import evenly

from .folds import Fold, PartOfBank, apart
from .intervals import Probed
from .probe import Prober, Tested
from .store import Store

logger = logging.getLogger(__name__)
LOOKED_AT = 64  # samples of a bank that each baseline probe looks at


@dataclass(frozen=True)
class Arm:
    """A way of training that is probed; ``p_aug`` 0 is real data alone. ``filter``: that the banks are read through, as SEGGEN.FILTER has it."""

    p_aug: float = 0.0
    filter: str = ""

    def __str__(self) -> str:
        return f"p_aug {self.p_aug:g}" + (f", filter {self.filter}" if self.filter else "")


@dataclass(frozen=True)
class Probes:
    """The probes of one advice.

    Attributes:
        prober: trains them. folds: all of them. seeds: trainings a fold. real: print of the real set.
        banks: by filter ("" for none), opened. prints: of the same, what tells them from others.
        store: where results are kept.
    """

    prober: Prober
    folds: Sequence[Fold]
    seeds: int
    real: str
    banks: dict[str, list[Bank | FilteredBank]]
    prints: dict[str, str]
    store: Store

    @cached_property
    def usable(self) -> list[Fold]:
        """The folds in which banks hold samples that were not made from a held-out image.

        Raises:
            SegGenError: there is none.
        """
        kept = [fold for fold in self.folds if all(self._parts(filter, fold) for filter in self.banks)]
        if not kept:
            raise SegGenError("nothing of the banks is left to probe with", expected="samples that were not made from an image held out",
                              found=f"none in any of {len(self.folds)} folds", remedy="give more --folds, or a bank of more source images")
        for fold in (one for one in self.folds if one not in kept):
            logger.warning("fold %d is left out: all samples were made from its held-out images", fold.number + 1)
        return kept

    def _parts(self, filter: str, fold: Fold) -> list[PartOfBank]:
        """Of each bank what a fold's probes may see; banks of which nothing is left are left out."""
        return [part for part in (apart(bank, fold.kept_out) for bank in self.banks[filter]) if len(part)]

    def facts(self, arm: Arm, fold: Fold, seed: int) -> dict[str, Any]:
        """What a probe's figures follow from."""
        bank = {"p_aug": arm.p_aug, "bank": self.prints[arm.filter]} if arm.p_aug else {}
        return {"real": self.real, "options": self.prober.options.facts(), "fold": fold.number, "seed": seed, **bank}

    def make(self, arms: Sequence[Arm]) -> None:
        """Train and test what is missing; each probe is kept as soon as it is finished."""
        jobs = [(arm, fold, seed) for arm in arms for fold in self.usable for seed in range(self.seeds)]
        missing = [job for job in jobs if self._found(*job) is None]
        steps = self.prober.options.iterations
        with tqdm(total=len(jobs) * steps, initial=(len(jobs) - len(missing)) * steps, unit="it", disable=None) as bar:
            for done, (arm, fold, seed) in enumerate(missing, start=len(jobs) - len(missing) + 1):
                bar.set_description(f"probe {arm}, fold {fold.number + 1}, seed {seed}")
                self._make(arm, fold, seed, bar.update)
                bar.update(done * steps - bar.n)  # of a probe that had only the banks to look at

    def _found(self, arm: Arm, fold: Fold, seed: int) -> Tested | None:
        """A finished probe; one of real data alone also has looked at the banks."""
        kept = self.store.get("probe", self.facts(arm, fold, seed))
        if kept is None or (not arm.p_aug and self.store.get("look", self._look_facts(fold, seed)) is None):
            return None
        return Tested(kept["sums"], kept["confusion"])

    def _make(self, arm: Arm, fold: Fold, seed: int, tick: Callable[[], Any]) -> None:
        facts = self.facts(arm, fold, seed)
        parts = self._parts(arm.filter, fold) if arm.p_aug else []
        weights = None if arm.p_aug else self.store.get("weights", facts)
        if weights is None:
            model = self.prober.train(fold, arm.p_aug, parts, seed, tick)
        else:
            model = self.prober.model(0)
            self.prober.fill(model, weights)
        if not arm.p_aug:
            self.store.put("weights", facts, self.prober.weights(model))
            self.store.put("look", self._look_facts(fold, seed), {"confusion": self.prober.test(model, self._unseen(fold)).confusion})
        found = self.prober.test(model, fold.test)
        self.store.put("probe", facts, {"sums": found.sums, "confusion": found.confusion})

    def _look_facts(self, fold: Fold, seed: int) -> dict[str, Any]:
        return {**self.facts(Arm(), fold, seed), "looked_at": LOOKED_AT, "bank": self.prints[""]}

    def _unseen(self, fold: Fold) -> Iterator[dict[str, Any]]:
        """Some samples, spread over the banks, that were not made from images which the fold's probes train on."""
        for bank in self.banks[""]:
            part = apart(bank, fold.trained)
            for place in evenly(len(part), min(len(part), max(1, LOOKED_AT // len(self.banks[""])))).tolist():
                yield part.record(place)

    def probed(self, arm: Arm) -> Probed:
        """The finished probes of an arm, over all folds."""
        found = [[self._found(arm, fold, seed) for fold in self.usable] for seed in range(self.seeds)]
        sums = np.stack([np.concatenate([one.sums for one in row]) for row in found])
        return Probed(sums, np.concatenate([np.full(len(fold.test), place) for place, fold in enumerate(self.usable)]))

    def confusions(self) -> tuple[np.ndarray, np.ndarray]:
        """``(N, N)`` pixels, labels by what probes of real data alone see: of the held-out real images, and of the banks' samples."""
        pairs = [(fold, seed) for fold in self.usable for seed in range(self.seeds)]
        real = sum(self._found(Arm(), fold, seed).confusion for fold, seed in pairs)
        return real, sum(self.store.get("look", self._look_facts(fold, seed))["confusion"] for fold, seed in pairs)


def print_of(banks: Sequence[Bank | FilteredBank], extra: str = "") -> str:
    """16 hexadecimal digits over the samples' keys, sources, images and masks of all banks, and ``extra``."""
    columns = [bank.column(name).tolist() for bank in banks for name in ("key", "source_id", "jpg_crc32", "png_crc32")]
    return fingerprint(json_bytes([columns, extra]))

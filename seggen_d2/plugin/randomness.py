"""Random numbers that follow from names: of a step, or of a sample that somebody else's mapper draws for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import derive_seed


def seed_of(cfg: Any) -> int:
    """``SEED``, where Detectron2's -1 ("any") counts as 0: a run without a seed can be resumed as well."""
    return max(int(cfg.SEED), 0)


def seed_all(*parts: str | int) -> None:
    """Seed Python's, numpy's and torch's global generators with a function of ``parts``."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def randomness_of(*parts: str | int) -> Iterator[None]:
    """Global draws within the block are a function of ``parts``; after it the generators are as they were before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # the CPU's alone: mappers run there
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class NoSample(SegGenError):
    """A mapper gave None for a record. A synthetic one gives way to the real one, and that to the next record."""


class NumberedMapper:
    """Somebody's mapper, which draws from the global generators, as a function of (seed, global sample number).

    Raises:
        NoSample: the mapper gives None, by which Detectron2's projects refuse a record.
    """

    def __init__(self, mapper: Callable[[dict[str, Any]], Any], seed: int):
        self.mapper, self.seed = mapper, seed

    def __call__(self, record: dict[str, Any], number: int) -> Any:
        with randomness_of("host mapping", self.seed, number):
            sample = self.mapper(record)
        if sample is None:
            raise NoSample(f"the mapper {type(self.mapper).__name__} gives None for {record.get('file_name')}")
        return sample

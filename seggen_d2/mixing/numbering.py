"""Global sample numbers: the n-th sample of a training run, whichever process, worker or restart reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.seeds import derive_seed

MOST = 2**62


class NumberedSampler:
    """An endless shuffled stream of ``(index, number)``; serves as the ``sampler`` of torch's DataLoader.

    Sample ``number`` belongs to epoch ``number // size``, and each epoch is a permutation that follows from
    ``(seed, epoch)``. So the pair is a function of the number: a stream that starts at N goes on as one that reached N.

    Args:
        size: samples of the dataset.
        seed: of the shuffles.
        start_number: samples that all processes together have drawn already.
        rank: this process; it takes every ``world_size``-th number.
        world_size: number of processes.

    Raises:
        SegGenError: the dataset is empty, or an argument is out of range.
    """

    def __init__(self, size: int, seed: int = 0, start_number: int = 0, rank: int = 0, world_size: int = 1):
        if size < 1:
            raise SegGenError(
                "the dataset has no samples",
                expected="1 or more",
                found=str(size),
                remedy="check the dataset's folders",
            )
        check_range("start_number", start_number, 0, MOST)
        check_range("world_size", world_size, 1, MOST)
        check_range("rank", rank, 0, world_size - 1)
        self.size, self.seed, self.start_number = size, seed, start_number
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        number, epoch, order = self.start_number + self.rank, -1, np.empty(0, dtype=np.int64)
        while True:
            if number // self.size != epoch:
                epoch = number // self.size
                order = self._order(epoch)
            yield int(order[number % self.size]), number
            number += self.world_size

    def _order(self, epoch: int) -> np.ndarray:
        """``(size,)`` int64. ``RandomState``, whose stream no version of numpy changes (NEP 19)."""
        return np.random.RandomState(derive_seed("order", self.seed, epoch) % 2**32).permutation(self.size)


class NumberedDataset:
    """A map-style dataset whose items are asked for by the pairs of :class:`NumberedSampler`.

    Args:
        records: dataset dicts.
        mapper: called as ``mapper(record, number=number)``.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], mapper: Callable[..., Any]):
        self.records, self.mapper = records, mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, pair: tuple[int, int]) -> Any:
        index, number = pair
        return self.mapper(self.records[index], number=number)

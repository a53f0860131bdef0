"""The plan of a bank: which samples there are, what each is made from, and which shard and batch it belongs to.

A plan is a function, not a list: a million samples take the memory of their sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from seggen_d2.bank.format import UNLABELLED
from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.seeds import derive_seed

from .order import Order, order_by_weight

if TYPE_CHECKING:
    from seggen_d2.generators.geometry import View

STRATEGIES = ("masksyn", "imgsyn", UNLABELLED)


@dataclass(frozen=True)
class PlannedSource:
    """A real image as a plan sees it.

    Attributes:
        source_id: its name in the bank.
        captions: that samples are made from, one or several.
        views: the parts of it that samples show, one or several; each is brought to a bucket's size.
    """

    source_id: str
    captions: tuple[str, ...]
    views: tuple[View, ...]


@dataclass(frozen=True)
class SampleSpec:
    """One sample to be made.

    Attributes:
        key: its name in the bank; keys ascend with the plan.
        source_id: the real image whose caption (ImgSyn: caption and mask) it is made from.
        strategy: of :data:`STRATEGIES`.
        seed: BLAKE2 of (bank seed, source_id, strategy, replica); all its noise comes from it.
        caption: what the networks are told.
        view: the part of the real image that it shows, and its size.
    """

    key: str
    source_id: str
    strategy: str
    seed: int
    caption: str
    view: View


@dataclass(frozen=True)
class Plan:
    """Sample i is replica ``i // sources`` of source ``i % sources``, in shard ``i // shard_size``.

    Replicas come in rounds over all sources, so that a bank that was stopped early still covers every source. With
    weights, sources have as many samples as their weights ask for, the weightiest first (:mod:`.order`). Replica
    r takes its source's view r and caption ``first_caption + r``, from the first again after the last.

    Args:
        strategy: of :data:`STRATEGIES`.
        sources: the real images, in order.
        replicas: samples a real image (the paper, ADE20K: 10 MaskSyn, 50 ImgSyn).
        bank_seed: changes every sample.
        shard_size: samples a shard.
        batch: samples that the networks see at once, all of one size; a batch never spans shards.
        samples: exactly so many in all; 0 is ``replicas`` a source.
        weights: of each source, 0 or more; none treats all alike.
        first_caption: of each source, that replica 0 takes, from 0.
    """

    strategy: str
    sources: Sequence[PlannedSource]
    replicas: int
    bank_seed: int
    shard_size: int
    batch: int
    samples: int = 0
    weights: Sequence[float] = ()
    first_caption: int = 0

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, STRATEGIES)
        for name in ("replicas", "shard_size", "batch"):
            check_range(name, getattr(self, name), 1, 10**7)
        check_range("samples", self.samples, 0, 10**9)
        if not self.sources:
            raise SegGenError("there is no real image to make samples from", expected="one or more", found="none")

    def __len__(self) -> int:
        return self.samples or len(self.sources) * self.replicas

    @cached_property
    def _order(self) -> Order | None:
        return order_by_weight(self.weights, len(self)) if len(self.weights) else None

    def sample(self, i: int) -> SampleSpec:
        """Sample number ``i``."""
        replica, place = self._order(i) if self._order else divmod(i, len(self.sources))
        source = self.sources[place]
        seed = derive_seed(self.bank_seed, source.source_id, self.strategy, replica)
        caption = source.captions[(self.first_caption + replica) % len(source.captions)]
        view = source.views[replica % len(source.views)]
        return SampleSpec(f"{self.strategy}-{i:09d}", source.source_id, self.strategy, seed, caption, view)

    @property
    def shard_count(self) -> int:
        return -(-len(self) // self.shard_size)

    def shard_name(self, shard: int) -> str:
        """The name of shard number ``shard``."""
        return f"{self.strategy}-{shard:05d}"

    @property
    def shards(self) -> list[str]:
        """Names of all shards, in order."""
        return [self.shard_name(n) for n in range(self.shard_count)]

    def numbers(self, shard: int) -> range:
        """The numbers of the samples of shard number ``shard``."""
        return range(shard * self.shard_size, min(len(self), (shard + 1) * self.shard_size))

    def batches(self, shard: int) -> Iterator[list[SampleSpec]]:
        """The batches of shard number ``shard``: each of one size, sizes in the order of their first samples."""
        by_size: dict[tuple[int, int], list[SampleSpec]] = {}
        for i in self.numbers(shard):
            spec = self.sample(i)
            by_size.setdefault(spec.view.out, []).append(spec)
        for specs in by_size.values():
            yield from (specs[start : start + self.batch] for start in range(0, len(specs), self.batch))

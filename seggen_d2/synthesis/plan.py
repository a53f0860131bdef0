"""The plan of a bank: which samples there are, their seeds, and which shard and batch each belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seggen_d2.foundation.errors import check_choice, check_range
from seggen_d2.foundation.seeds import derive_seed

STRATEGIES = ("masksyn", "imgsyn")


@dataclass(frozen=True)
class SampleSpec:
    """One sample to be made.

    Attributes:
        key: its name in the bank.
        source_id: the real image whose caption (MaskSyn) or mask and caption (ImgSyn) it is made from.
        seed: BLAKE2 of (bank seed, source_id, strategy, replica); all its noise comes from it.
    """

    key: str
    source_id: str
    strategy: str
    seed: int


@dataclass(frozen=True)
class Plan:
    """Sample i is replica ``i // sources`` of source ``i % sources``, in shard ``i // shard_size``.

    Replicas come in rounds over all sources, so that a bank that was stopped early still covers every source.

    Args:
        strategy: ``masksyn`` or ``imgsyn``.
        source_ids: the real images, in order.
        replicas: samples a real image (the paper, ADE20K: 10 MaskSyn, 50 ImgSyn).
        bank_seed: changes every sample.
        shard_size: samples a shard.
        batch: samples that the networks see at once; a batch never spans shards.
    """

    strategy: str
    source_ids: Sequence[str]
    replicas: int
    bank_seed: int
    shard_size: int
    batch: int

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, STRATEGIES)
        for name in ("replicas", "shard_size", "batch"):
            check_range(name, getattr(self, name), 1, 10**7)

    def __len__(self) -> int:
        return len(self.source_ids) * self.replicas

    def sample(self, i: int) -> SampleSpec:
        replica, source = divmod(i, len(self.source_ids))
        source_id = self.source_ids[source]
        return SampleSpec(f"{self.strategy}-{i:09d}", source_id, self.strategy,
                          derive_seed(self.bank_seed, source_id, self.strategy, replica))

    @property
    def shards(self) -> list[str]:
        """Names of all shards, in order."""
        return [f"{self.strategy}-{n:05d}" for n in range(-(-len(self) // self.shard_size))]

    def batches(self, shard: int) -> Iterator[list[SampleSpec]]:
        """The batches of shard number ``shard``."""
        end = min(len(self), (shard + 1) * self.shard_size)
        for start in range(shard * self.shard_size, end, self.batch):
            yield [self.sample(i) for i in range(start, min(start + self.batch, end))]

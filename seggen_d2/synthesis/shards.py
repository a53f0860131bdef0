"""Makes the shards of a bank that are not there yet: the networks in one thread, all that follows them in another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tqdm import tqdm

from seggen_d2.bank import BankWriter, Rejection, Sample
from seggen_d2.foundation.errors import check_range
from seggen_d2.foundation.processes import memory_told

from .finishing import Finisher
from .job import Job
from .options import SynthesisOptions
from .painter import Latent, Painter


def synthesis_memory_told(options: SynthesisOptions) -> AbstractContextManager:
    """:func:`memory_told` of a synthesis."""
    return memory_told("this synthesis", expected=f"room for the networks ({options.dtype}) and batches of {options.batch}",
                       remedy="end what else runs there; or give a smaller batch or dtype bfloat16, and another output, as both are part "
                       "of a bank. Finished shards are kept")


@dataclass
class Shard:
    """One shard in the making.

    Attributes:
        name: of the shard.
        planned: how many samples it has to account for.
        samples, rejections: so far, in the order of the batches.
    """

    name: str
    planned: int
    samples: list[Sample] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def write(self, writer: BankWriter) -> None:
        """Write it, in the plan's order."""
        assert len(self.samples) + len(self.rejections) == self.planned, "a shard is written whole"
        writer.write_shard(self.name, sorted(self.samples, key=lambda s: s.key), sorted(self.rejections, key=lambda r: r.key))


class ShardMaker:
    """Makes shards of one job's bank; it opens the networks with the first that is not there.

    Args:
        job: what to make.
        output: the bank's folder, or its URL.
        verify: compare finished shards with their checksums, and make damaged ones again.

    Raises:
        SegGenError: the folder holds a bank of another job.
    """

    def __init__(self, job: Job, output: str | os.PathLike, *, verify: bool = True):
        self.job, self.verify = job, verify
        self.writer = BankWriter(output, job.info())
        self._painter: Painter | None = None

    @property
    def painter(self) -> Painter:
        """The networks."""
        self._painter = self._painter or Painter(self.job)
        return self._painter

    def missing(self, shards: Sequence[int]) -> list[int]:
        """Those of the shard numbers that are not finished; damaged ones are named in a logged warning."""
        names = {n: self.job.plan.shard_name(n) for n in shards}
        finished = self.writer.finished(names.values())
        if self.verify and finished:
            bar = tqdm(sorted(finished), desc="checksums of finished shards", unit="shard", mininterval=1, delay=2)
            finished = {name for name in bar if self.writer.is_finished(name, check=True)}
        return [n for n in shards if names[n] not in finished]

    def is_finished(self, shard: int) -> bool:
        """Whether the shard of this number is; asks for it alone."""
        return self.writer.is_finished(self.job.plan.shard_name(shard), check=self.verify)

    def make(self, shards: Iterable[int], tell: Callable[[int], object] = lambda count: None) -> None:
        """Make the shards of these numbers; one that another command finishes meanwhile is left as it is.

        Args:
            shards: numbers.
            tell: called with the number of samples after each batch, from another thread.

        Raises:
            SegGenError: an input is bad, the disk is full or the GPU's memory too small; shards that are finished stay.
        """
        with synthesis_memory_told(self.job.options), Finisher() as finisher:
            for n in shards:
                shard = Shard(self.job.plan.shard_name(n), len(self.job.plan.numbers(n)))
                for specs in self.job.plan.batches(n):
                    finisher.hand_over(self._finish, shard, self.painter.latents(specs), tell)
                finisher.hand_over(shard.write, self.writer)

    def _finish(self, shard: Shard, latent: Latent, tell: Callable[[int], object]) -> None:
        shard.samples += self.painter.samples(latent)
        shard.rejections += latent.rejections
        tell(len(latent.kept) + len(latent.rejections))


def run_shards(job: Job, output: str | os.PathLike, *, index: int = 0, count: int = 1, verify: bool = True) -> None:
    """Write the shards of worker ``index`` of ``count``: those whose number is ``index`` modulo ``count``.

    Finished shards are left as they are; the same call goes on after any stop.

    Raises:
        SegGenError: the folder holds a bank of another job, an input is bad, or the disk is full.
    """
    check_range("worker index", index, 0, count - 1)
    maker = ShardMaker(job, output, verify=verify)
    todo = maker.missing(range(index, job.plan.shard_count, count))
    total = sum(len(job.plan.numbers(n)) for n in todo)
    with tqdm(total=total, desc=f"{job.strategy} worker {index + 1}/{count}", unit="sample", position=index, mininterval=1, disable=not todo) as bar:
        maker.make(todo, bar.update)

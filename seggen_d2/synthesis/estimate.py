"""What a job would cost, from batches really made; nothing is written."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seggen_d2.foundation.measure import peak_rss_mb

from .finishing import Finisher
from .job import Job
from .masks import SampledMasks
from .options import SynthesisOptions
from .painter import Latent, Painter
from .plan import Plan, SampleSpec
from .shards import synthesis_memory_told

if TYPE_CHECKING:
    import torch

BESIDE = 3 * 512 + 1536  # bytes of a sample beside image and mask: tar headers, padding, KEY.json, its row of the index


@dataclass(frozen=True)
class Estimate:
    """What a job would cost.

    Attributes:
        samples, shards: planned.
        timed: samples that were made to find the rest.
        seconds: a sample and worker, once the networks are loaded.
        opening: seconds until a worker has its networks loaded.
        bytes: a sample kept.
        rejected: share of the samples.
        memory: MB of a worker, at most.
        gpu_memory: MB of its GPU, at most; 0 without one.
        evaluations: of a UNet a sample, counted: those that paint ``images``, and MaskSyn's that paint ``masks``. Guidance takes two
            where none takes one.
        cpu: seconds of processor time a sample, of all threads: what else runs on the machine hardly changes them, other than ``seconds``.
    """

    samples: int
    shards: int
    timed: int
    seconds: float
    opening: float
    bytes: float
    rejected: float
    memory: float
    gpu_memory: float = 0.0
    evaluations: dict[str, float] = field(default_factory=dict)
    cpu: float = 0.0

    def hours(self, workers: int) -> float:
        """Of the whole job."""
        return (self.opening + self.samples * self.seconds / min(workers, self.shards)) / 3600

    def disk(self) -> float:
        """Bytes of the whole bank."""
        return self.samples * (1 - self.rejected) * self.bytes

    def text(self, workers: int, free_bytes: int | None) -> str:
        """In a few lines.

        Args:
            workers: that share the job.
            free_bytes: of the disk; None where nobody knows.
        """
        free = "in an object store" if free_bytes is None else f"{free_bytes / 1e6:.0f} MB free"
        gpu = f", {self.gpu_memory:.0f} MB of its GPU" if self.gpu_memory else ""
        lines = [f"{self.samples} samples in {self.shards} shards, about {self.rejected:.0%} of them rejected",
                 f"{self.disk() / 1e6:.1f} MB of disk expected ({self.bytes / 1e3:.1f} kB a sample), {free}",
                 f"{self.seconds:.2f} s a sample and worker (of {self.timed} made): {self.hours(workers):.2f} hours with {workers} workers",
                 f"{self.memory:.0f} MB of memory a worker{gpu}"]
        lines += [f"evaluations of the UNet a sample: {', '.join(f'{count:.4g} for {name}' for name, count in self.evaluations.items())}"]
        if free_bytes is not None and free_bytes < self.disk():
            lines.append("the disk is too small: free some space, or write to another one")
        return "\n".join(lines)


def estimate(strategy: str, options: SynthesisOptions, batches: int = 3) -> Estimate:
    """Time real batches from all over the plan, after one to warm up, as a worker makes them.

    Args:
        strategy: ``masksyn``, ``imgsyn`` or ``unlabelled``.
        options: what would be made.
        batches: how many are timed.

    Raises:
        SegGenError: an input is bad, or the GPU has too little memory.
    """
    with synthesis_memory_told(options):
        return _timed(strategy, options, batches)


def _timed(strategy: str, options: SynthesisOptions, batches: int) -> Estimate:
    began = time.monotonic()
    job = Job(strategy, options)
    painter, timed = Painter(job), list(_spread(job.plan, batches))
    opening = time.monotonic() - began
    painter.samples(painter.latents(timed[0]))
    began, busy, found = time.monotonic(), time.process_time(), _Found()
    with _counted(painter) as evaluated, Finisher() as finisher:
        for specs in timed:
            finisher.hand_over(found.add, painter, painter.latents(specs))
    seconds, busy = time.monotonic() - began, time.process_time() - busy
    count, size = sum(map(len, timed)), found.bytes / max(1, found.kept)
    memory = peak_rss_mb() + options.shard_size * size / 1e6  # a shard is written when it is whole
    return Estimate(len(job.plan), job.plan.shard_count, count, seconds / count, opening, size, 1 - found.kept / count, memory, _gpu_peak_mb(),
                    {name: number / count for name, number in evaluated.items()}, busy / count)


@contextmanager
def _counted(painter: Painter) -> Iterator[dict[str, int]]:
    """How many latents each UNet sees while the block runs, by what it paints."""
    unets = {"images": painter.sampler.unet} | ({"masks": painter.masks.sampler.unet} if isinstance(painter.masks, SampledMasks) else {})
    counts = dict.fromkeys(unets, 0)

    def count(name: str, inputs: tuple[torch.Tensor, ...]) -> None:
        counts[name] += len(inputs[0])

    hooks = [unet.register_forward_pre_hook(lambda _, inputs, name=name: count(name, inputs)) for name, unet in unets.items()]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


class _Found:
    """What the timed batches came to."""

    def __init__(self) -> None:
        self.kept, self.bytes = 0, 0

    def add(self, painter: Painter, latent: Latent) -> None:
        samples = painter.samples(latent)
        self.kept += len(samples)
        self.bytes += sum(len(s.image) + len(s.mask) + BESIDE for s in samples)


def _spread(plan: Plan, count: int) -> Iterator[list[SampleSpec]]:
    """The largest batch of each of ``count`` shards, evenly spaced; of more batches where there are fewer shards."""
    shards = sorted({i * plan.shard_count // count for i in range(count)})
    each = -(-count // len(shards))
    listed = (sorted(plan.batches(n), key=len, reverse=True)[:each] for n in shards)
    yield from itertools.islice(itertools.chain.from_iterable(listed), count)


def _gpu_peak_mb() -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0

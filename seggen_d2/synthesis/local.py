"""Local workers over one bank, its summary, and the dry run."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from seggen_d2.bank import Bank, BankWriter
from seggen_d2.foundation.errors import SegGenError

from .job import Job, SynthesisOptions, run_shards

log = logging.getLogger(__name__)


def synthesize(strategy: str, options: SynthesisOptions, output: Path, *, workers: int = 1) -> None:
    """Make the whole bank by ``workers`` local processes, each with ``options.threads`` threads.

    Raises:
        SegGenError: an input is bad, or a worker died; finished shards are kept.
    """
    job = Job(strategy, options)
    BankWriter(output, job.info())  # writes bank.json, or says how the folder differs
    if workers == 1:
        run_shards(job, output)
    else:
        _run_workers(strategy, options, output, workers)
    missing = unfinished(job, output)
    if missing:
        raise SegGenError(f"{len(missing)} of {len(job.plan.shards)} shards of {output} are not finished", found=", ".join(missing[:5]),
                          remedy="give the same command again; finished shards are kept")


def _run_workers(strategy: str, options: SynthesisOptions, output: Path, workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    running = [context.Process(target=_work, args=(strategy, options, output, i, workers)) for i in range(workers)]
    for process in running:
        process.start()
    try:
        for process in running:
            process.join()
    except KeyboardInterrupt:
        for process in running:
            process.terminate()
            process.join()
        raise


def _work(strategy: str, options: SynthesisOptions, output: Path, index: int, count: int) -> None:
    from seggen_d2.foundation.cli import run_command

    if options.device in ("auto", "cpu") and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if options.threads * count <= len(cores):
            os.sched_setaffinity(0, cores[index * options.threads : (index + 1) * options.threads])
    run_command(lambda: run_shards(Job(strategy, options), output, index=index, count=count))


def unfinished(job: Job, output: Path) -> list[str]:
    """Names of shards that are not whole yet."""
    writer = BankWriter(output, job.info())
    return [shard for shard in job.plan.shards if not writer.is_finished(shard)]


def summary(output: Path) -> str:
    """What a bank holds, in a few lines: samples, rejections by reason, disk."""
    bank = Bank(output)
    rejections = bank.rejections()
    reasons = Counter(re.sub(r"\d+", "N", r.reason) for r in rejections)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    lines = [f"{output}: {len(bank)} samples, {len(rejections)} rejected, {size / 1e6:.1f} MB"]
    return "\n".join(lines + [f"  rejected {n}: {reason}" for reason, n in reasons.most_common(6)])


@dataclass(frozen=True)
class Estimate:
    """What a job would cost, from batches really made: samples, seconds a sample and worker, bytes a sample, share rejected."""

    samples: int
    seconds: float
    bytes: float
    rejected: float

    def text(self, workers: int, free_bytes: int) -> str:
        hours = self.samples * self.seconds / workers / 3600
        disk = self.samples * (1 - self.rejected) * self.bytes
        return (f"{self.samples} samples, about {self.rejected:.0%} of them rejected\n"
                f"{disk / 1e6:.1f} MB of disk expected, {free_bytes / 1e6:.0f} MB free\n"
                f"{self.seconds:.2f} s a sample and worker: {hours:.2f} hours with {workers} workers")


def estimate(strategy: str, options: SynthesisOptions, batches: int = 3) -> Estimate:
    """Time a few real batches after one to warm up; nothing is written."""
    job = Job(strategy, options)
    painter = job.painter()
    plan = [specs for _, specs in zip(range(batches + 1), job.plan.batches(0))]
    painter(plan[0])
    began, count, sizes, rejected = time.monotonic(), 0, [], 0
    for specs in plan[1:] or plan:
        samples, rejections = painter(specs)
        count, rejected = count + len(specs), rejected + len(rejections)
        sizes += [len(s.image) + len(s.mask) + 3072 for s in samples]  # tar headers, JSON and padding
    return Estimate(len(job.plan), (time.monotonic() - began) / count, sum(sizes) / max(1, len(sizes)), rejected / count)


def free_space(folder: Path) -> int:
    """Free bytes where ``folder`` is, or will be."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free

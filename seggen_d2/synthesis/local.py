"""Local workers over one bank, and its summary."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from seggen_d2.bank import Bank, BankWriter
from seggen_d2.bank.store import is_url
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.stopping import end_with_parent

from .job import Job
from .options import SynthesisOptions
from .shards import run_shards

log = logging.getLogger(__name__)
START = "spawn"  # of workers: a fork of a process that has looked for GPUs cannot use them


def synthesize(strategy: str, options: SynthesisOptions, output: str | os.PathLike, *, workers: int = 1, verify: bool = True) -> None:
    """Make the whole bank by ``workers`` local processes, each with ``options.threads`` threads, and a GPU where there are several.

    Args:
        strategy: ``masksyn``, ``imgsyn`` or ``unlabelled``.
        options: what to make.
        output: the bank's folder, or an fsspec URL.
        workers: processes.
        verify: compare finished shards with their checksums, and make damaged ones again.

    Raises:
        SegGenError: an input is bad, or a worker died; finished shards are kept.
    """
    job = Job(strategy, options)
    writer = BankWriter(output, job.info())  # writes bank.json, or says how the folder differs
    if workers == 1:
        run_shards(job, output, verify=verify)
        ends = ()
    else:
        ends = run_workers(job, output, workers, verify)
    check_whole(job, writer, ends)


def check_whole(job: Job, writer: BankWriter, ends: Sequence[str] = ()) -> None:
    """Every shard of the job is there.

    Args:
        job: the job.
        writer: of its bank.
        ends: how workers ended that did not end well.

    Raises:
        SegGenError: some are not.
    """
    names = job.plan.shards
    finished = writer.finished(names)
    missing = [name for name in names if name not in finished]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise SegGenError(f"{len(missing)} of {len(names)} shards of {writer.root} are not finished", found="; ".join((shown, *ends)),
                          remedy="give the same command again; finished shards are kept")


def run_workers(job: Job, output: str | os.PathLike, workers: int, verify: bool = True) -> list[str]:
    """Make the job's shards by ``workers`` processes.

    Returns:
        How those ended that did not end well.
    """
    context = multiprocessing.get_context(START)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    shared = (job.strategy, job.options, output, verify, job.masks_print if job.strategy == "imgsyn" else "")
    running = [context.Process(target=_work, args=(*shared, i, workers)) for i in range(workers)]
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
    return [f"worker {i + 1} {_end(process)}" for i, process in enumerate(running) if process.exitcode]


def _end(process: BaseProcess) -> str:
    killed = f"was killed by signal {-process.exitcode}" + (" (out of memory?)" if process.exitcode == -9 else "")
    return killed if process.exitcode < 0 else f"ended with exit status {process.exitcode}"


def _work(strategy: str, options: SynthesisOptions, output: str | os.PathLike, verify: bool, masks_print: str, index: int, count: int) -> None:
    from seggen_d2.foundation.cli import run_command

    end_with_parent()  # or workers of a killed command would hold their GPUs, and the next one's would come on top
    options = _placed(options, index, count)
    run_command(lambda: run_shards(Job(strategy, options, masks_print), output, index=index, count=count, verify=verify))


def _placed(options: SynthesisOptions, index: int, count: int) -> SynthesisOptions:
    """A worker's own GPU, where there are several; its own cores, where they suffice."""
    import torch

    gpus = torch.cuda.device_count() if options.device in ("auto", "cuda") else 0
    if gpus > 1:
        return replace(options, device=f"cuda:{index % gpus}")
    if gpus == 0 and options.device in ("auto", "cpu") and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if options.threads * count <= len(cores):
            os.sched_setaffinity(0, cores[index * options.threads : (index + 1) * options.threads])
    return options


def summary(output: str | os.PathLike) -> str:
    """What a bank holds, in a few lines: samples, rejections by reason."""
    bank = Bank(output)
    rejections = bank.rejections()
    reasons = Counter(re.sub(r"\d+", "N", r.reason) for r in rejections)
    size = sum(facts.size for folder in ("index", "shards") for facts in bank.store.listing(folder).values())
    lines = [f"{output}: {len(bank)} samples, {len(rejections)} rejected, {size / 1e6:.1f} MB"]
    return "\n".join(lines + [f"  rejected {n}: {reason}" for reason, n in reasons.most_common(6)])


def free_space(output: str | os.PathLike) -> int | None:
    """Free bytes where ``output`` is, or will be; None for an object store."""
    if is_url(output):
        return None
    folder = Path(output).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free

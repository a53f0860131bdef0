"""The same plan by Ray Data: an actor a GPU makes the shards whose numbers it is handed.

Finished shards are the only state. The driver hands out numbers and counts what comes back; actors find out themselves
what is still missing, so an actor, a node or the driver may die at any time: another one makes the shard again, and its
bytes are the same.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from seggen_d2.bank import BankWriter
from seggen_d2.foundation.errors import SegGenError

from .job import Job
from .local import check_whole
from .options import SynthesisOptions
from .shards import ShardMaker

log = logging.getLogger(__name__)
ANSWER_SECONDS = 5.0  # for a TCP connection
HEALTH_SECONDS = 40.0  # for Ray behind it, the start of a Python included
OBJECT_STORE = 200_000_000  # bytes; nothing but numbers of shards goes through it
BLOCKS_A_WORKER = 64  # shards are handed out in so many parts a worker, so that all end at about the same time
RETRIES = 5  # of a part whose actor died; Ray's own number has no end, and a shard that is too large for the memory would have none


class ShardActor:
    """Makes shards, one call after another; opens job and networks with the first.

    Args: those of :class:`Job` and :class:`ShardMaker`, and the driver's folder, which relative paths start from: Ray
    starts actors in the folder where its node was started.
    """

    def __init__(self, strategy: str, options: SynthesisOptions, masks_print: str, output: str, verify: bool, folder: str):
        self._job, self._output, self._verify = (strategy, options, masks_print), output, verify
        if os.path.isdir(folder):  # elsewhere all paths are absolute, or are missed by name
            os.chdir(folder)
        self._maker: ShardMaker | None = None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """``{"shard": numbers}`` to the same with ``samples``, made or found; ``error`` where it went wrong."""
        numbers, error = batch["shard"].tolist(), ""
        try:
            maker = self._maker = self._maker or ShardMaker(Job(*self._job), self._output, verify=self._verify)
            maker.make([n for n in numbers if not maker.is_finished(n)])
        except SegGenError as found:  # as a value: Ray would wrap it in tracebacks, and try again
            error = f"{found}\n  node:     {socket.gethostname()}"
        counts = [len(self._maker.job.plan.numbers(n)) if self._maker and not error else 0 for n in numbers]
        return {"shard": batch["shard"], "samples": np.array(counts), "error": np.array([error] * len(numbers), dtype=object)}


def synthesize_with_ray(strategy: str, options: SynthesisOptions, output: str, *, address: str = "", workers: int = 1, verify: bool = True) -> None:
    """Make the whole bank by ``workers`` actors, each with ``options.threads`` threads, and a GPU where the cluster has GPUs.

    Data, generators and output must be reachable by one path from every node: a shared file system, or URLs for the output.

    Args:
        strategy, options, output, verify: as of :func:`.local.synthesize`.
        address: ``HOST:PORT`` or ``auto``, of a cluster of which this machine is a node; ``""`` starts a Ray on this
            machine and ends it.
        workers: actors.

    Raises:
        SegGenError: Ray is not installed or does not answer, an input is bad, or shards are missing at the end.
    """
    _need_ray()
    if address and address != "auto":
        check_address(address)
    job = Job(strategy, options)
    writer = BankWriter(output, job.info())  # writes bank.json, or says how the folder differs
    with connected(address, workers * options.threads):
        gpu = _takes_gpu(options.device)
        options = replace(options, device="cuda" if gpu else "cpu")
        masks_print = job.masks_print if strategy == "imgsyn" else ""
        _warn_of_waiting(workers, options.threads, gpu)
        _run(job, (strategy, options, masks_print, output, verify, os.getcwd()), workers, gpu)
    check_whole(job, writer)


def _run(job: Job, arguments: tuple, workers: int, gpu: bool) -> None:
    import ray.data

    dataset = ray.data.from_arrow(_blocks(job.plan.shard_count, workers)).map_batches(
        ShardActor, fn_constructor_args=arguments, batch_size=1, compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=job.options.threads, num_gpus=1 if gpu else 0, max_task_retries=RETRIES)
    bar = tqdm(total=len(job.plan), desc=f"{job.strategy} by {workers} Ray actors", unit="sample", mininterval=1)
    with bar, _deaths_told():
        for row in dataset.iter_rows():
            if row["error"]:
                raise SegGenError(row["error"])
            bar.update(row["samples"])


@contextmanager
def _deaths_told() -> Iterator[None]:
    """Actors that die again and again are told as bad input is, with what to do."""
    from ray.exceptions import OutOfMemoryError, RayActorError

    try:
        yield
    except (RayActorError, OutOfMemoryError) as error:
        raise SegGenError(f"a Ray actor died {RETRIES + 1} times at the same shards", found=str(error).strip().splitlines()[0][:300],
                          remedy="out of memory: a smaller batch or fewer workers; else see the log of the actor's node (/tmp/ray/session_latest/logs). "
                          "Then give the same command again; finished shards are kept") from error


def _blocks(shards: int, workers: int) -> list:
    import pyarrow as pa

    parts = np.array_split(np.arange(shards), min(shards, BLOCKS_A_WORKER * workers))
    return [pa.table({"shard": part}) for part in parts]


@contextmanager
def connected(address: str, cpus: int) -> Iterator[None]:
    """A connection to the cluster at ``address``, or to one of ``cpus`` CPUs on this machine that ends with the block.

    Raises:
        SegGenError: it does not answer.
    """
    import ray
    from ray.data import DataContext

    shared = {"logging_level": logging.WARNING, "ignore_reinit_error": True}
    try:
        if address:
            ray.init(address=address, **shared)
        else:
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=OBJECT_STORE, **shared)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _no_answer(address or "this machine", str(error).splitlines()[0][:200]) from error
    context = DataContext.get_current()
    before, context.enable_progress_bars = context.enable_progress_bars, False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield
    finally:
        context.enable_progress_bars = before
        ray.shutdown()


def check_address(address: str) -> None:
    """A Ray answers at ``HOST:PORT``.

    Raises:
        SegGenError: nothing does, or something else.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in host:
        raise SegGenError(f"{address!r} is no address of a Ray cluster", expected="HOST:PORT or auto", found=repr(address),
                          remedy="the head node prints it (ray start --head); give the command on a node of the cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, str(error)) from error
    _check_health(address)


def _check_health(address: str) -> None:
    """Ask in another process: in this one, Ray would wait for minutes and then end it."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=HEALTH_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _no_answer(address, f"something listens there, but no Ray answered within {HEALTH_SECONDS:.0f} s") from error
    if "AuthToken" in ended.stderr:
        raise SegGenError(f"the Ray at {address} asks for a token", expected="RAY_AUTH_MODE=token, and the cluster's ~/.ray/auth_token on each node",
                          found=f"RAY_AUTH_MODE={os.environ.get('RAY_AUTH_MODE', '')}", remedy="export RAY_AUTH_MODE=token here, too")
    if ended.returncode:
        raise _no_answer(address, "something listens there: " + (ended.stderr.strip().splitlines() or ["no Ray"])[-1][:200])


def _no_answer(address: str, found: str) -> SegGenError:
    return SegGenError(f"no Ray answers at {address}", expected="a running cluster of this Ray version", found=found,
                       remedy="start one (ray start --head), check address and firewall, or leave --address out for a Ray on this machine")


def _need_ray() -> None:
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise SegGenError("--executor ray needs Ray", expected="the extra 'ray'", found=str(error), remedy="pip install 'seggen_d2[ray]'") from error


def _takes_gpu(device: str) -> bool:
    import ray

    return device.startswith("cuda") or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= 1)


def _warn_of_waiting(workers: int, threads: int, gpu: bool) -> None:
    import ray

    kind, need = ("GPU", workers) if gpu else ("CPU", workers * threads)
    there = ray.cluster_resources().get(kind, 0)
    if there < need:
        log.warning("the cluster has %g %ss now where %d workers take %d: those that find none wait", there, kind, workers, need)

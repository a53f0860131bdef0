"""What ``tools/synthesize.py`` does with its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from seggen_d2.bank import Bank
from seggen_d2.bank.store import locate, open_store
from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import json_bytes
from seggen_d2.foundation.options import load_yaml, merge, parse_overrides

from . import local
from .job import Job
from .options import SynthesisOptions, options_for

EXECUTORS = ("local", "ray")
ESTIMATE_FILE = "estimate.json"  # beside the bank, as it tells times


def synthesize(strategy: str, config_file: str, overrides: Sequence[str], output: str, *, executor: str = "local", address: str = "",
               workers: int = 1, array: tuple[int | None, int | None] = (None, None), verify: bool = True, dry_run: bool = False,
               estimated: bool = False) -> str:
    """Make a bank, or a job array's part of it, or say what it would cost.

    Args:
        strategy: ``masksyn``, ``imgsyn`` or ``unlabelled``.
        config_file: YAML with the keys of :class:`SynthesisOptions`.
        overrides: ``KEY VALUE ...`` on top.
        output: the bank's folder, or an fsspec URL.
        executor: ``local`` or ``ray``.
        address: of a Ray cluster; ``""`` starts one on this machine.
        workers: processes or actors.
        array: the number of this process in a job array and its size; two None outside of one.
        verify: compare finished shards with their checksums, and make damaged ones again.
        dry_run: only say what it would cost.
        estimated: also keep that, measured once the bank is whole, as ``estimate.json`` beside it.

    Returns:
        What to tell the user.

    Raises:
        SegGenError: an input is bad, or shards are missing at the end.
    """
    options = options_for(strategy, merge(load_yaml(config_file), parse_overrides(list(overrides))), config_file)
    index, count = array
    _check_words(executor, address, workers, count, estimated)
    place = str(locate(output))
    if dry_run:
        from .estimate import estimate

        return estimate(strategy, options).text(count or workers, local.free_space(place))
    if index is not None:
        return _array_task(strategy, options, place, index, count, verify)
    if executor == "ray":
        from .ray_executor import synthesize_with_ray

        synthesize_with_ray(strategy, options, place, address=address, workers=workers, verify=verify)
    else:
        local.synthesize(strategy, options, place, workers=workers, verify=verify)
    _save_options(place, options)
    if estimated:
        _save_estimate(place, strategy, options)
    told = local.summary(place)
    if not len(Bank(place)):
        raise SegGenError(f"every sample of the bank {place} was rejected", expected="masks that pass the limits of quality", found=told,
                          remedy="train Text2Mask longer, sample more steps, or loosen the limits that the reasons name (quality.*), into another folder")
    return told


def _check_words(executor: str, address: str, workers: int, count: int | None, estimated: bool) -> None:
    check_range("--workers", workers, 1, 10**6)
    check_choice("--executor", executor, EXECUTORS)
    if address and executor != "ray":
        raise SegGenError("--address is of a Ray cluster", expected="--executor ray", found=f"--executor {executor}")
    if count is None:
        return
    check_range("--worker-count", count, 1, 10**6)
    if estimated:
        raise SegGenError("--estimate is for whole banks", expected="no --worker-count beside it", found="a job array",
                          remedy="give the command once more without them, when all tasks have ended: finished shards are kept")
    if (executor, workers) != ("local", 1):
        raise SegGenError("--worker-count makes this process one of a job array", expected="neither --executor nor --workers beside it",
                          found=f"--executor {executor} --workers {workers}", remedy="start more tasks instead")


def _array_task(strategy: str, options: SynthesisOptions, output: str, index: int, count: int, verify: bool) -> str:
    from .shards import run_shards

    job = Job(strategy, options)
    run_shards(job, output, index=index, count=count, verify=verify)
    if index == 0:
        _save_options(output, options)
    return f"{output}: the shards of task {index} of {count} are finished ({job.plan.shard_count} shards in all)"


def _save_options(output: str, options: SynthesisOptions) -> None:
    """The resolved options, with paths: beside the bank, not of it."""
    open_store(output).write("options.json", [json_bytes(asdict(options))])


def _save_estimate(output: str, strategy: str, options: SynthesisOptions) -> None:
    """What a sample cost, by batches timed by one worker; once."""
    from .estimate import estimate

    store = open_store(output)
    if not store.facts(ESTIMATE_FILE):
        store.write(ESTIMATE_FILE, [json_bytes(asdict(estimate(strategy, options)))])

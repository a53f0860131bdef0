"""The beginning of a bank as a bank of its own: what a smaller budget would have made, without making it.

A plan's samples come in rounds, so the first x4 of a bank of x16 are the bank of x4. Whole shards are linked (copied where
links are not possible); the one that is cut is written anew. The bank that is taken from is only read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import parse_json

from .format import PARTS, Sample, index_name, tar_name
from .index import read_columns, read_facts
from .info import BankInfo
from .reader import Bank
from .store_protocol import Store
from .writer import BankWriter

CHUNK = 2**20  # bytes that are copied at once


def take_bank(bank: str | os.PathLike, output: str | os.PathLike, *, samples: int = 0, replicas: int = 0) -> str:
    """Make a bank of the first planned samples of another; the same call goes on after any stop.

    Planned samples that were rejected count, as they did in the budget, and stay rejections.

    Args:
        bank: folder or URL of the bank to take from. output: of the bank that is made.
        samples: how many; or ``replicas`` of each real image.

    Raises:
        SegGenError: the bank has fewer, or lacks a shard among them; or the output holds another bank.
    """
    if bool(samples) == bool(replicas):
        raise SegGenError("how much of a bank is taken is told once", expected="--samples N, or --replicas N", found="both" if samples else "neither")
    for name, number in (("--samples", samples), ("--replicas", replicas)):
        check_range(name, number, 0, 10**9)
    taken_from = Bank(bank, check=True)
    try:
        return _take(taken_from, output, samples or replicas * _sources(taken_from))
    finally:
        taken_from.close()


def _sources(bank: Bank) -> int:
    """Real images that a bank's plan is made from."""
    count = bank.info.job.get("sources")
    if not isinstance(count, int):
        raise SegGenError(f"bank {bank.root} does not tell how many real images it is made from", expected="a bank of tools/synthesize.py",
                          found=f"job: {', '.join(bank.info.job)}", remedy="give --samples instead")
    return count


def _take(bank: Bank, output: str | os.PathLike, samples: int) -> str:
    parts = list(_parts(bank, samples))
    writer = BankWriter(output, _info(bank, samples))
    finished = writer.finished([shard for shard, _, _ in parts])
    for shard, whole, keys in tqdm([part for part in parts if part[0] not in finished], desc="take", unit="shard", mininterval=1, disable=None):
        if whole:
            for name in (index_name(shard), tar_name(shard)):  # the index first, as a writer does
                _copy(bank.store, writer.store, name)
        else:
            _write_cut(bank, writer, shard, keys)
    made = Bank(output)
    told = f"{output}: the first {samples} planned samples of {bank.root}: {len(made)} samples, {len(made.rejections())} rejected"
    made.close()
    return told


def _info(bank: Bank, samples: int) -> BankInfo:
    info = bank.info
    return BankInfo(info.task, info.categories, info.palette, info.generators, {**info.job, "taken": samples})


def _parts(bank: Bank, samples: int) -> Iterator[tuple[str, bool, list[str]]]:
    """Each shard that is taken: its name, whether all of it is, and the planned keys that are."""
    left, planned = samples, 0
    for number, shard in enumerate(bank.shards):
        if int(shard.rpartition("-")[2]) != number:
            raise SegGenError(f"bank {bank.root} lacks a shard before {shard}", expected="every shard up to the last taken", found=f"none of number {number}",
                              remedy="let its synthesis go on first: the same command makes what is missing")
        keys = _planned(bank, shard)
        planned += len(keys)
        yield shard, left >= len(keys), keys[:left]
        left -= min(left, len(keys))
        if not left:
            return
    raise SegGenError(f"bank {bank.root} has fewer samples", expected=f"{samples} planned ones or more", found=str(planned), remedy="take fewer")


def _planned(bank: Bank, shard: str) -> list[str]:
    """The keys of a shard's samples and rejections, in the order of the plan."""
    index = bank.store.fetch([index_name(shard)])[0]
    return sorted([*read_columns(index, ["key"])["key"].to_pylist(), *(rejection.key for rejection in read_facts(index)[1])])


def _copy(source: Store, target: Store, name: str) -> None:
    """A file of one store in another: linked where both are folders of one disk."""
    if isinstance(source.root, Path) and isinstance(target.root, Path):
        place = target.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        target.remove(name)
        try:
            os.link(source.root / name, place)
            return
        except OSError:  # another disk, or one without links
            pass
    with source.open(name) as file:
        target.write(name, iter(lambda: file.read(CHUNK), b""))


def _write_cut(bank: Bank, writer: BankWriter, shard: str, keys: list[str]) -> None:
    index, wanted = bank.store.fetch([index_name(shard)])[0], {*keys}
    rows = read_columns(index, ["key", "histogram"]).to_pylist()
    samples = [_sample(bank, row["key"], row["histogram"]) for row in rows if row["key"] in wanted]
    rejections = [rejection for rejection in read_facts(index)[1] if rejection.key in wanted]
    writer.write_shard(shard, samples, rejections)


def _sample(bank: Bank, key: str, histogram: list[int]) -> Sample:
    image, mask, text = (bank.read(key, kind, check=True) for kind in ("jpg", "png", "json"))
    facts = parse_json(text, f"bank://{bank.name}/{key}.json", "member")
    segments, annotations = (tuple(facts.pop(PARTS[task], ())) for task in ("panoptic", "instance"))
    return Sample(image=image, mask=mask, histogram=np.array(histogram, np.int64), segments=segments, annotations=annotations, **facts)

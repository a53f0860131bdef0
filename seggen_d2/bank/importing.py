"""Makes a bank of images and masks that exist already: another project's synthetic data, a renderer's, a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.seeds import fingerprint
from seggen_d2.segmentation import default_palette
from seggen_d2.sources import Source

from .conversion import Converter
from .format import Rejection, Sample, check_name, index_name, tar_name
from .index import read_columns, read_facts
from .info import BankInfo
from .shards import Shards
from .store import open_store
from .writer import BankWriter


@dataclass(frozen=True)
class ImportOptions:
    """What decides the samples of an imported bank; another value makes another bank.

    Attributes:
        strategy: what the samples are called: ``imgsyn`` (images made for real masks), ``masksyn``, or another word.
        source_pattern, quality, reduce_zero: see :class:`Converter`.
        shard_size: samples a shard.
        limit: import the first so many; 0 for all.
        keep_going: an image that cannot be used becomes a rejection of the bank instead of an error.
    """

    strategy: str = "imgsyn"
    source_pattern: str = ""
    quality: int = 95
    reduce_zero: bool = False
    shard_size: int = 1000
    limit: int = 0
    keep_going: bool = False

    def __post_init__(self) -> None:
        check_name(self.strategy, "the strategy")
        for name, low, high in (("quality", 1, 100), ("shard_size", 1, 10**6), ("limit", 0, 10**9)):
            check_range(name, getattr(self, name), low, high)


@dataclass(frozen=True)
class ImportSummary:
    """What a bank holds.

    Attributes:
        samples: how many it has.
        rejections: what was refused, and why.
        pixels: pixels of each category, by name.
        ignored: pixels of none.
        megabytes: of its archives.
        ids_as_given: the masks are semantic, and their ids were taken as they are (without ``reduce_zero``).
        left_out: the shards that are not whole, and why; nothing of theirs is counted.
    """

    samples: int
    rejections: tuple[Rejection, ...]
    pixels: dict[str, int]
    ignored: int
    megabytes: float
    ids_as_given: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def may_be_shifted(self) -> bool:
        """No pixel at all is unlabelled, as in masks whose 0 stands for unlabelled and was taken for a category."""
        return self.ids_as_given and bool(self.samples) and not self.ignored

    def __str__(self) -> str:
        missing = [name for name, count in self.pixels.items() if not count]
        total = max(sum(self.pixels.values()) + self.ignored, 1)
        never = f"; never seen: {', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}" if missing else ""
        lines = [
            f"{self.samples} samples, {self.megabytes:.1f} MB",
            f"{len(self.pixels) - len(missing)} of {len(self.pixels)} categories seen{never}",
            f"{self.ignored / total:.2%} of the pixels belong to no category",
        ]
        if self.may_be_shifted:
            lines.append("hint: no pixel is unlabelled. Where these masks hold 0 for unlabelled and ids from 1 (as ADE20K's do),")
            lines.append("      every label is now one class off: remove the bank, and import with --reduce-zero")
        lines += [f"{len(self.rejections)} images were refused; the first: {r.source_id}: {r.reason}" for r in self.rejections[:1]]
        return "\n".join((*lines, *self.left_out))


def import_bank(
    source: Source,
    root: str | os.PathLike,
    options: ImportOptions | None = None,
    *,
    licence: str = "not stated",
    threads: int = 1,
    check: bool = True,
) -> ImportSummary:
    """Make a bank of ``source`` in ``root``, shard by shard; finished shards are left as they are.

    Sample ``i`` is the dataset's ``i``-th image by name, or by the order of its JSON. The same call goes on after any
    stop, and the bank's bytes are those of an uninterrupted run.

    Args:
        source: an opened dataset (``seggen_d2.sources.load_dataset``) of any task.
        root: the bank's folder, or an fsspec URL.
        options: what decides the samples.
        licence: of the images, kept in ``bank.json``.
        threads: images that are read at once; the bytes do not depend on it.
        check: shards that are there are read and compared with their checksums, and damaged ones made anew; False goes by
            their length.

    Raises:
        SegGenError: ``root`` holds a bank of another source or other options; or an image or mask is missing, broken,
            of another size, or holds unknown labels (not with ``keep_going``).
    """
    options = options or ImportOptions()
    check_range("threads", threads, 1, 256)
    convert = Converter(source, options.strategy, options.source_pattern, options.quality, options.reduce_zero)
    if not options.keep_going:
        convert.check_masks()
    total = min(options.limit or len(convert), len(convert))
    writer = BankWriter(root, _info(source, convert, options, total, licence))
    _write(writer, convert, options, total, threads, check)
    summary = summarize(root, writer.info)
    if not summary.samples:
        raise SegGenError(f"none of the {total} images of {source.name} made a sample",
                          found="; ".join(rejection.reason for rejection in summary.rejections[:3]) or "no image",
                          expected="1 or more with usable labels",
                          remedy=f"mend the source, remove {root}, and give the command again")
    return summary


def _write(writer: BankWriter, convert: Converter, options: ImportOptions, total: int, threads: int, check: bool) -> None:
    """Write the shards that are not finished."""
    plan = {
        f"{options.strategy}-{shard:05d}": range(start, min(start + options.shard_size, total))
        for shard, start in enumerate(range(0, total, options.shard_size))
    }
    finished = writer.finished(plan, check)
    todo = {shard: numbers for shard, numbers in plan.items() if shard not in finished}
    done = total - sum(map(len, todo.values()))
    with _pool(threads) as pool, tqdm(total=total, initial=done, desc="import", unit="image", mininterval=1) as bar:
        for shard, numbers in todo.items():
            made = []
            for part in pool.map(lambda number: _attempt(convert, number, options.keep_going), numbers):
                made.append(part)
                bar.update()
            samples = [part for part in made if isinstance(part, Sample)]
            writer.write_shard(shard, samples, [part for part in made if isinstance(part, Rejection)])


def _attempt(convert: Converter, number: int, keep_going: bool) -> Sample | Rejection:
    try:
        made = convert(number)
    except SegGenError as error:
        if not keep_going:
            raise
        made = str(error)
    return made if isinstance(made, Sample) else Rejection(convert.key(number), str(convert.files[number][0].stem), made)


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that begin nothing new once something went wrong."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _info(source: Source, convert: Converter, options: ImportOptions, total: int, licence: str) -> BankInfo:
    """The bank's description: what decides its samples, without paths and times."""
    origin = _fingerprint(source, convert)
    job = {**asdict(options), "dataset": source.name, "source": origin, "samples": total}
    del job["limit"]
    generator = {"kind": "imported", "fingerprint": origin, "licence": licence, "base": source.name}
    palette = default_palette(len(source.categories))
    return BankInfo(source.task, source.categories, palette, (generator,), job)


def _fingerprint(source: Source, convert: Converter) -> str:
    """Over the names below its folder and sizes of all files: the same data elsewhere is the same source."""
    top = Path(source.images)
    facts = [(os.path.relpath(image, top), os.stat(image).st_size, _size(mask)) for image, mask in convert.files]
    json = getattr(source, "json", None)
    return fingerprint(repr((facts, fingerprint(Path(json).read_bytes()) if json else "")).encode())


def _size(mask: str | os.PathLike | None) -> int:
    return os.stat(mask).st_size if mask and os.path.isfile(mask) else 0


def summarize(root: str | os.PathLike, info: BankInfo) -> ImportSummary:
    """What the whole shards of the bank at ``root`` hold; one shard at a time is in memory."""
    found, counts = Shards(open_store(root)), np.zeros(len(info.categories), np.int64)
    samples = pixels = size = 0
    rejections: list[Rejection] = []
    problems = found.problems(found.begun)
    whole = [shard for shard in found.begun if not problems[shard]]
    for shard, index in zip(whole, found.store.fetch([index_name(shard) for shard in whole]), strict=True):
        rows = read_columns(index, ["height", "width", "histogram"])
        samples += len(rows)
        pixels += int((rows["height"].to_numpy() * rows["width"].to_numpy()).sum())
        counts += rows["histogram"].combine_chunks().flatten().to_numpy().reshape(-1, len(counts)).sum(0)
        rejections += read_facts(index)[1]
        size += found.facts[tar_name(shard)].size
    by_name = dict(zip(info.categories.names, counts.tolist(), strict=True))
    as_given = info.task == "semantic" and not info.job.get("reduce_zero")
    left_out = tuple(f"shard {shard} is left out: {problem}" for shard, problem in problems.items() if problem)
    return ImportSummary(samples, tuple(rejections), by_name, pixels - int(counts.sum()), size / 1e6, as_given, left_out)

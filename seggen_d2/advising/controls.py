"""Banks whose answer is known: spoilt copies of a bank, to see whether advice, or a filter, finds the fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from seggen_d2.bank import Bank, BankInfo, BankWriter, Sample
from seggen_d2.bank.format import PARTS
from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.files import parse_json
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.segmentation import label_map_png, read_label_map

SHARD = 1000  # samples


def spoil(root: str | os.PathLike, output: str | os.PathLike, way: str, *, classes: Sequence[str] = (), seed: int = 0) -> int:
    """Write a spoilt copy of a bank; the same call goes on after a stop.

    Args:
        root: the bank. output: the copy's folder.
        way: ``shuffled`` (each image has another sample's mask, of its size), ``repeated`` (each sample is the first one) or ``exchanged``
            (two classes have each other's labels).
        classes: the two of ``exchanged``. seed: of ``shuffled``.

    Returns:
        Samples of the copy.

    Raises:
        SegGenError: the way or a class is unknown, or the folder holds another bank.
    """
    bank, spoilt = Bank(root, check=True), WAYS[check_choice("the way to spoil", way, WAYS)]
    exchanged = _exchanged(bank, classes) if way == "exchanged" else None
    info = bank.info
    job = {**info.job, "spoilt": way, "of": info.job, **({"classes": list(classes)} if exchanged else {}), **({"seed": seed} if way == "shuffled" else {})}
    writer = BankWriter(output, BankInfo(info.task, info.categories, info.palette, info.generators, job))
    samples = tqdm(spoilt(bank, exchanged or seed), total=len(bank), desc=f"spoil: {way}", unit="sample", disable=None)
    shard: list[Sample] = []
    for number, sample in enumerate(samples):
        shard.append(sample)
        if len(shard) == SHARD or number == len(bank) - 1:
            writer.write_shard(f"{way}-{number // SHARD:05d}", shard)
            shard = []
    return len(bank)


def _exchanged(bank: Bank, classes: Sequence[str]) -> tuple[int, int]:
    names = bank.info.categories.names
    for name in classes:
        check_choice("--classes", name, names)
    if len({*classes}) != 2:
        raise SegGenError("two classes are to be exchanged", expected="--classes ONE OTHER", found=" ".join(classes) or "none")
    return names.index(classes[0]), names.index(classes[1])


def _sample(bank: Bank, histograms: np.ndarray, number: int, labels_of: int) -> Sample:
    """A sample with its own labels, or another one's; ``histograms`` are the bank's."""
    own, labels = bank.key(number), bank.key(labels_of)
    facts, other = (parse_json(bank.read(key, "json"), key) for key in (own, labels))
    same = {name: facts[name] for name in ("source_id", "strategy", "seed", "caption", "height", "width")}
    parts = {name: tuple(other.get(PARTS[task], ())) for name, task in (("segments", "panoptic"), ("annotations", "instance"))}
    return Sample(own, bank.read(own, "jpg"), bank.read(labels, "png"), histogram=histograms[labels_of], **same, **parts)


def _shuffled(bank: Bank, seed: int) -> Iterator[Sample]:
    sizes = np.stack([bank.column("height"), bank.column("width")], 1)
    others, histograms, random = np.arange(len(bank)), bank.column("histogram"), np.random.default_rng(derive_seed("shuffled", seed))
    for size in np.unique(sizes, axis=0):
        ring = random.permutation(np.flatnonzero((sizes == size).all(1)))
        others[ring] = np.roll(ring, 1)  # nobody keeps its own, but where a size is there once
    return (_sample(bank, histograms, number, int(other)) for number, other in enumerate(others))


def _repeated(bank: Bank, seed: int) -> Iterator[Sample]:
    first = _sample(bank, bank.column("histogram"), 0, 0)
    return (replace(first, key=bank.key(number)) for number in range(len(bank)))


def _with_exchanged(bank: Bank, pair: tuple[int, int]) -> Iterator[Sample]:
    table, histograms = np.arange(2**16, dtype=np.uint16), bank.column("histogram")
    table[list(pair)] = pair[::-1]
    for number in range(len(bank)):
        sample = _sample(bank, histograms, number, number)
        histogram = sample.histogram.copy()
        histogram[list(pair)] = sample.histogram[list(pair[::-1])]
        parts = {name: tuple({**part, "category_id": int(table[part["category_id"]])} for part in getattr(sample, name))
                 for name in ("segments", "annotations")}
        mask = sample.mask
        if bank.info.task == "semantic":
            labels = read_label_map(mask)
            mask = label_map_png(table[labels].astype(labels.dtype))
        yield replace(sample, mask=mask, histogram=histogram, **parts)


WAYS: dict[str, Callable[..., Iterator[Sample]]] = {"shuffled": _shuffled, "repeated": _repeated, "exchanged": _with_exchanged}

"""Captions of a whole dataset, by one process or several, chunk by chunk."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.sources import Source
from seggen_d2.sources.caption_table import Edits, read_caption_facts, read_captions, write_captions
from seggen_d2.sources.masks import read_labelled

from .captioner import Captioner, CaptionRequest

CHUNK = 256  # images: what a stopped process loses at most
READERS = 4  # threads that read the next batch while one is described
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """The part of the work that one of several processes does.

    Attributes:
        index: of this process; process 0 puts the table together.
        count: of processes.
        wait: returns once all processes have called it.
    """

    index: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None


def caption_dataset(
    source: Source, captioner: Captioner, path: str | os.PathLike, *, batch: int = 8, share: Share | None = None,
    edit: Callable[[Mapping[str, tuple[str, ...]]], Edits | None] = lambda captions: None,
) -> dict[str, tuple[str, ...]]:
    """Caption every image of ``source`` into the table at ``path``.

    Images that the table holds already are not captioned again; edits are made anew from what describes the images. The
    others are cut into chunks, whatever the number of processes; a finished chunk is a file of its own beside the table,
    so that a stopped run goes on with the same command and ends with the same captions.

    Args:
        source: the dataset.
        captioner: describes its images.
        path: the table.
        batch: images at once.
        share: this process's part; all of it by default.
        edit: makes the table's edits from ``{image_id: captions}``.

    Returns:
        ``{image_id: captions that describe it}`` of the whole dataset, in the order of its records.

    Raises:
        SegGenError: an image or mask cannot be read, the captioner gave an empty caption, or the table was made by
            another captioner.
    """
    path, share = Path(path), share or Share()
    done = _begun(path, captioner.facts)
    records = source.records()
    todo = [record for record in records if str(record["image_id"]) not in done]
    share.wait()  # until every process has seen the same table
    folder = path.with_name(path.name + ".parts")
    chunks = _cut(todo, CHUNK)
    _caption_chunks(chunks, source, captioner, folder, batch, share)
    share.wait()
    if share.index == 0:
        for number, chunk in enumerate(chunks):
            done |= _read_chunk(folder, number, chunk) or {}
        captions = {name: done[name] for name in _names(records)}
        write_captions(path, captions, captioner.facts, edit(captions))
        shutil.rmtree(folder, ignore_errors=True)
    share.wait()
    return read_captions(path)


def _begun(path: Path, facts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The captions that the table holds already; ``facts`` are those of the captioner that is to go on."""
    if not path.exists():
        return {}
    before = {name: value for name, value in read_caption_facts(path).items() if value}
    if before and before != {name: value for name, value in facts.items() if value}:
        raise SegGenError(f"captions {path} were made by another captioner", expected=str(dict(facts)), found=str(before),
                          remedy="use that one, or another output folder")
    return read_captions(path)


def _caption_chunks(
    chunks: Sequence[list[dict[str, Any]]], source: Source, captioner: Captioner, folder: Path, batch: int, share: Share
) -> None:
    mine = [number for number in range(len(chunks)) if number % share.count == share.index]
    label = f"captions ({captioner.name})" + (f" process {share.index + 1}/{share.count}" if share.count > 1 else "")
    with (
        tqdm(total=sum(len(chunks[number]) for number in mine), desc=label, unit="image", position=share.index) as bar,
        ThreadPoolExecutor(READERS) as pool,
    ):
        for number in mine:
            if _read_chunk(folder, number, chunks[number]) is not None:
                bar.update(len(chunks[number]))
                continue
            captions: dict[str, tuple[str, ...]] = {}
            for requests in _read_ahead(_cut(chunks[number], batch), source, pool):
                captions.update(zip((request.image_id for request in requests), captioner(requests), strict=True))
                bar.update(len(requests))
            write_captions(_chunk_file(folder, number), captions, captioner.facts)


def _read_ahead(batches: Sequence[list[dict[str, Any]]], source: Source, pool: Executor) -> Iterator[list[CaptionRequest]]:
    """The batches, each read while the one before it is in use."""
    coming: list[Future] = []
    for records in [*batches, []]:
        ready, coming = coming, [pool.submit(_request, record, source) for record in records]
        if ready:
            yield [request.result() for request in ready]


def _read_chunk(folder: Path, number: int, chunk: list[dict[str, Any]]) -> dict[str, tuple[str, ...]] | None:
    """A finished chunk's captions; None where it is not finished, is damaged, or holds other images than these."""
    file = _chunk_file(folder, number)
    if not file.exists():
        return None
    try:
        captions = read_captions(file)
    except SegGenError as error:
        _log.warning("%s; they are made again", error.problem)
        return None
    if list(captions) == _names(chunk):
        return captions
    _log.warning("%s holds captions of other images: the dataset changed; they are made again", file)
    return None


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:06d}.parquet"


def _cut(records: Sequence[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    return [list(records[start : start + size]) for start in range(0, len(records), size)]


def _names(records: Sequence[dict[str, Any]]) -> list[str]:
    return [str(record["image_id"]) for record in records]


def _request(record: dict[str, Any], source: Source) -> CaptionRequest:
    image, mask = read_labelled(record, source)
    return CaptionRequest(image, mask, record.get("attributes", {}), str(record["image_id"]))

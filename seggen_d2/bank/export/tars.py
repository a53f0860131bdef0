"""WebDataset shards: the bank's own archives, compared with their checksums, and what a reader must know of them."""

from __future__ import annotations

import mmap
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_json

from ..format import BLOCK, KINDS, index_name, tar_header, tar_name
from ..store import LocalStore
from ..store_protocol import Store
from .begin import check_room, licences
from .members import in_turn, is_there, placed

if TYPE_CHECKING:
    from ..reader import Bank

FACTS = "dataset.json"


def export_webdataset(bank: Bank, folder: Path) -> Path:
    """Write ``SHARD.tar`` for each whole shard, and ``dataset.json`` with its names, task, categories and licences.

    A sample is ``KEY.jpg``, ``KEY.png`` (the mask) and ``KEY.json`` (caption, source, and segments or objects).

    Returns:
        ``folder``.

    Raises:
        SegGenError: a member differs from its checksum, where ``bank.check`` asks for that.
    """
    check_room(bank, folder, KINDS)
    for _ in tqdm(in_turn(lambda shard: _copy(bank, shard, folder / f"{shard}.tar"), bank.shards), desc="export", unit="shard", total=len(bank.shards)):
        pass
    write_json(folder / FACTS, {
        "name": bank.name,
        "task": bank.info.task,
        "shards": [f"{shard}.tar" for shard in bank.shards],
        "samples": len(bank),
        "categories": bank.info.categories.to_json(),
        "members": {"jpg": "image", "png": "mask: category ids, or RGB ids of segments or objects", "json": "caption and more"},
        "licences": licences(bank),
    })
    return folder


def _copy(bank: Bank, shard: str, path: Path) -> None:
    """Copy an archive, unless it is there; a bank that is opened to be checked has its members compared first."""
    if is_there(path):
        return
    if not bank.check and isinstance(bank.store, LocalStore):
        with placed(path) as part:
            shutil.copyfile(bank.store.address(tar_name(shard)), part)  # the system copies, without a way through this process
        return
    rows = _rows(bank.store, shard) if bank.check else []
    with _archive(bank.store, tar_name(shard)) as data, memoryview(data) as view, placed(path) as part:
        for name, offset, length, crc32 in rows:
            headed = view[offset - BLOCK : offset] == tar_header(name, length)  # it holds the member's name
            if not headed or zlib.crc32(view[offset : offset + length]) != crc32:
                raise SegGenError(f"member {name} of shard {shard} of bank {bank.name} is damaged", expected=f"CRC-32 {crc32:08x}",
                                  found="other bytes", remedy="give the command that made the bank again, then this one")
        with open(part, "wb", buffering=0) as file:
            file.write(view)


def _rows(store: Store, shard: str) -> list[tuple[str, int, int, int]]:
    """Name, offset, length and CRC-32 of each member."""
    from ..index import read_columns  # pyarrow stays out of processes that only read

    names = ["key", *(f"{kind}_{fact}" for kind in KINDS for fact in ("offset", "length", "crc32"))]
    columns = read_columns(store.fetch([index_name(shard)])[0], names).to_pydict()
    return [row for kind in KINDS for row in zip((f"{key}.{kind}" for key in columns["key"]), columns[f"{kind}_offset"],
                                                 columns[f"{kind}_length"], columns[f"{kind}_crc32"], strict=True)]


@contextmanager
def _archive(store: Store, name: str) -> Iterator[mmap.mmap | bytes]:
    """An archive's bytes: a local one is mapped, not read."""
    with store.open(name) as file:
        if not isinstance(store, LocalStore):
            yield file.read()
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped

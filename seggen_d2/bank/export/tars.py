"""WebDataset shards: the bank's own archives, compared with their checksums, and what a reader must know of them."""

from __future__ import annotations

import shutil
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_json

from ..format import KINDS, tar_name
from ..store import LocalStore, Store
from ..verify import shard_damage
from .begin import check_room, licences
from .members import placed

if TYPE_CHECKING:
    from ..reader import Bank

FACTS = "dataset.json"
_BLOCK = 2**18  # bytes read at once


def export_webdataset(bank: Bank, folder: Path) -> Path:
    """Write ``SHARD.tar`` for each whole shard, and ``dataset.json`` with its names, task, categories and licences.

    A sample is ``KEY.jpg``, ``KEY.png`` (the mask) and ``KEY.json`` (caption, source, and segments or objects).

    Returns:
        ``folder``.

    Raises:
        SegGenError: a shard is damaged; its damages are named.
    """
    check_room(bank, folder, KINDS)
    with ThreadPoolExecutor(1) as pool, tqdm(bank.shards, desc="export", unit="shard") as bar:
        for shard in bar:
            if not (folder / f"{shard}.tar").exists():
                _copy(bank, shard, folder / f"{shard}.tar", pool)
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


def _copy(bank: Bank, shard: str, path: Path, pool: Executor) -> None:
    """Copy an archive while another thread compares it with its checksums; a damaged one is not left behind."""
    damages = pool.submit(shard_damage, bank.store, shard)
    with placed(path) as part:
        _copy_file(bank.store, tar_name(shard), part)
        if damages.result():
            raise SegGenError(f"shard {shard} of bank {bank.name} is damaged", expected="the bytes of its checksums",
                              found="; ".join(map(str, damages.result()[:5])),
                              remedy="give the command that made the bank again, then this one")


def _copy_file(store: Store, name: str, target: str) -> None:
    if isinstance(store, LocalStore):
        shutil.copyfile(store.address(name), target)  # the system copies, without a way through this process
        return
    with store.open(name) as source, open(target, "wb", buffering=0) as file:
        shutil.copyfileobj(source, file, _BLOCK)

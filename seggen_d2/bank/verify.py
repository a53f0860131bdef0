"""Reads a whole bank and names what is not as it was written, to the last byte."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError

from .format import BLOCK, KINDS, index_name, member_offsets, tar_header, tar_name
from .info import read_info
from .shards import Shards
from .store import open_store
from .store_protocol import Store


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written.

    Attributes:
        shard: its name.
        problem: what is wrong.
        member: ``KEY.kind``, where it is one member alone.
    """

    shard: str
    problem: str
    member: str = ""

    def __str__(self) -> str:
        return f"shard {self.shard}: {self.problem}"


def verify_bank(root: str | os.PathLike) -> list[str]:
    """One line for each shard that is not whole and each member that differs from its checksum.

    Raises:
        SegGenError: ``root`` holds no bank that this version can read.
    """
    return [str(damage) for damage in find_damage(root)]


def find_damage(root: str | os.PathLike) -> Iterator[Damage]:
    """What is damaged in the bank at ``root``, shard by shard; it reads every byte.

    Raises:
        SegGenError: ``root`` holds no bank that this version can read.
    """
    read_info(root)
    store = open_store(root)
    found = Shards(store)
    problems = found.problems(found.begun)
    for shard in tqdm(found.begun, desc="verify", unit="shard", mininterval=1, disable=None):
        yield from [Damage(shard, problems[shard])] if problems[shard] else shard_damage(store, shard)


def shard_damage(store: Store, shard: str) -> list[Damage]:
    """What is damaged in a shard that is whole by its length: members by their CRC-32, and all bytes between them.

    The archive's headers and padding follow from the index, so every byte of it is known or has a checksum; the pages of
    the index have checksums of their own.
    """
    try:
        rows = _rows(store, shard)
        lengths = [row[f"{kind}_length"] for row in rows for kind in KINDS]
        offsets, total = member_offsets(lengths)
        if min(lengths, default=0) < 0 or offsets != [row[f"{kind}_offset"] for row in rows for kind in KINDS]:
            return [Damage(shard, f"{index_name(shard)} tells places that no archive has")]
        with store.open(tar_name(shard)) as tar:
            damages = [*_members(tar, rows, shard)]
            end = tar.read()
    except SegGenError as error:
        return [Damage(shard, error.problem)]
    except (OSError, TypeError) as error:  # the latter: an index that lacks values
        return [Damage(shard, f"{shard} cannot be read: {type(error).__name__}: {error}")]
    after = offsets[-1] + lengths[-1] + -lengths[-1] % BLOCK if rows else 0
    return damages if end == bytes(total - after) else [*damages, Damage(shard, f"the end of {tar_name(shard)} differs")]


def _rows(store: Store, shard: str) -> list[dict[str, Any]]:
    from .index import SCHEMA, read_columns, read_facts  # pyarrow stays out of processes that only read

    index = store.fetch([index_name(shard)], fresh=True)[0]
    read_facts(index)
    names = ["key", *(f"{kind}_{fact}" for kind in KINDS for fact in ("offset", "length", "crc32"))]
    rows = read_columns(index, check=True)
    if not rows.schema.equals(SCHEMA):
        raise SegGenError(f"{index_name(shard)} has other columns than an index", expected=str(SCHEMA), found=str(rows.schema))
    return rows.select(names).to_pylist()


def _members(tar: BinaryIO, rows: Sequence[dict[str, Any]], shard: str) -> Iterator[Damage]:
    """Read the archive in order, and tell each member that is not what its row tells."""
    for row in rows:
        for kind in KINDS:
            member, length = f"{row['key']}.{kind}", row[f"{kind}_length"]
            header, data, padding = (tar.read(size) for size in (BLOCK, length, -length % BLOCK))
            if zlib.crc32(data) != row[f"{kind}_crc32"]:
                yield Damage(shard, f"member {member} differs from its checksum", member)
            if header != tar_header(member, length) or any(padding):
                yield Damage(shard, f"the header or padding of member {member} differs", member)

"""Reads a whole bank and names what is not as it was written."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from .format import KINDS, index_path, tar_path
from .info import read_info


def verify_bank(root: str | os.PathLike) -> list[str]:
    """One line for each shard that is not whole and each member that differs from its checksum.

    Raises:
        SegGenError: ``root`` holds no bank that this version can read.
    """
    from .index import shard_problem  # pyarrow stays out of processes that only read

    root = Path(root)
    read_info(root)
    lines = []
    for shard in sorted({path.stem for folder in ("index", "shards") for path in (root / folder).glob("[!.]*")}):
        problem = shard_problem(root, shard)
        lines += [f"shard {shard}: {problem}"] if problem else _verify_members(root, shard)
    return lines


def _verify_members(root: Path, shard: str) -> list[str]:
    from .index import read_columns

    columns = [f"{kind}_{fact}" for kind in KINDS for fact in ("offset", "length", "crc32")]
    rows = read_columns(index_path(root, shard), ["key", *columns]).to_pylist()
    lines = []
    with open(tar_path(root, shard), "rb") as tar:
        for row in rows:
            for kind in KINDS:
                tar.seek(row[f"{kind}_offset"])
                if zlib.crc32(tar.read(row[f"{kind}_length"])) != row[f"{kind}_crc32"]:
                    lines.append(f"shard {shard}: member {row['key']}.{kind} differs from its checksum")
    return lines

"""Members of a bank as plain files, each there whole or not at all."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from ..reader import Bank

T = TypeVar("T")
_PART = 32  # samples that a thread takes at once
_THREADS = 4


@dataclass(frozen=True)
class Target:
    """Where the members of a kind go.

    Attributes:
        kind: ``jpg`` or ``png``.
        folder: each becomes ``folder/KEY.kind``.
        change: makes the file's bytes of the member's; None keeps them.
    """

    kind: str
    folder: Path
    change: Callable[[bytes], bytes] | None = None


def write_members(bank: Bank, targets: list[Target]) -> None:
    """Write the members of all samples; files that are there are left alone.

    Files are renamed into place and not synced one by one, which would take most of the time.

    Raises:
        SegGenError: a member differs from its checksum, or its shard cannot be read.
    """
    for target in targets:
        target.folder.mkdir(parents=True, exist_ok=True)
    keys = bank.column("key")
    parts = [keys[start : start + _PART] for start in range(0, len(keys), _PART)]
    with tqdm(total=len(keys), desc="export", unit="sample") as bar:
        for written in in_turn(lambda part: _write_part(bank, part, targets), parts):
            bar.update(written)


def in_turn(work: Callable[[Any], T], parts: Iterable[Any]) -> Iterator[T]:
    """``work(part)`` of each part in order, by a few threads, a few parts ahead; an error stops what is not begun."""
    with ThreadPoolExecutor(_THREADS) as pool:
        coming: deque[Future[T]] = deque()
        try:
            for part in parts:
                coming.append(pool.submit(work, part))
                if len(coming) > _THREADS:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for each in coming:
                each.cancel()


def _write_part(bank: Bank, keys: list[str], targets: list[Target]) -> int:
    for target in targets:
        folder, kind = os.fspath(target.folder), target.kind
        for key in keys:
            path = f"{folder}/{key}.{kind}"
            if not is_there(path):
                data = bank.read(key, kind, check=bank.check)
                _put(path, target.change(data) if target.change else data)
    return len(keys)


def _put(path: str, data: bytes) -> None:
    with placed(path) as part, open(part, "wb", buffering=0) as file:
        file.write(data)


def is_there(path: str | os.PathLike) -> bool:
    """Whether an earlier run wrote the file; one that is empty lost its bytes with the machine's power, as files are not synced."""
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


@contextmanager
def placed(path: str | os.PathLike) -> Iterator[str]:
    """A name to write to, which becomes ``path`` if the block ends well and vanishes if not. It is not synced."""
    part = f"{os.fspath(path)}.part"
    try:
        yield part
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise
    os.replace(part, path)

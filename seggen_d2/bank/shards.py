"""Which shards there are, and whether they are whole, as a store lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError

from .format import index_name, tar_name
from .store_protocol import Facts, Store


class Shards:
    """What lies in ``index/`` and ``shards/`` at one moment.

    Two listings tell it, however many shards there are: on an object store a question a file would take minutes.

    Attributes:
        facts: of the files, by name.
        names: of the shards that have an index, ascending.
        begun: of the shards that have an index or an archive, ascending.
    """

    def __init__(self, store: Store):
        indexes, archives = ([*store.listing(folder).items()] for folder in ("index", "shards"))
        self.store, self.facts = store, dict([*indexes, *archives])
        self.names = [_shard(name) for name, _ in indexes if name.endswith(".parquet")]
        self.begun = sorted({*self.names, *(_shard(name) for name in self.facts)})

    def problems(self, shards: Sequence[str]) -> dict[str, str]:
        """Why each shard is not whole, or ``""``; the index files are fetched together."""
        paths = self.store.fetch([index_name(shard) for shard in shards])
        return {
            shard: _problem(shard, self.facts.get, lambda path=path: path) for shard, path in zip(shards, paths, strict=True)
        }


def shard_problem(store: Store, shard: str) -> str:
    """Why a shard is not whole, or ``""`` where it is: its index reads and tells its archive's length."""
    return _problem(shard, store.facts, lambda: store.fetch([index_name(shard)])[0])


def _problem(shard: str, facts: Callable[[str], Facts | None], index: Callable[[], Path]) -> str:
    from .index import read_facts  # pyarrow stays out of processes that only read

    tar = facts(tar_name(shard))
    if not facts(index_name(shard)):
        return f"{index_name(shard)} is missing" if tar else "it was never begun"
    try:
        wanted, _ = read_facts(index())
    except SegGenError as error:
        return error.problem
    if not tar:
        return f"{tar_name(shard)} is missing"
    return "" if tar.size == wanted else f"{tar_name(shard)} has {tar.size} bytes where its index says {wanted}"


def _shard(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]

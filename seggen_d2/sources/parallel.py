"""Work on many files: in order, with a progress bar, by one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from seggen_d2.foundation.errors import check_range

In = TypeVar("In")
Out = TypeVar("Out")
_CHUNK = 16  # items a message between processes


def mapped(function: Callable[[In], Out], items: Sequence[In], workers: int, what: str) -> Iterator[Out]:
    """``function`` of each item, in order; once something fails nothing new begins.

    Args:
        function: at a module's top level, or an object of a class there.
        items: what to work on.
        workers: processes; 1 works in this one.
        what: the bar's label.
    """
    check_range("workers", workers, 1, 1024)
    with tqdm(total=len(items), desc=what, unit="file", mininterval=0.5, disable=not items) as bar:
        if workers == 1 or len(items) <= _CHUNK:
            for item in items:
                yield function(item)
                bar.update()
            return
        pool = ProcessPoolExecutor(min(workers, -(-len(items) // _CHUNK)), mp_context=get_context("spawn"))
        try:
            for made in pool.map(function, items, chunksize=_CHUNK):
                yield made
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)

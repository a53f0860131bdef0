"""One thread behind the networks, so that decoding, JPEG, PNG and the disk never hold them up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Finisher:
    """Does what it is handed, in that order, in a thread of its own; after a failure it does nothing more.

    Leaving the ``with`` block waits for all of it; leaving it by an exception drops what has not begun.

    Args:
        depth: so many things may wait; handing over one more waits. Bounds memory.
    """

    def __init__(self, depth: int = 2):
        self.depth, self._waiting, self._failed = depth, deque[Future](), False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="finisher")

    def hand_over(self, work: Callable[..., Any], *args: Any) -> None:
        """Have ``work(*args)`` done.

        Raises:
            Exception: what an earlier piece of work raised.
        """
        while len(self._waiting) >= self.depth:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._do, work, *args))

    def _do(self, work: Callable[..., Any], *args: Any) -> None:
        if self._failed:
            return
        try:
            work(*args)
        except BaseException:
            self._failed = True
            raise

    def wait(self) -> None:
        """Until all is done.

        Raises:
            Exception: what a piece of work raised.
        """
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> Finisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown(cancel_futures=True)

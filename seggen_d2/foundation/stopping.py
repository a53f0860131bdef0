"""Stops that leave nothing half done: Ctrl-C and SIGTERM noted, and acted on at the end of a step."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_noted() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a step is never left half done.

    A second Ctrl-C stops at once; a SIGTERM after the first does not (a recipe that is stopped sends one).
    """
    stop, noted, before, owner = threading.Event(), [], {}, os.getpid()

    def note(number: int, frame: object) -> None:
        if os.getpid() != owner:  # forked meanwhile: pools end their processes by SIGTERM; Ctrl-C is for the owner
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if number == signal.SIGINT and signal.SIGINT in noted:
            raise KeyboardInterrupt
        noted.append(number)
        stop.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Have this process end as soon as the one that started it through ``multiprocessing`` has, kill -9 included."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    if parent:
        threading.Thread(target=watch, name="end with parent", daemon=True).start()

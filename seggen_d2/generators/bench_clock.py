"""How much of a call's time its networks take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline


class NetworkClock:
    """Adds up the seconds that calls of networks take; a call inside another one counts once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            start = now()
            try:
                return call(*args, **kwargs)
            finally:
                self._depth -= 1
                self.seconds += 0.0 if self._depth else now() - start

        return timed


@contextmanager
def timed_networks(pipeline: DiffusionPipeline) -> Iterator[NetworkClock]:
    """The clock of all networks of ``pipeline``: text encoders, UNet, ControlNet and the VAE's decoder."""
    clock, networks = NetworkClock(), [n for n in pipeline.components.values() if isinstance(n, torch.nn.Module)]
    calls = [(network, name) for network in networks for name in ("forward", "decode") if hasattr(network, name)]
    for network, name in calls:
        setattr(network, name, clock.wrapped(getattr(network, name)))
    try:
        yield clock
    finally:
        for network, name in calls:
            delattr(network, name)


def now() -> float:
    """Seconds: on the wall once a GPU has done what it was given; of this thread's own work where torch has one thread."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.thread_time() if torch.get_num_threads() == 1 and not torch.cuda.is_available() else time.perf_counter()

"""What large models run on: the processes of ``accelerate launch`` or ``torchrun``, their devices, and GPUs that are too small."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import SegGenError

if TYPE_CHECKING:
    from accelerate import PartialState


def join_processes(patience: timedelta, *, cpu: bool = False) -> PartialState:
    """This process's place among those that a launcher started, its device with it; by gloo where no GPU is used.

    Args:
        patience: how long one process waits for another.
        cpu: leave GPUs alone, even where there are some.
    """
    import torch
    from accelerate import PartialState

    on_cpu = cpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true") or not torch.accelerator.is_available()
    # accelerate joins processes without GPUs only where it is told so
    return PartialState(cpu=cpu or (on_cpu and "LOCAL_RANK" in os.environ), timeout=patience)


@contextmanager
def memory_told(what: str, *, expected: str, remedy: str) -> Iterator[None]:
    """Within the block, or in a function that this decorates, a GPU's want of memory is an error that tells what to do.

    Args:
        what: what does not fit.
        expected: what there must be room for.
        remedy: what makes it smaller.

    Raises:
        SegGenError: the GPU has too little memory.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise SegGenError(f"{what} does not fit the GPU's memory", expected=expected, found=str(error).splitlines()[0][:200], remedy=remedy) from error

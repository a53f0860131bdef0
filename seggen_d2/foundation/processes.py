"""Joining the other processes of a launcher: ``accelerate launch`` or ``torchrun`` with several GPUs, or CPUs."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

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

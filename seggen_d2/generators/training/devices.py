"""What a training runs on: the processes of a launcher, their devices and precision, and a GPU that is too small."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.state import AcceleratorState

from seggen_d2.foundation.errors import SegGenError, check_installed
from seggen_d2.foundation.processes import join_processes, memory_told

from .options import TrainingOptions

PATIENCE = timedelta(hours=12)  # processes wait so long for the one that validates or makes a cache


def start_processes() -> PartialState:
    """Join the other processes, where a launcher started several."""
    return join_processes(PATIENCE)


def training_memory_told() -> AbstractContextManager:
    """:func:`memory_told` of a training."""
    return memory_told("this training", expected="room for weights, gradients, moments and a batch", remedy="lower training.batch and raise "
                       "training.gradient_accumulation, set training.gradient_checkpointing: true, start from configs/generators/*-24gb.yaml; "
                       "where the cache or a validation was at work, lower cache.batch or validation.batch")


def make_accelerator(options: TrainingOptions, output: Path, *, leaves_unused: bool) -> Accelerator:
    """This process's device, precision, gradients across processes, and tracker.

    Args:
        options: of the training.
        output: the tracker's folder.
        leaves_unused: some of the weights that are trained get no gradient.

    Raises:
        SegGenError: the tracker is not installed, the machine lacks the precision, or accelerate is set up for sharded weights.
    """
    if options.tracker:
        check_installed(f"training.tracker: {options.tracker}", options.tracker, 'set training.tracker: ""')
    start_processes()
    AcceleratorState._reset_state()  # a training before this one may have had another precision
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=leaves_unused, gradient_as_bucket_view=True)]
    try:
        accelerator = Accelerator(gradient_accumulation_steps=options.gradient_accumulation, mixed_precision=options.mixed_precision,
                                  log_with=options.tracker or None, project_dir=str(output), kwargs_handlers=handlers)
    except ValueError as error:
        raise SegGenError(f"training.mixed_precision: {options.mixed_precision} does not go with this machine", expected="no, bf16 or fp16, as it can",
                          found=str(error).splitlines()[0][:200], remedy="set training.mixed_precision: no, or use a GPU that has it") from error
    if accelerator.distributed_type.value not in ("NO", "MULTI_GPU", "MULTI_CPU"):
        raise SegGenError(f"accelerate is set up for {accelerator.distributed_type.value}", expected="one device, or several with a copy each",
                          remedy="choose multi-GPU without DeepSpeed and FSDP in `accelerate config`")
    return accelerator

"""Losses of real and of synthetic samples apart, of a model that knows nothing of either. Training is left as it is.

What a batch holds is read from the marks that ``SwapMapper`` sets. The losses come, in this order, from the model's
``last_losses`` (per sample; ``SegGenMask2Former`` keeps them), from its ``criterion`` evaluated again without gradients
on each part of the batch (Mask2Former, Mask DINO and others of their kind), or from the step itself where a batch is
all of one kind.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.utils import comm
from torch import nn

from .randomness import randomness_of

logger = logging.getLogger(__name__)

KINDS = {False: "real", True: "synthetic"}
Losses = dict[str, dict[str, float]]  # {"real": {"samples": 3, "loss_mask": 0.4, ..., "total_loss": 2.0}, ...}
_AUXILIARY = re.compile(r".*_\d+")  # losses of the layers before the last


class LossesApart:
    """Hooks on a model that measure a step's losses by kind.

    Args:
        model: in training it takes a list of samples and returns ``{name: loss}``.
        due: whether the step that begins now is to be measured.
        report: is given the losses of a measured step, over all processes, and the counts of samples (``real``,
            ``synthetic``, ``failed``) since the last measured one. Called on the main process, during the step.
    """

    def __init__(self, model: nn.Module, due: Callable[[], bool], report: Callable[[Losses, Counter], None]):
        self._due, self._report = due, report
        self._counts: Counter = Counter()
        self._flags: list[bool] | None = None  # of the batch of a step that is measured
        self._losses: Losses = {}
        self._works = True
        self._handles = [model.register_forward_pre_hook(self._begin), model.register_forward_hook(self._end)]
        criterion = getattr(model, "criterion", None)
        if isinstance(criterion, nn.Module) and not hasattr(model, "last_losses"):
            self._handles.append(criterion.register_forward_hook(self._evaluate, with_kwargs=True))

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._flags, self._losses = None, {}
        if not model.training:
            return
        batch = inputs[0] if inputs and isinstance(inputs[0], Sequence) else ()
        marked = [sample for sample in batch if isinstance(sample, Mapping) and "is_synthetic" in sample]
        self._counts.update(KINDS[bool(sample["is_synthetic"])] for sample in marked)
        self._counts["failed"] += sum("swap_failed" in sample for sample in marked)
        if self._due():
            self._flags = [bool(sample["is_synthetic"]) for sample in marked] if len(marked) == len(batch) else []

    def _evaluate(self, criterion: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """After the criterion's own pass, on what that was given."""
        if not self._flags or not self._works:
            return
        try:
            self._losses = criterion_losses(criterion, args, kwargs, self._flags)
        except Exception as error:  # a criterion of another kind; what is only logged must not stop a training
            self._works = False
            logger.warning("losses of real and synthetic samples are not logged apart: %s cannot be evaluated on a part "
                           "of a batch (%s: %s)", type(criterion).__name__, type(error).__name__, error)

    def _end(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self._flags is None:
            return
        if self._flags and isinstance(getattr(model, "last_losses", None), Mapping):
            self._losses = sample_losses(model.last_losses, self._flags)
        elif self._flags and not self._losses and len(set(self._flags)) == 1 and isinstance(output, Mapping):
            self._losses = {KINDS[self._flags[0]]: _summary(output, len(self._flags))}
        everywhere = comm.gather((self._losses, self._counts))  # every process measures the same steps
        self._flags, self._counts = None, Counter()
        if comm.is_main_process():
            losses, counts = zip(*everywhere, strict=True)
            self._report(mean_losses(losses), sum(counts, Counter()))


def sample_losses(losses: Mapping[str, torch.Tensor], flags: Sequence[bool]) -> Losses:
    """Of ``{name: (B,) tensor}``, the means over the real and over the synthetic samples."""
    which = torch.tensor(list(flags))
    return {
        KINDS[kind]: _summary({name: values.detach().cpu()[which == kind].mean() for name, values in losses.items()},
                              flags.count(kind))
        for kind in set(flags)
    }


@torch.no_grad()
def criterion_losses(
    criterion: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], flags: Sequence[bool]
) -> Losses:
    """What ``criterion(outputs, targets, ...)`` gives for the real and for the synthetic samples of a batch.

    No random state changes, and no process waits for another: each part is normalised by its own segments in this
    process.

    Args:
        criterion: DETR's kind; its ``weight_dict`` weighs and selects the losses, as the models do.
        args, kwargs: of its pass over the whole batch: nested mappings and lists of tensors with the batch in their
            first dimension; the second argument is a list with an entry a sample.
        flags: of each sample, whether it is synthetic.
    """
    parts: Losses = {}
    for kind in set(flags):
        rows = [place for place, flag in enumerate(flags) if flag == kind]
        chosen = [_rows(value, rows, len(flags), place == 1) for place, value in enumerate(args)]
        named = {name: _rows(value, rows, len(flags), name == "targets") for name, value in kwargs.items()}
        with _alone():
            losses = criterion.forward(*chosen, **named)
        weights = getattr(criterion, "weight_dict", None)
        if weights is not None:
            losses = {name: value * weights[name] for name, value in losses.items() if name in weights}
        parts[KINDS[kind]] = _summary(losses, len(rows))
    return parts


def _rows(value: Any, rows: list[int], batch: int, is_targets: bool = False) -> Any:
    """The part of ``value`` that is about the samples ``rows`` of ``batch``."""
    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim and len(value) == batch else value
    if isinstance(value, Mapping):
        return {name: _rows(inner, rows, batch) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [value[row] for row in rows] if is_targets else [_rows(inner, rows, batch) for inner in value]
    return value


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Random draws leave no trace, and code that asks finds this process to be the only one."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), randomness_of("losses apart"), _by_itself():
        yield


@contextlib.contextmanager
def _by_itself() -> Iterator[None]:
    """``torch.distributed`` says that no group of processes has been made."""
    before = getattr(torch.distributed, "is_initialized", None)  # torch may be built without
    torch.distributed.is_initialized = lambda: False
    try:
        yield
    finally:
        if before is None:
            del torch.distributed.is_initialized
        else:
            torch.distributed.is_initialized = before


def _summary(losses: Mapping[str, Any], samples: int) -> dict[str, float]:
    """The last layer's losses and the total of all layers."""
    values = {name: float(torch.as_tensor(value).detach()) for name, value in losses.items()}
    last = {name: value for name, value in values.items() if not _AUXILIARY.fullmatch(name)}
    return {"samples": samples, **last, "total_loss": sum(values.values())}


def mean_losses(parts: Sequence[Losses]) -> Losses:
    """Over processes, or parts of a batch, each weighted by its number of samples of the kind."""
    means: Losses = {}
    for kind in KINDS.values():
        given = [losses[kind] for losses in parts if kind in losses]
        samples = sum(losses["samples"] for losses in given)
        if given:
            names = [name for name in given[0] if name != "samples"]
            sums = {name: sum(losses["samples"] * losses.get(name, 0.0) for losses in given) for name in names}
            means[kind] = {"samples": samples, **{name: total / samples for name, total in sums.items()}}
    return means

"""Optimizers, learning rates and averaged weights, and their tensors by name, so that states are safetensors alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from diffusers.optimization import get_scheduler
from torch import nn
from transformers.optimization import get_wsd_schedule

from seggen_d2.foundation.errors import SegGenError

OPTIMIZERS = ("adamw", "adamw8bit")
SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine"}  # our names, diffusers' names
NUMBERS = {":int": int, ":float": float}  # endings of the names of plain numbers among an optimizer's tensors


def make_optimizer(name: str, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019), in 32 bits or with 8-bit moments (Dettmers et al. 2022).

    Args:
        name: ``adamw``, or ``adamw8bit``, which needs the package bitsandbytes: 2 bytes of moments a weight, not 8.

    Raises:
        SegGenError: bitsandbytes is not installed, or does not load.
    """
    if name == "adamw":
        return torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, OSError, RuntimeError) as error:
        raise SegGenError("training.optimizer: adamw8bit needs the package bitsandbytes", expected="bitsandbytes, installed and loading",
                          found=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
                          remedy="pip install bitsandbytes, or set training.optimizer: adamw (6 bytes more a trained weight)") from error
    return AdamW8bit(parameters, learning_rate, weight_decay=weight_decay)


def make_schedule(name: str, optimizer: torch.optim.Optimizer, *, warmup_steps: int, steps: int,
                  decay_steps: int = 0) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate over the optimizer's steps: a linear warm-up, then ``constant`` or ``cosine`` to zero.

    ``constant`` may fall to zero over its last ``decay_steps``, as a straight line (Hu et al. 2024, section 4.2).
    """
    if decay_steps:
        return get_wsd_schedule(optimizer, warmup_steps, decay_steps, num_training_steps=steps, decay_type="linear")
    return get_scheduler(SCHEDULES[name], optimizer, num_warmup_steps=warmup_steps, num_training_steps=steps)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's moments and counts as ``{"PARAMETER.NAME": tensor}``; plain numbers keep their kind in the name.

    They are read from the optimizer itself: bitsandbytes' ``state_dict`` wraps its tensors in a dictionary of their own.
    """
    named, seen = {}, set()
    for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        for name, value in optimizer.state.get(parameter, {}).items():
            if not isinstance(value, torch.Tensor):
                named[f"{number}.{name}:{type(value).__name__}"] = torch.tensor(value)
            else:  # bitsandbytes' tables are one tensor for all; a safetensors file holds none twice
                named[f"{number}.{name}"] = value.clone() if value.data_ptr() in seen else value
                seen.add(value.data_ptr())
    return named


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """The inverse of :func:`optimizer_tensors`; learning rates and decays stay as they are."""
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        ending = next((ending for ending in NUMBERS if name.endswith(ending)), "")
        state.setdefault(int(number), {})[name.removesuffix(ending)] = NUMBERS[ending](value) if ending else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def tensor_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes that the elements of ``tensors`` take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Average:
    """Weights averaged over the steps, exponentially; what is saved in the end.

    The decay warms up as ``(1 + n) / (10 + n)``, as in diffusers' ``EMAModel``.

    Args:
        parameters: the weights by name; their averages start as copies.
        decay: share that stays at each step.
        every: steps between updates, each by ``decay**every``: an average on the CPU costs a copy of all weights.
        device: where the averages lie; "" for beside the weights.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float, *, every: int = 1, device: str = ""):
        self.parameters, self.decay, self.every = parameters, decay, every
        self.shadow = {name: p.detach().to(device or p.device, copy=True) for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step ``step``, counted from 1."""
        if step % self.every:
            return
        decay = min(self.decay, step / (9 + step)) ** self.every if step > 1 else 0.0
        for name, shadow in self.shadow.items():
            shadow.sub_((1 - decay) * (shadow - self.parameters[name].to(shadow.device)))

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the averages."""
        copy_tensors(self.shadow, tensors)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the parameters hold the averages; memory for one more tensor is needed, no more."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and averages, to the bit."""
        for name, shadow in self.shadow.items():
            weight = self.parameters[name]
            before = weight.detach().clone()
            weight.copy_(shadow)
            shadow.copy_(before)


@torch.no_grad()
def copy_tensors(into: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy ``tensors`` into those of the same names, in place.

    Raises:
        SegGenError: the names or shapes are not the same.
    """
    odd = sorted({*into} ^ {*tensors}) or [name for name in into if into[name].shape != tensors[name].shape]
    if odd:
        raise SegGenError("a state holds other weights than are trained", expected=f"{len(into)} tensors of the same names and shapes",
                          found=f"{len(tensors)}; {', '.join(odd[:3])} differ", remedy="use the options that it was made with, or another folder")
    for name, tensor in into.items():
        tensor.copy_(tensors[name])

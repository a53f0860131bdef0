"""A running average of the weights, evaluated and saved beside them (``SEGGEN.EMA``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import Tensor, nn

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_aside

EMA_FINAL = "model_final_ema.pth"


class WeightAverage:
    """Exponential moving average of a model's parameters and float buffers.

    The decay grows with the number of updates n, min(decay, (1 + n) / (10 + n)), so that the beginning is forgotten.

    Args:
        model: whose weights are averaged; the average starts from what it holds.
        decay: in [0, 1).

    Raises:
        SegGenError: ``decay`` is out of range.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise SegGenError("SEGGEN.EMA is out of range", expected="0 <= SEGGEN.EMA < 1", found=repr(decay))
        self.model, self.decay, self.updates = model, decay, 0
        self.averages = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        named = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        return {name: tensor for name, tensor in named.items() if tensor.is_floating_point()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the model's present weights."""
        self.updates += 1
        step = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in self._tensors().items():
            self.averages[name].lerp_(tensor.to(self.averages[name]), step)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model holds the averages."""
        own = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        self._put(self.averages)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, tensor in self._tensors().items():
            tensor.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"updates": self.updates, "averages": self.averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.updates = state["updates"]
        for name, average in self.averages.items():
            average.copy_(state["averages"][name])


class AverageHook(HookBase):
    """Updates the average after each step, keeps it in checkpoints, writes ``model_final_ema.pth`` at the end.

    The average starts from the weights that training starts from.

    Args:
        model: the bare model. decay: of the average. folder: of the file.
    """

    def __init__(self, model: nn.Module, decay: float, folder: str):
        self.average, self.folder = WeightAverage(model, decay), Path(folder)

    def before_train(self) -> None:
        if not self.average.updates:  # the weights may have been loaded since
            self.average = WeightAverage(self.average.model, self.average.decay)

    def after_step(self) -> None:
        self.average.update()

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter and comm.is_main_process():
            with self.average.applied(), write_aside(self.folder / EMA_FINAL) as aside:
                torch.save({"model": self.average.model.state_dict()}, aside)

    def state_dict(self) -> dict[str, Any]:
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.load_state_dict(state)

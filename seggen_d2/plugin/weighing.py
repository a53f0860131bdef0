"""``SEGGEN.SYNTHETIC_WEIGHT`` on a model that knows nothing of it: the gradients of synthetic samples' predictions, weighted.

A criterion of DETR's kind is a sum over samples, each of whose terms depends on the predictions for that sample alone; what
it is divided by (Mask2Former: the number of masks, and the sum of class weights, of the whole batch) depends on no
prediction. To weight a sample's terms is then to weight the gradient that reaches its predictions from the criterion. So
the weight needs nothing of the model but a ``criterion``, costs nothing, and leaves the reported losses as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seggen_d2.foundation.errors import SegGenError, check_range


class SyntheticWeight:
    """Hooks on a model and its criterion.

    Args:
        model: in training it takes a list of samples, marked by ``SwapMapper``; its ``criterion`` is given predictions with
            the batch in their first dimension (Mask2Former, Mask DINO, ``SegGenMask2Former``).
        weight: of synthetic samples, 0 or more.

    Raises:
        SegGenError: the model has no criterion, so that nothing could act.
    """

    def __init__(self, model: nn.Module | None, weight: float):
        self.weight = check_range("SEGGEN.SYNTHETIC_WEIGHT", weight, 0, 1000)
        self._weights: list[float] = []
        criterion = criterion_of(model)
        if model is None or criterion is None:
            raise SegGenError(
                "SEGGEN.SYNTHETIC_WEIGHT cannot act on this model",
                expected="trainer.model with a criterion, as Mask2Former and Mask DINO have one",
                found=type(model).__name__,
                remedy="set SEGGEN.SYNTHETIC_WEIGHT to 1; a smaller SEGGEN.P_AUG gives synthetic samples less say, too",
            )
        self._handles = [
            model.register_forward_pre_hook(self._begin),
            criterion.register_forward_pre_hook(self._weigh, with_kwargs=True),
        ]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        batch = inputs[0] if model.training and inputs and isinstance(inputs[0], Sequence) else ()
        self._weights = [self.weight if _is_synthetic(sample) else 1.0 for sample in batch]

    def _weigh(self, criterion: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        if not any(weight != 1 for weight in self._weights):
            return None
        return tuple(weighted(value, self._weights) for value in args), weighted(kwargs, self._weights)


def criterion_of(model: nn.Module | None) -> nn.Module | None:
    """A model's own criterion, or that of the model within it (``SegGenMask2Former``)."""
    for owner in (model, getattr(model, "model", None)):
        if isinstance(getattr(owner, "criterion", None), nn.Module):
            return owner.criterion
    return None


def weighted(value: Any, weights: Sequence[float]) -> Any:
    """``value``, whose tensors with the batch in their first dimension pass each sample's gradient on by its weight.

    Args:
        value: nested mappings, lists and tuples; what needs no gradient stays as it is.
        weights: of each sample of the batch.
    """
    if isinstance(value, Tensor) and value.requires_grad and value.ndim and len(value) == len(weights):
        passed, scale = value.view_as(value), torch.tensor(weights, device=value.device)
        passed.register_hook(lambda gradient: gradient * _like(scale, gradient))
        return passed
    if isinstance(value, Mapping):
        return {name: weighted(inner, weights) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(weighted(inner, weights) for inner in value)
    return value


def _like(scale: Tensor, gradient: Tensor) -> Tensor:
    return scale.to(gradient.dtype).view(-1, *(1,) * (gradient.ndim - 1))


def _is_synthetic(sample: Any) -> bool:
    return isinstance(sample, Mapping) and bool(sample.get("is_synthetic"))

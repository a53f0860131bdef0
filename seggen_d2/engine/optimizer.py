"""AdamW with Mask2Former's parameter groups, and its learning rate schedules.

Source: Mask2Former's train_net.py and Detectron2's lr_scheduler; arXiv 2112.01527, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
# Parameters that are embeddings in all but type, by upstream's rule; the last name is HF's.
_EMBEDDINGS = ("relative_position_bias_table", "absolute_pos_embed", "position_embeddings")


def parameter_groups(
    model: nn.Module,
    *,
    base_lr: float,
    backbone_multiplier: float = 0.1,
    weight_decay: float = 0.05,
    weight_decay_norm: float = 0.0,
    weight_decay_embed: float = 0.0,
) -> list[dict[str, Any]]:
    """Trainable parameters grouped by learning rate and weight decay.

    Args:
        model: its attribute ``backbone``, and modules with ``backbone`` in their names, get
            ``base_lr * backbone_multiplier``.
        weight_decay_norm, weight_decay_embed: of normalisation layers, and of embeddings. Position embeddings that are
            bare parameters are not decayed; the pixel decoder's level embedding is.
    """
    backbone = {id(parameter) for module in _backbones(model) for parameter in module.parameters()}
    groups: dict[tuple[float, float], dict[int, nn.Parameter]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or any(id(parameter) in group for group in groups.values()):
                continue
            lr = base_lr * (backbone_multiplier if id(parameter) in backbone else 1.0)
            decay = 0.0 if any(part in name for part in _EMBEDDINGS) else weight_decay
            if isinstance(module, _NORMS):
                decay = weight_decay_norm
            elif isinstance(module, nn.Embedding):
                decay = weight_decay_embed
            groups.setdefault((lr, decay), {})[id(parameter)] = parameter
    return [{"params": list(group.values()), "lr": lr, "weight_decay": decay} for (lr, decay), group in groups.items()]


def _backbones(model: nn.Module) -> list[nn.Module]:
    named = [module for name, module in model.named_modules() if "backbone" in name]
    return [*named, model.backbone] if hasattr(model, "backbone") else named


def build_adamw(groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    """AdamW, in one kernel where this torch has it for the device (on a CPU five times faster for small models)."""
    try:
        return torch.optim.AdamW(groups, fused=True)
    except RuntimeError:
        return torch.optim.AdamW(groups)


def learning_rate_factor(
    iterations: int,
    *,
    schedule: str = "WarmupPolyLR",
    power: float = 0.9,
    steps: Sequence[float] = (),
    gamma: float = 0.1,
    warmup_iterations: int = 0,
    warmup_factor: float = 1.0,
) -> Callable[[int], float]:
    """The share of the base learning rate at each iteration, 0 to ``iterations``.

    Args:
        schedule: ``WarmupPolyLR``, (1 - t / T) ** power, or ``WarmupMultiStepLR``, gamma ** (steps passed).
        steps: iterations, or shares of ``iterations`` where they lie in (0, 1).
        warmup_iterations: over these a factor grows linearly from ``warmup_factor`` to 1.
    """
    drops = [step * iterations if 0 < step < 1 else step for step in steps]

    def factor(iteration: int) -> float:
        ramp = min(1.0, warmup_factor + (1 - warmup_factor) * iteration / max(1, warmup_iterations))
        if schedule == "WarmupMultiStepLR":
            return ramp * gamma ** sum(iteration >= drop for drop in drops)
        return ramp * max(0.0, 1 - iteration / iterations) ** power

    return factor

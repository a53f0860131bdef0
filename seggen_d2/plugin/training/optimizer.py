"""Mask2Former's optimiser for any model: rules of learning rate and weight decay, clipping of the whole gradient.

Source: Mask2Former's train_net.py (arXiv 2112.01527, section 4.1). What a module is called decides: ``backbone`` in
its name gets the multiplied learning rate.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.projects.deeplab import build_lr_scheduler
from detectron2.solver.build import maybe_add_gradient_clipping
from torch import nn

from seggen_d2.engine.optimizer import build_adamw, parameter_groups
from seggen_d2.foundation.errors import check_choice

__all__ = ["build_lr_scheduler", "build_optimizer", "clip_norm"]


def build_optimizer(cfg: Any, model: nn.Module) -> torch.optim.Optimizer:
    """``SOLVER.OPTIMIZER`` over the model's trainable parameters, each with the learning rate and decay of its kind.

    Clipping by value or by norm per parameter is built in; that of the whole gradient is the trainer's
    (:func:`clip_norm`), which does it after the gradients are unscaled.

    Raises:
        SegGenError: ``SOLVER.OPTIMIZER`` is neither ADAMW nor SGD.
    """
    solver = cfg.SOLVER
    groups = parameter_groups(
        model,
        base_lr=solver.BASE_LR,
        backbone_multiplier=solver.BACKBONE_MULTIPLIER,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        weight_decay_embed=solver.WEIGHT_DECAY_EMBED,
    )
    if check_choice("SOLVER.OPTIMIZER", solver.OPTIMIZER, ("ADAMW", "SGD")) == "ADAMW":
        optimizer = build_adamw(groups)
    else:
        optimizer = torch.optim.SGD(groups, solver.BASE_LR, momentum=solver.MOMENTUM)
    whole = solver.CLIP_GRADIENTS.CLIP_TYPE == "full_model"
    return optimizer if whole else maybe_add_gradient_clipping(cfg, optimizer)


def clip_norm(cfg: Any) -> float:
    """The largest norm of the whole model's gradient; 0.0 where it is not clipped that way."""
    clip = cfg.SOLVER.CLIP_GRADIENTS
    return float(clip.CLIP_VALUE) if clip.ENABLED and clip.CLIP_TYPE == "full_model" else 0.0

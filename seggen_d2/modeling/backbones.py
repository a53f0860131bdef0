"""Backbones by name, as transformers configs built here: nothing is downloaded, weights are another matter."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PretrainedConfig, ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig
from transformers.models.swin.modeling_swin import SwinLayer

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range, nearest

_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _resnet(**widths: Any) -> dict[str, Any]:
    return {"class": ResNetConfig, "options": {"out_features": _STAGES, **widths}}


def _swin(dim: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int, drop_path: float = 0.3) -> dict[str, Any]:
    return {
        "class": SwinConfig,
        "options": {
            "embed_dim": dim,
            "depths": list(depths),
            "num_heads": list(heads),
            "window_size": window,
            "drop_path_rate": drop_path,
            "out_features": _STAGES,
        },
    }


# Depths, widths and windows: He et al., arXiv 1512.03385, table 1; Liu et al., arXiv 2103.14030, section 3.3.
BACKBONES: dict[str, dict[str, Any]] = {
    "tiny-resnet": _resnet(embedding_size=32, hidden_sizes=[32, 64, 128, 160], depths=[1, 1, 1, 1], layer_type="basic"),
    "resnet18": _resnet(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic"),
    "resnet34": _resnet(hidden_sizes=[64, 128, 256, 512], depths=[3, 4, 6, 3], layer_type="basic"),
    "resnet50": _resnet(hidden_sizes=[256, 512, 1024, 2048], depths=[3, 4, 6, 3]),
    "resnet101": _resnet(hidden_sizes=[256, 512, 1024, 2048], depths=[3, 4, 23, 3]),
    "resnet152": _resnet(hidden_sizes=[256, 512, 1024, 2048], depths=[3, 8, 36, 3]),
    # Maps of 12, 6, 3 and 2 pixels a side from 48 px images, in windows of 3 that shift; head by head 8 channels wide.
    "tiny-swin": _swin(24, (2, 2, 2, 1), (3, 6, 12, 24), 3, drop_path=0.0),
    "swin-tiny": _swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "swin-small": _swin(96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "swin-base": _swin(128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    "swin-large": _swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
}


def backbone_config(name: str, **overrides: Any) -> PretrainedConfig:
    """The transformers config of a backbone with four feature maps, at strides 4, 8, 16 and 32.

    Args:
        name: a key of ``BACKBONES``.
        overrides: fields of ``ResNetConfig`` or ``SwinConfig`` that differ (``embedding_size=16``).

    Raises:
        SegGenError: the name or a field is unknown; the nearest one is suggested.
    """
    check_choice("MODEL.BACKBONE.NAME", name, BACKBONES)
    kind, options = BACKBONES[name]["class"], BACKBONES[name]["options"]
    known = kind().to_dict()
    for field in overrides:
        if field not in known:
            raise SegGenError(f"backbone {name} has no option {field!r}", remedy=nearest(field, known))
    return kind(**{**options, **overrides})


def freeze(backbone: nn.Module, *, stages: int = 0, norms: bool = False) -> None:
    """Take the gradients from what is not trained: nothing by default, but the last norm of Swin, which is not read.

    Args:
        stages: of a ResNet; 1 is the stem, 2 adds the first stage, up to 5. A Swin has none, as upstream.
        norms: all batch norms.
    """
    check_range("MODEL.BACKBONE.FREEZE_AT", stages, 0, 5)
    frozen: list[nn.Module] = [module for module in backbone.modules() if norms and isinstance(module, _BatchNorm)]
    if isinstance(backbone, ResNetBackbone):
        frozen += [backbone.embedder, *backbone.encoder.stages][:stages]
    if isinstance(backbone, SwinBackbone):
        frozen.append(backbone.swin.layernorm)  # distributed training stops at a parameter without gradient
    for module in frozen:
        module.requires_grad_(False)


def drop_both_branches(backbone: nn.Module) -> None:
    """Stochastic depth for both branches of each Swin block; transformers leaves the second (the MLP) out.

    Source: Liu et al.'s own code; Huang et al., arXiv 1603.09382.
    """
    for layer in backbone.modules():
        if isinstance(layer, SwinLayer):
            layer.mlp.register_forward_hook(partial(_drop_path, layer.drop_path))


def _drop_path(path: nn.Module, _: nn.Module, __: object, output: Tensor) -> Tensor:
    return path(output)

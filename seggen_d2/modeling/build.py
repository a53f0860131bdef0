"""A Mask2Former with random weights, from numbers and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from seggen_d2.foundation.errors import check_range

from .backbones import backbone_config, drop_both_branches
from .criterion import SetCriterion
from .initialise import initialise
from .mask2former import Mask2Former
from .quiet import quiet_transformers

LOSSES = ("class_weight", "mask_weight", "dice_weight", "no_object_weight", "oversample_ratio", "importance_sample_ratio")


def build_mask2former(
    num_classes: int,
    *,
    backbone: str = "resnet50",
    backbone_options: dict[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    queries: int = 100,
    encoder_layers: int = 6,
    decoder_layers: int = 9,
    feature_size: int = 256,
    hidden_size: int | None = None,
    mask_feature_size: int = 256,
    heads: int = 8,
    feedforward_size: int = 2048,
    encoder_feedforward_size: int = 1024,
    dropout: float = 0.0,
    pre_norm: bool = False,
    project_input: bool = False,
    class_weight: float = 2.0,
    mask_weight: float = 5.0,
    dice_weight: float = 5.0,
    no_object_weight: float = 0.1,
    points: int = 12544,
    oversample_ratio: float = 3.0,
    importance_sample_ratio: float = 0.75,
    **wrapping: Any,
) -> Mask2Former:
    """A Mask2Former with random weights; every default is the paper's for ADE20K with ResNet-50.

    Args:
        num_classes: categories, 1 or more. class_names: written into the network's config.
        backbone: a key of ``backbones.BACKBONES``; ``backbone_options``: fields of its config that differ.
        decoder_layers: layers with masked attention; the queries themselves are supervised too, as layer 0.
        feature_size, mask_feature_size: channels, multiples of 32 (group norm) and of ``heads``.
        hidden_size: channels of the queries; None is ``feature_size``.
        dropout: of the pixel decoder's layers; those of the transformer decoder have none, as upstream.
        pre_norm: norms before the decoder's attentions, not after. project_input: a 1x1 convolution before it.
        wrapping: ``pixel_mean``, ``pixel_std``, ``size_divisibility``, ``test_size``, ``freeze_norm``, ``freeze_at``, ``outputs`` of
            ``Mask2Former``.

    Raises:
        SegGenError: a number is out of range, or the backbone is unknown.
    """
    for name, value in (
        ("num_classes", num_classes),
        ("queries", queries),
        ("points", points),
        ("decoder_layers", decoder_layers),
    ):
        check_range(name, value, 1, 10**6)
    losses = (class_weight, mask_weight, dice_weight, no_object_weight, oversample_ratio, importance_sample_ratio)
    names = list(class_names or map(str, range(num_classes)))
    with quiet_transformers():
        config = Mask2FormerConfig(
            backbone_config=backbone_config(backbone, **(backbone_options or {})),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            num_queries=queries,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers + 1,
            feature_size=feature_size,
            hidden_dim=hidden_size or feature_size,
            pre_norm=pre_norm,
            enforce_input_projection=project_input,
            mask_feature_size=mask_feature_size,
            num_attention_heads=heads,
            dim_feedforward=feedforward_size,
            encoder_feedforward_dim=encoder_feedforward_size,
            dropout=dropout,
            train_num_points=points,
            **dict(zip(LOSSES, losses, strict=True)),
        )
    model = mask2former_of(config, **wrapping)
    initialise(model.network)
    return model


def mask2former_of(config: Mask2FormerConfig, **wrapping: Any) -> Mask2Former:
    """The network that transformers' config describes, with transformers' own random weights, and the losses by that config.

    Args:
        wrapping: as of :func:`build_mask2former`.
    """
    with quiet_transformers():
        network = Mask2FormerForUniversalSegmentation(config)
    _without_dropout(network.model.transformer_module.decoder)
    drop_both_branches(network.model.pixel_level_module.encoder)
    losses = {name: getattr(config, name) for name in LOSSES}
    return Mask2Former(network, SetCriterion(config.num_labels, num_points=config.train_num_points, **losses), **wrapping)


def _without_dropout(decoder: nn.Module) -> None:
    """transformers gives the pixel decoder's dropout to this decoder too, and drops whole layers by it."""
    for module in decoder.modules():
        for name in ("dropout", "activation_dropout", "layerdrop"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)

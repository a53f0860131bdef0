"""Random weights as Mask2Former draws them; transformers draws the weights below from other distributions.

Source: facebookresearch/Mask2Former, modeling/{pixel_decoder/msdeformattn,transformer_decoder,backbone/swin}.py; ``c2``
is Caffe2's "Xavier", uniform with variance 1 / fan in.
"""

from __future__ import annotations

import math

from torch import nn
from transformers import Mask2FormerForUniversalSegmentation, SwinBackbone


def initialise(network: Mask2FormerForUniversalSegmentation) -> None:
    """Draw the weights anew, in place; a ResNet's, the deformable attentions' and the norms' are alike already."""
    parts = network.model
    for module in parts.transformer_module.modules():  # queries and levels; layers of the mask head
        if isinstance(module, nn.Embedding):
            module.reset_parameters()
    for module in parts.transformer_module.decoder.mask_predictor.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    if isinstance(parts.pixel_level_module.encoder, SwinBackbone):
        _swin(parts.pixel_level_module.encoder)
    _pixel_decoder(parts.pixel_level_module.decoder)
    for layer in parts.transformer_module.decoder.layers:
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
            nn.init.xavier_uniform_(projection.weight, gain=math.sqrt(0.5))  # one (3 d, d) tensor there
        _xavier(layer.fc1, layer.fc2)
    for projection in parts.transformer_module.input_projections:
        if isinstance(projection, nn.Conv2d):
            _c2(projection)
    network.class_predictor.reset_parameters()


def _pixel_decoder(decoder: nn.Module) -> None:
    nn.init.normal_(decoder.level_embed)
    for projection in decoder.input_projections:
        _xavier(projection[0])
        nn.init.zeros_(projection[0].bias)
    for layer in decoder.encoder.layers:
        _xavier(layer.fc1, layer.fc2)
    for convolution in (*decoder.lateral_convolutions, *decoder.output_convolutions):
        _c2(convolution[0])
    _c2(decoder.mask_projection)


def _swin(backbone: SwinBackbone) -> None:
    for name, parameter in backbone.named_parameters():
        if name.endswith("relative_position_bias_table"):
            nn.init.trunc_normal_(parameter, std=0.02)
    for module in backbone.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.reset_parameters()


def _xavier(*layers: nn.Module) -> None:
    for layer in layers:
        layer.reset_parameters()  # the bias
        nn.init.xavier_uniform_(layer.weight)


def _c2(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)

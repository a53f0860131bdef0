"""Names of Mask2Former's own checkpoints to those of the transformers network, and back.

Mask2Former (facebookresearch) names its parameters ``backbone.*``, ``sem_seg_head.pixel_decoder.*`` and
``sem_seg_head.predictor.*``. Its Swin and its decoder keep query, key and value in one tensor where transformers
has three, its Swin stores the index of relative positions, and its frozen batch norms count no batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

import torch
from torch import Tensor

_BACKBONE = "model.pixel_level_module.encoder."
_INDEX, _TABLE = "relative_position_index", "relative_position_bias_table"


def _resnet_rules() -> Iterator[tuple[str, str]]:
    yield from _convolution("stem.conv1", "embedder.embedder")
    for stage in range(4):
        block, layer = f"res{stage + 2}.#", f"encoder.stages.{stage}.layers.#"
        yield from _convolution(f"{block}.shortcut", f"{layer}.shortcut")
        for number in range(3):
            yield from _convolution(f"{block}.conv{number + 1}", f"{layer}.layer.{number}")


def _convolution(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.norm.*", f"{ours}.normalization.*"
    yield f"{theirs}.*", f"{ours}.convolution.*"


def _swin_rules() -> Iterator[tuple[str, str]]:
    yield "patch_embed.proj.*", "swin.embeddings.patch_embeddings.projection.*"
    yield "patch_embed.norm.*", "swin.embeddings.norm.*"
    block, layer = "layers.#.blocks.#", "swin.encoder.layers.#.blocks.#"
    for theirs, ours in (
        ("norm1.*", "layernorm_before.*"),
        ("norm2.*", "layernorm_after.*"),
        ("mlp.*", "mlp.*"),
        (f"attn.{_TABLE}", f"attention.relative_position_bias.{_TABLE}"),
        ("attn.qkv.*", "attention.?_proj.*"),
        ("attn.proj.*", "attention.o_proj.*"),
    ):
        yield f"{block}.{theirs}", f"{layer}.{ours}"
    yield "layers.#.downsample.*", "swin.encoder.layers.#.downsample.*"
    for stage in range(4):
        yield f"norm{stage}.*", f"hidden_states_norms.stage{stage + 1}.*"


def _pixel_decoder_rules() -> Iterator[tuple[str, str]]:
    yield "input_proj.#.*", "input_projections.#.*"
    yield "transformer.level_embed", "level_embed"
    block, layer = "transformer.encoder.layers.#", "encoder.layers.#"
    for theirs, ours in (("self_attn", "self_attn"), ("norm1", "self_attn_layer_norm"), ("linear1", "fc1"),
                         ("linear2", "fc2"), ("norm2", "final_layer_norm")):
        yield f"{block}.{theirs}.*", f"{layer}.{ours}.*"
    yield "mask_features.*", "mask_projection.*"
    for kind in ("adapter", "layer"):
        yield f"{kind}_#.norm.*", f"{kind}_#.1.*"
        yield f"{kind}_#.*", f"{kind}_#.0.*"


def _decoder_rules() -> Iterator[tuple[str, str]]:
    yield from (("query_feat.*", "queries_features.*"), ("query_embed.*", "queries_embedder.*"))
    yield from (("level_embed.*", "level_embed.*"), ("input_proj.#.*", "input_projections.#.*"))
    attention, layer = "transformer_self_attention_layers.#", "decoder.layers.#"
    yield f"{attention}.self_attn.in_proj_*", f"{layer}.self_attn.?_proj.*"
    yield f"{attention}.self_attn.out_proj.*", f"{layer}.self_attn.out_proj.*"
    yield f"{attention}.norm.*", f"{layer}.self_attn_layer_norm.*"
    yield "transformer_cross_attention_layers.#.multihead_attn.*", f"{layer}.cross_attn.*"
    yield "transformer_cross_attention_layers.#.norm.*", f"{layer}.cross_attn_layer_norm.*"
    for theirs, ours in (("linear1", "fc1"), ("linear2", "fc2"), ("norm", "final_layer_norm")):
        yield f"transformer_ffn_layers.#.{theirs}.*", f"{layer}.{ours}.*"
    yield "decoder_norm.*", "decoder.layernorm.*"
    yield "mask_embed.layers.#.*", "decoder.mask_predictor.mask_embedder.#.0.*"


def _rules() -> Iterator[tuple[str, str]]:
    for rules, theirs, ours in (
        (_resnet_rules(), "backbone.", _BACKBONE),
        (_swin_rules(), "backbone.", _BACKBONE),
        (_pixel_decoder_rules(), "sem_seg_head.pixel_decoder.", "model.pixel_level_module.decoder."),
        (_decoder_rules(), "sem_seg_head.predictor.", "model.transformer_module."),
    ):
        yield from ((theirs + left, ours + right) for left, right in rules)
    yield "sem_seg_head.predictor.class_embed.*", "class_predictor.*"
    yield "criterion.empty_weight", "criterion.empty_weight"


def _pattern(template: str) -> re.Pattern[str]:
    """``#`` is a number, ``*`` the rest, ``?`` one of q, k, v."""
    text = re.escape(template)
    for sign, group in ((r"\#", r"(\d+)"), (r"\*", "(.+)"), (r"\?", "(?P<part>[qkv])")):
        text = text.replace(sign, group)
    return re.compile(text)


def _filled(template: str, found: re.Match[str], part: str) -> str:
    place = found.re.groupindex.get("part")
    words = iter(word for index, word in enumerate(found.groups(), 1) if index != place)
    return re.sub(r"[#*?]", lambda sign: part if sign[0] == "?" else next(words), template)


_RULES = [(_pattern(theirs), _pattern(ours), theirs, ours) for theirs, ours in _rules()]


@cache
def own_names(name: str) -> tuple[str, ...]:
    """The network's names for an upstream name: one, or three (query, key, value); none where it has no counterpart."""
    name = modern_name(name)
    for theirs, _, _, template in _RULES:
        if found := theirs.fullmatch(name):
            return tuple(_filled(template, found, part) for part in ("qkv" if "?" in template else "-"))
    return ()


def upstream_name(name: str) -> str:
    """The upstream name for one of the network's; empty where it has no counterpart."""
    return _upstream_part(name)[0]


@cache
def _upstream_part(name: str) -> tuple[str, str]:
    """The upstream name, and which part of its tensor: q, k, v, or nothing where it is the whole."""
    for _, ours, template, _ in _RULES:
        if found := ours.fullmatch(name):
            return _filled(template, found, ""), found.groupdict().get("part", "")
    return "", ""


def modern_name(name: str) -> str:
    """Names of the first releases: ``static_query``, and a pixel decoder without a name of its own."""
    name = name.replace(".static_query.", ".query_feat.")
    return re.sub(r"^sem_seg_head\.(?!predictor\.|pixel_decoder\.)", "sem_seg_head.pixel_decoder.", name)


def from_upstream(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in upstream's names to one in the network's; names without a counterpart stay as they are."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        names = own_names(name) or (name,)
        if not name.endswith(_INDEX):
            renamed.update(zip(names, value.chunk(len(names)) if len(names) > 1 else (value,), strict=True))
    return renamed


def to_upstream(state: Mapping[str, Tensor], *, counters: bool = False) -> dict[str, Tensor]:
    """A state dict in the network's names to one in upstream's.

    Args:
        state: names without a counterpart (the last norm of Swin, which nothing reads) are left out.
        counters: keep the batch counters of batch norms; upstream's frozen ones have none.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        theirs, part = _upstream_part(name)
        if theirs and (counters or not name.endswith("num_batches_tracked")):
            parts.setdefault(theirs, {})[part] = value
    renamed = {name: _joined(values) for name, values in parts.items()}
    tables = [name for name in renamed if name.endswith(_TABLE)]
    return renamed | {name.replace(_TABLE, _INDEX): relative_position_index(renamed[name]) for name in tables}


def _joined(parts: dict[str, Tensor]) -> Tensor:
    return parts[""] if "" in parts else torch.cat([parts[part] for part in "qkv"])


def relative_position_index(table: Tensor) -> Tensor:
    """(M^2, M^2) int64 rows of a ((2 M - 1)^2, heads) table of biases, for each pair of places in an M x M window.

    Source: Liu et al., arXiv 2103.14030, section 3.2.
    """
    side = (int(table.shape[0] ** 0.5) + 1) // 2
    place = torch.arange(side, device=table.device)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
    away = [axis[:, None] - axis[None] + side - 1 for axis in (rows, columns)]
    return away[0] * (2 * side - 1) + away[1]

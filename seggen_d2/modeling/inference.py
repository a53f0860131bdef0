"""What a network's queries say about an image: semantic scores, panoptic segments, instances. Plain tensors.

Shapes: Q queries, K categories, (H, W) the size of an image, N instances.
Source: Cheng et al., "Per-Pixel Classification is Not All You Need", arXiv 2107.06278, section 3.4, and
"Masked-attention Mask Transformer for Universal Image Segmentation", arXiv 2112.01527, section 4.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def upsample(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, Q, h, w) mask logits as float32 at ``size``, that of the padded images in pixels."""
    return F.interpolate(mask_logits.float(), size, mode="bilinear", align_corners=False)


def crop_and_resize(maps: Tensor, image_size: tuple[int, int], height: int, width: int) -> Tensor:
    """(C, H', W') maps of a padded image, without the padding, at the wanted size.

    Args:
        image_size: height and width (pixels) of the image before it was padded.
        height, width: of the result, (C, height, width).
    """
    maps = maps[:, : image_size[0], : image_size[1]]
    if tuple(maps.shape[1:]) == (height, width):
        return maps
    return F.interpolate(maps[None], (height, width), mode="bilinear", align_corners=False)[0]


def semantic_inference(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """(Q, K + 1) class logits and (Q, H, W) mask logits to (K, H, W) scores: sum over q of p(class) p(mask)."""
    return torch.einsum("qc,qhw->chw", class_logits.float().softmax(-1)[:, :-1], mask_logits.float().sigmoid())


def panoptic_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    *,
    is_thing: Tensor,
    object_mask_threshold: float,
    overlap_threshold: float,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Every pixel to the query that claims it most; segments mostly covered by others are left out.

    Args:
        class_logits: (Q, K + 1), the last is "no object". mask_logits: (Q, H, W).
        is_thing: (K,) bool. Segments of one stuff category become one.
        object_mask_threshold: queries whose class is less probable than this, in [0, 1], have no say.
        overlap_threshold: least share, in [0, 1], of a query's own mask that must be left to it.

    Returns:
        (H, W) int32 segment ids, 0 where there is none, and ``{id, isthing, category_id}`` of each, ids from 1.
    """
    scores, categories = class_logits.float().softmax(-1).max(-1)
    kept = (categories != class_logits.shape[1] - 1) & (scores > object_mask_threshold)
    scores, categories, masks = scores[kept], categories[kept].tolist(), mask_logits[kept].float().sigmoid()
    segmentation = torch.zeros(mask_logits.shape[1:], dtype=torch.int32, device=mask_logits.device)
    if not categories:
        return segmentation, []
    owner = (scores[:, None, None] * masks).argmax(0)
    things, stuff_ids = is_thing.tolist(), {}
    segments: list[dict[str, Any]] = []
    for query, category in enumerate(categories):
        own, whole = owner == query, masks[query] >= 0.5
        visible = own & whole
        if not visible.any() or own.sum().item() / whole.sum().item() < overlap_threshold:
            continue
        known = stuff_ids.get(category)
        if known is None:
            known = len(segments) + 1
            segments.append({"id": known, "isthing": things[category], "category_id": category})
            if not things[category]:
                stuff_ids[category] = known
        segmentation[visible] = known
    return segmentation, segments


def instance_inference(
    class_logits: Tensor, mask_logits: Tensor, *, top_k: int, kept: Tensor | None = None
) -> dict[str, Tensor]:
    """The most probable pairs of query and category; a query may stand for several categories.

    Args:
        class_logits: (Q, K + 1), the last is "no object". mask_logits: (Q, H, W).
        top_k: pairs taken, at most Q K.
        kept: (K,) bool; pairs of other categories are left out, after the choice. None keeps all.

    Returns:
        ``masks`` (N, H, W) bool, ``scores`` (N,) in [0, 1], ``categories`` (N,) int64; N is ``top_k`` or less.
        A score is the class probability times the mean mask probability inside the mask.
    """
    chances = class_logits.float().softmax(-1)[:, :-1]
    scores, pairs = chances.flatten().topk(min(top_k, chances.numel()), sorted=False)
    queries, categories = pairs // chances.shape[1], pairs % chances.shape[1]
    if kept is not None:
        wanted = kept.to(categories.device)[categories]
        scores, queries, categories = scores[wanted], queries[wanted], categories[wanted]
    logits = mask_logits[queries].float()
    masks = logits > 0
    quality = (logits.sigmoid() * masks).flatten(1).sum(1) / (masks.flatten(1).sum(1) + 1e-6)
    return {"masks": masks, "scores": scores * quality, "categories": categories}

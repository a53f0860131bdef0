"""Which query answers for which segment: the bipartite matching of Mask2Former, on sampled points.

Shapes: B images, Q queries, K categories, N segments in an image, P points, (h, w) the size of the mask logits.
Source: Cheng et al., "Masked-attention Mask Transformer for Universal
Image Segmentation", arXiv 2112.01527, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def point_sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of ``maps`` at ``points``; outside the map the value is 0.

    Args:
        maps: (B, C, h, w) float.
        points: (B, P, 2) float, x and y in [0, 1]; (0, 0) is the map's upper left corner.

    Returns:
        (B, C, P). Source: PointRend, arXiv 1912.08193.
    """
    return F.grid_sample(maps, 2.0 * points[:, :, None] - 1.0, align_corners=False)[..., 0]


def dice(products: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1), from the three sums; the ones keep empty masks finite."""
    return 1 - (2 * products + 1) / (left + right + 1)


def mask_costs(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice cost between every query and every segment.

    Args:
        logits: (B, Q, P) mask logits. labels: (B, N, P) in [0, 1].

    Returns:
        Two (B, Q, N) tensors. Cross-entropy is ``softplus(x) - x t``, so that one product of matrices serves.
    """
    targets = labels.transpose(1, 2)
    cross_entropy = (F.softplus(logits).sum(-1, keepdim=True) - logits @ targets) / logits.shape[-1]
    chances = logits.sigmoid()
    return cross_entropy, dice(chances @ targets, chances.sum(-1)[..., None], labels.sum(-1)[:, None])


@torch.no_grad()
def match(
    class_logits: Tensor,
    mask_logits: Tensor,
    class_labels: list[Tensor],
    points: Tensor,
    point_labels: Tensor,
    *,
    class_weight: float,
    mask_weight: float,
    dice_weight: float,
) -> list[tuple[Tensor, Tensor]]:
    """The cheapest one-to-one assignment of queries to segments, image by image.

    Args:
        class_logits: (B, Q, K + 1); the last is "no object". mask_logits: (B, Q, h, w).
        class_labels: B tensors (N_i,) int64. points: (B, P, 2). point_labels: (B, max N, P), rows past N_i unused.

    Returns:
        B pairs (queries, segments) of int64 tensors, each of length min(Q, N_i).
    """
    from scipy.optimize import linear_sum_assignment

    cross_entropy, overlap = mask_costs(point_sample(mask_logits.float(), points), point_labels)
    masks = mask_weight * cross_entropy + dice_weight * overlap
    chances = class_logits.float().softmax(-1)
    pairs = []
    for image, labels in enumerate(class_labels):
        cost = masks[image, :, : len(labels)] - class_weight * chances[image][:, labels]
        queries, segments = linear_sum_assignment(torch.nan_to_num(cost, 1e8, 1e8, -1e8).cpu())
        pairs.append((torch.as_tensor(queries, device=labels.device), torch.as_tensor(segments, device=labels.device)))
    return pairs

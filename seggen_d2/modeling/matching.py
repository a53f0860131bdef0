"""Which query answers for which segment: the bipartite matching of Mask2Former, on sampled points.

Shapes: B images, Q queries, K categories, N segments in an image, P points, (h, w) the size of the mask logits.
Source: Cheng et al., "Masked-attention Mask Transformer for Universal
Image Segmentation", arXiv 2112.01527, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence


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
    predictions: Sequence[tuple[Tensor, Tensor]],
    class_labels: list[Tensor],
    points: Tensor,
    point_labels: Tensor,
    *,
    class_weight: float,
    mask_weight: float,
    dice_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest one-to-one assignment of queries to segments, layer by layer and image by image.

    Costs go to the CPU, and pairs back, in one transfer for all layers.

    Args:
        predictions: of each of L layers class logits (B, Q, K + 1), the last "no object", and mask logits (B, Q, h, w).
        class_labels: B tensors (N_i,) int64. points: (B, P, 2). point_labels: (B, max N, P), rows past N_i unused.

    Returns:
        Image, query and segment of each pair, int64 (L, M) each, by images; M is the sum of min(Q, N_i).
    """
    from scipy.optimize import linear_sum_assignment

    labels = pad_sequence(class_labels, batch_first=True)
    weights = {"class_weight": class_weight, "mask_weight": mask_weight, "dice_weight": dice_weight}
    costs = torch.stack([_costs(*layer, labels, points, point_labels, **weights) for layer in predictions])
    costs = torch.nan_to_num(costs, 1e8, 1e8, -1e8).cpu().numpy()
    pairs = np.empty((3, len(costs), sum(min(costs.shape[2], len(own)) for own in class_labels)), np.int64)
    for layer, of_images in enumerate(costs):
        found = [linear_sum_assignment(cost[:, : len(own)]) for cost, own in zip(of_images, class_labels, strict=True)]
        pairs[0, layer] = np.repeat(np.arange(len(found)), [len(queries) for queries, _ in found])
        pairs[1:, layer] = np.concatenate(found, axis=1)
    return tuple(torch.from_numpy(pairs).to(points.device))


def _costs(
    class_logits: Tensor,
    mask_logits: Tensor,
    labels: Tensor,
    points: Tensor,
    point_labels: Tensor,
    *,
    class_weight: float,
    mask_weight: float,
    dice_weight: float,
) -> Tensor:
    """(B, Q, max N) costs of one layer; ``labels`` (B, max N) are padded."""
    cross_entropy, overlap = mask_costs(point_sample(mask_logits.float(), points), point_labels)
    chances = class_logits.float().softmax(-1).gather(2, labels[:, None].expand(-1, class_logits.shape[1], -1))
    return mask_weight * cross_entropy + dice_weight * overlap - class_weight * chances

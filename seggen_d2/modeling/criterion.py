"""The set loss of Mask2Former, kept apart per sample, so that real and synthetic ones can be logged apart.

Shapes: B images, Q queries, K categories, M matched segments in the batch, P points, (h, w) the mask logits' size.
Source: Cheng et al., arXiv 2112.01527, sections 3.3 and 4.1; point sampling: Kirillov et al., arXiv 1912.08193.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from .matching import dice, match, point_sample


class SetCriterion(nn.Module):
    """Class, mask and dice losses of every decoder layer, each weighted, as one value per sample.

    The mean over a batch of each value is Mask2Former's loss of that batch: the class loss is divided by the batch's
    sum of class weights, the mask losses by its number of segments, and each sample's share is multiplied by B.
    The points of the matching are drawn once an image and serve all layers.

    Args:
        num_classes: K.
        class_weight, mask_weight, dice_weight: weights of the three losses (the paper: 2, 5, 5).
        no_object_weight: weight of "no object" in the class loss (the paper: 0.1).
        num_points: points a mask (the paper: 12,544).
        oversample_ratio: candidates per point when the uncertain ones are chosen.
        importance_sample_ratio: share, in [0, 1], of points chosen for their uncertainty.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ):
        super().__init__()
        self.num_classes, self.num_points = num_classes, num_points
        self.weights = {"class_weight": class_weight, "mask_weight": mask_weight, "dice_weight": dice_weight}
        self.oversample_ratio, self.importance_sample_ratio = oversample_ratio, importance_sample_ratio
        class_weights = torch.ones(num_classes + 1)
        class_weights[-1] = no_object_weight
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(
        self, predictions: Sequence[tuple[Tensor, Tensor]], mask_labels: list[Tensor], class_labels: list[Tensor]
    ) -> dict[str, Tensor]:
        """The losses of all layers.

        Args:
            predictions: (class logits (B, Q, K + 1), mask logits (B, Q, h, w)) of each layer, the last layer last.
            mask_labels: B tensors (N_i, H, W) in {0, 1}, all of one H and W. class_labels: B tensors (N_i,) int64.

        Returns:
            ``loss_ce``, ``loss_mask``, ``loss_dice`` of the last layer and, with ``_0``, ``_1``... of those before:
            weighted, each (B,).
        """
        with torch.autocast(predictions[0][0].device.type, enabled=False):  # costs and losses need float32
            return self._losses(predictions, torch.cat(mask_labels).float()[:, None], class_labels)

    def _losses(
        self, predictions: Sequence[tuple[Tensor, Tensor]], masks: Tensor, class_labels: list[Tensor]
    ) -> dict[str, Tensor]:
        counts = [len(labels) for labels in class_labels]
        segments = _mean_over_ranks(sum(counts), masks.device)
        points = torch.rand(len(counts), self.num_points, 2, device=masks.device)
        point_labels = self._at_points(masks, points, counts)
        losses: dict[str, Tensor] = {}
        for layer, (class_logits, mask_logits) in enumerate(predictions):
            pairs = match(class_logits, mask_logits, class_labels, points, point_labels, **self.weights)
            suffix = "" if layer == len(predictions) - 1 else f"_{layer}"
            losses[f"loss_ce{suffix}"] = self.class_losses(class_logits, class_labels, pairs)
            both = self.mask_losses(mask_logits, masks, counts, pairs, segments)
            losses[f"loss_mask{suffix}"], losses[f"loss_dice{suffix}"] = both
        return losses

    def _at_points(self, masks: Tensor, points: Tensor, counts: list[int]) -> Tensor:
        """(sum of N, 1, H, W) masks at their image's (B, P, 2) points, as (B, max N, P)."""
        image = torch.repeat_interleave(torch.tensor(counts, device=points.device))
        values = point_sample(masks, points[image])[:, 0] if len(masks) else masks.new_zeros(0, points.shape[1])
        return pad_sequence(list(values.split(counts)), batch_first=True)

    def class_losses(
        self, class_logits: Tensor, class_labels: list[Tensor], pairs: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """(B,) weighted cross-entropy over all queries; a query without a segment should say "no object"."""
        targets = class_logits.new_full(class_logits.shape[:2], self.num_classes, dtype=torch.int64)
        for image, (queries, segments) in enumerate(pairs):
            targets[image, queries] = class_labels[image][segments]
        losses = F.cross_entropy(class_logits.float().transpose(1, 2), targets, self.class_weights, reduction="none")
        share = losses.sum(1) / self.class_weights[targets].sum()
        return self.weights["class_weight"] * len(pairs) * share

    def mask_losses(
        self,
        mask_logits: Tensor,
        masks: Tensor,
        counts: list[int],
        pairs: list[tuple[Tensor, Tensor]],
        segments: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(B,) cross-entropy and (B,) dice of the matched masks, at points chosen for their uncertainty.

        Both are divided by ``segments``, the mean over all processes of a batch's number of segments.
        """
        image = torch.cat([torch.full_like(queries, i) for i, (queries, _) in enumerate(pairs)])
        starts = torch.tensor([0, *counts], device=masks.device).cumsum(0)
        matched = mask_logits[image, torch.cat([queries for queries, _ in pairs])].float()[:, None]
        targets = masks[torch.cat([starts[i] + segments for i, (_, segments) in enumerate(pairs)])]
        if not len(image):  # nothing labelled in the whole batch
            return mask_logits.sum((1, 2, 3)) * 0, mask_logits.sum((1, 2, 3)) * 0
        with torch.no_grad():
            points = self.uncertain_points(matched)
            labels = point_sample(targets, points)[:, 0]
        logits = point_sample(matched, points)[:, 0]
        cross_entropy = (F.softplus(logits) - logits * labels).mean(1)
        chances = logits.sigmoid()
        overlap = dice((chances * labels).sum(1), chances.sum(1), labels.sum(1))
        scale = len(pairs) / segments
        zeros = mask_logits.new_zeros(len(pairs), dtype=torch.float32)
        return (
            zeros.index_add(0, image, cross_entropy * (self.weights["mask_weight"] * scale)),
            zeros.index_add(0, image, overlap * (self.weights["dice_weight"] * scale)),
        )

    def uncertain_points(self, logits: Tensor) -> Tensor:
        """(M, P, 2) points of (M, 1, h, w) logits: the nearest to 0 of an oversample, the rest uniform."""
        uncertain = int(self.importance_sample_ratio * self.num_points)
        candidates = torch.rand(len(logits), int(self.num_points * self.oversample_ratio), 2, device=logits.device)
        distance = point_sample(logits, candidates)[:, 0].abs()
        chosen = distance.topk(uncertain, dim=1, largest=False, sorted=False).indices
        nearest = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        uniform = torch.rand(len(logits), self.num_points - uncertain, 2, device=logits.device)
        return torch.cat([nearest, uniform], dim=1)


def _mean_over_ranks(count: int, device: torch.device) -> Tensor:
    """``count`` averaged over all processes, at least 1."""
    total = torch.tensor(float(count), device=device)
    ranks = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        ranks = torch.distributed.get_world_size()
    return (total / ranks).clamp(min=1)

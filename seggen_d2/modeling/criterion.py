"""The set loss of Mask2Former, kept apart per sample, so that real and synthetic ones can be logged apart.

Shapes: L decoder layers, B images, Q queries, K categories, M matched segments of a layer in the batch, P points, (h, w) the mask
logits' size. All layers are matched and measured together: many small operations become a few.
Source: Cheng et al., arXiv 2112.01527, sections 3.3 and 4.1; point sampling: Kirillov et al., arXiv 1912.08193.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from .matching import dice, match, point_sample

LOSSES = ("loss_ce", "loss_mask", "loss_dice")


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
        points = torch.rand(len(counts), self.num_points, 2, device=masks.device)
        images, queries, segments = match(
            predictions, class_labels, points, self._at_points(masks, points, counts), **self.weights
        )
        starts = torch.tensor([0, *counts], device=masks.device).cumsum(0)
        pairs = (images, queries, starts[images] + segments)
        classes = self.class_losses(torch.stack([logits for logits, _ in predictions]), torch.cat(class_labels), pairs)
        total = _mean_over_ranks(sum(counts), masks.device)
        both = self.mask_losses([logits for _, logits in predictions], masks, pairs, total)
        losses: dict[str, Tensor] = {}
        for layer, values in enumerate(zip(classes, *both, strict=True)):
            suffix = "" if layer == len(predictions) - 1 else f"_{layer}"
            losses |= {f"{name}{suffix}": value for name, value in zip(LOSSES, values, strict=True)}
        return losses

    def _at_points(self, masks: Tensor, points: Tensor, counts: list[int]) -> Tensor:
        """(sum of N, 1, H, W) masks at their image's (B, P, 2) points, as (B, max N, P)."""
        image = torch.repeat_interleave(torch.tensor(counts, device=points.device))
        values = point_sample(masks, points[image])[:, 0] if len(masks) else masks.new_zeros(0, points.shape[1])
        return pad_sequence(list(values.split(counts)), batch_first=True)

    def class_losses(self, class_logits: Tensor, class_labels: Tensor, pairs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """(L, B) weighted cross-entropy over all queries; a query without a segment should say "no object".

        Args:
            class_logits: (L, B, Q, K + 1). class_labels: those of the batch's segments, one after another.
            pairs: image, query and place among ``class_labels``, (L, M) each.
        """
        images, queries, segments = pairs
        targets = class_logits.new_full(class_logits.shape[:3], self.num_classes, dtype=torch.int64)
        targets[torch.arange(len(targets), device=targets.device)[:, None], images, queries] = class_labels[segments]
        logits = class_logits.float().flatten(0, 1).transpose(1, 2)
        losses = F.cross_entropy(logits, targets.flatten(0, 1), self.class_weights, reduction="none")
        share = losses.view(targets.shape).sum(2) / self.class_weights[targets].sum((1, 2))[:, None]
        return self.weights["class_weight"] * targets.shape[1] * share

    def mask_losses(
        self, mask_logits: Sequence[Tensor], masks: Tensor, pairs: tuple[Tensor, Tensor, Tensor], segments: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(L, B) cross-entropy and (L, B) dice of the matched masks, at points chosen for their uncertainty.

        Args:
            mask_logits: L times (B, Q, h, w). masks: (sum of N, 1, H, W), of all images one after another.
            pairs: image, query and place among ``masks``, (L, M) each.
            segments: what both are divided by, the mean over all processes of a batch's number of segments.
        """
        images, queries, own = pairs
        if not images.numel():  # nothing labelled in the whole batch
            nothing = torch.stack([logits.sum((1, 2, 3)) * 0 for logits in mask_logits])
            return nothing, nothing
        matched = torch.cat([logits[i, q] for logits, i, q in zip(mask_logits, images, queries, strict=True)])
        matched = matched.float()[:, None]
        with torch.no_grad():
            points = self.uncertain_points(matched)
            of_layers = points.unflatten(0, images.shape)  # masks are large: no more than a layer's are copied at once
            labels = torch.cat([point_sample(masks[o], p)[:, 0] for o, p in zip(own, of_layers, strict=True)])
        logits = point_sample(matched, points)[:, 0]
        cross_entropy = (F.softplus(logits) - logits * labels).mean(1)
        chances = logits.sigmoid()
        overlap = dice((chances * labels).sum(1), chances.sum(1), labels.sum(1))
        batch = len(mask_logits[0])
        places = (torch.arange(len(images), device=images.device)[:, None] * batch + images).flatten()
        zeros, scale = logits.new_zeros(len(images) * batch), batch / segments
        return (
            zeros.index_add(0, places, cross_entropy * (self.weights["mask_weight"] * scale)).view(-1, batch),
            zeros.index_add(0, places, overlap * (self.weights["dice_weight"] * scale)).view(-1, batch),
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

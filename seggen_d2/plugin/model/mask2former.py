"""Mask2Former without a compiled op, behind Detectron2's interface."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import configurable
from detectron2.data import MetadataCatalog
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.memory import retry_if_cuda_oom
from torch import Tensor, nn

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import (
    Mask2Former,
    build_mask2former,
    instance_inference,
    panoptic_inference,
    semantic_inference,
)
from seggen_d2.modeling.inference import crop_and_resize, upsample

from .architecture import model_options, norm_of
from .upstream_state import UpstreamState


class SegGenMask2Former(UpstreamState):
    """Stock ``MaskFormer`` in all but its code: its config keys, inputs, outputs, losses and checkpoints.

    ``last_losses`` holds the weighted losses of the last training step for each sample: {name: (B,)}, detached.

    Args:
        model: the network and its losses; K is its number of categories.
        is_thing: (K,) bool, or None where no panoptic result is asked for.
        semantic_on, panoptic_on, instance_on: the results that are asked for.
        resize_first: bring mask logits to the wanted size before anything is read from them, not the scores after.
        object_mask_threshold, overlap_threshold: see ``panoptic_inference``. top_k: instances an image.
        deep_supervision: losses of every decoder layer, not of the last alone.
        counters: see ``UpstreamState``.
    """

    @configurable
    def __init__(
        self,
        *,
        model: Mask2Former,
        is_thing: Tensor | None = None,
        semantic_on: bool = True,
        panoptic_on: bool = False,
        instance_on: bool = False,
        resize_first: bool = False,
        object_mask_threshold: float = 0.0,
        overlap_threshold: float = 0.0,
        top_k: int = 100,
        deep_supervision: bool = True,
        counters: bool = False,
    ):
        super().__init__(model, counters=counters)
        self.semantic_on, self.panoptic_on, self.instance_on = semantic_on, panoptic_on, instance_on
        self.resize_first = resize_first or panoptic_on or instance_on
        self.object_mask_threshold, self.overlap_threshold = object_mask_threshold, overlap_threshold
        self.top_k, self.deep_supervision = top_k, deep_supervision
        self.register_buffer("is_thing", is_thing, persistent=False)
        self.last_losses: dict[str, Tensor] = {}

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        test, norm = cfg.MODEL.MASK_FORMER.TEST, norm_of(cfg)
        model = build_mask2former(**model_options(cfg))
        if norm == "SyncBN":
            nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)
        if cfg.MODEL.BACKBONE.NAME == "D2SwinTransformer" and cfg.MODEL.SWIN.USE_CHECKPOINT:
            model.backbone.gradient_checkpointing_enable({"use_reentrant": False})
        return {
            "model": model,
            "is_thing": _is_thing(cfg) if test.PANOPTIC_ON else None,
            "semantic_on": test.SEMANTIC_ON,
            "panoptic_on": test.PANOPTIC_ON,
            "instance_on": test.INSTANCE_ON,
            "resize_first": test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE,
            "object_mask_threshold": test.OBJECT_MASK_THRESHOLD,
            "overlap_threshold": test.OVERLAP_THRESHOLD,
            "top_k": cfg.TEST.DETECTIONS_PER_IMAGE,
            "deep_supervision": cfg.MODEL.MASK_FORMER.DEEP_SUPERVISION,
            "counters": norm != "FrozenBN",
        }

    @property
    def device(self) -> torch.device:
        return self.model.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training mode, else results.

        Args:
            batched_inputs: dicts with ``image`` (3, H, W), in [0, 255]; in training ``instances`` with ``gt_classes``
                (N,) and ``gt_masks`` (N, H, W), a tensor or ``BitMasks``; else optional ``height`` and ``width``
                (pixels) of the wanted results.

        Returns:
            Training: weighted losses by name (stock's names). Else a dict a sample: ``sem_seg`` (K, height, width),
            ``panoptic_seg`` (ids (height, width), segments), ``instances``, each where it is asked for.
        """
        images = self.model.batch_images([sample["image"] for sample in batched_inputs])
        predictions = self.model.predict(images)
        if self.training:
            return self._losses(predictions if self.deep_supervision else predictions[-1:], batched_inputs,
                                images.shape[-2:])
        class_logits, mask_logits = predictions[-1]
        masks = upsample(mask_logits, images.shape[-2:])
        return [self._results(*item) for item in zip(class_logits, masks, batched_inputs, strict=True)]

    def _losses(
        self, predictions: list[tuple[Tensor, Tensor]], samples: list[dict[str, Any]], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        masks = self.model.batch_masks([_gt_masks(sample) for sample in samples], size)
        classes = [sample["instances"].gt_classes.to(self.device) for sample in samples]
        losses = self.model.criterion(predictions, masks, classes)
        self.last_losses = {name: values.detach() for name, values in losses.items()}
        return {name: values.mean() for name, values in losses.items()}

    def _results(self, class_logits: Tensor, mask_logits: Tensor, sample: dict[str, Any]) -> dict[str, Any]:
        size = tuple(sample["image"].shape[-2:])
        wanted = (size, sample.get("height", size[0]), sample.get("width", size[1]))
        resize, results = retry_if_cuda_oom(crop_and_resize), {}
        if self.resize_first:
            mask_logits = resize(mask_logits, *wanted)
        class_logits = class_logits.to(mask_logits)  # a retry may have moved the masks to the CPU
        if self.semantic_on:
            scores = retry_if_cuda_oom(semantic_inference)(class_logits, mask_logits)
            results["sem_seg"] = scores if self.resize_first else resize(scores, *wanted)
        if self.panoptic_on:
            results["panoptic_seg"] = retry_if_cuda_oom(panoptic_inference)(
                class_logits,
                mask_logits,
                is_thing=self.is_thing,
                object_mask_threshold=self.object_mask_threshold,
                overlap_threshold=self.overlap_threshold,
            )
        if self.instance_on:
            found = retry_if_cuda_oom(instance_inference)(
                class_logits, mask_logits, top_k=self.top_k, kept=self.is_thing if self.panoptic_on else None
            )
            results["instances"] = _instances(found)
        return results


def _instances(found: dict[str, Tensor]) -> Instances:
    """Detectron2's instances; boxes are zeros, as upstream: mask metrics do not read them."""
    masks = found["masks"]
    return Instances(
        tuple(masks.shape[-2:]),
        pred_masks=masks.float(),
        pred_boxes=Boxes(torch.zeros(len(masks), 4)),
        scores=found["scores"],
        pred_classes=found["categories"],
    )


def _gt_masks(sample: dict[str, Any]) -> Tensor:
    instances = sample.get("instances")
    masks = getattr(instances, "gt_masks", None) if instances is not None else None
    masks = masks.tensor if isinstance(masks, BitMasks) else masks
    if not isinstance(masks, Tensor):
        raise SegGenError("a training sample has no masks to learn from",
                          expected="instances with gt_masks, an (N, H, W) tensor or BitMasks",
                          found=f"{type(masks).__name__} (keys: {', '.join(sorted(sample))})",
                          remedy="use one of Mask2Former's mappers (INPUT.DATASET_MAPPER_NAME), or with Detectron2's own "
                                 "set INPUT.MASK_FORMAT to bitmask")
    return masks


def _is_thing(cfg: Any) -> Tensor:
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]) if cfg.DATASETS.TRAIN else None
    ids = getattr(metadata, "thing_dataset_id_to_contiguous_id", None)
    if ids is None:
        raise SegGenError("MODEL.MASK_FORMER.TEST.PANOPTIC_ON needs a dataset that tells things from stuff",
                          expected="thing_dataset_id_to_contiguous_id in the metadata of DATASETS.TRAIN's first",
                          found=f"DATASETS.TRAIN: {list(cfg.DATASETS.TRAIN)}",
                          remedy="name a panoptic dataset, or set PANOPTIC_ON to False")
    return torch.isin(torch.arange(cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES), torch.tensor(sorted(ids.values())))

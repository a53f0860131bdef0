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
from seggen_d2.modeling import Mask2Former, Outputs, build_mask2former
from seggen_d2.modeling.inference import upsample

from .architecture import model_options, norm_of
from .upstream_state import UpstreamState


class SegGenMask2Former(UpstreamState):
    """Stock ``MaskFormer`` in all but its code: its config keys, inputs, outputs, losses and checkpoints.

    ``last_losses`` holds the weighted losses of the last training step for each sample: {name: (B,)}, detached.

    Args:
        model: the network and its losses.
        outputs: the results that are asked for.
        deep_supervision: losses of every decoder layer, not of the last alone.
        counters: see ``UpstreamState``.
    """

    @configurable
    def __init__(
        self,
        *,
        model: Mask2Former,
        outputs: Outputs,
        deep_supervision: bool = True,
        counters: bool = False,
    ):
        super().__init__(model, counters=counters)
        self.outputs, self.deep_supervision = outputs, deep_supervision
        self.last_losses: dict[str, Tensor] = {}

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        norm = norm_of(cfg)
        model = build_mask2former(**model_options(cfg))
        if norm == "SyncBN":
            nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)
        if cfg.MODEL.BACKBONE.NAME == "D2SwinTransformer" and cfg.MODEL.SWIN.USE_CHECKPOINT:
            model.backbone.gradient_checkpointing_enable({"use_reentrant": False})
        return {
            "model": model,
            "outputs": _outputs(cfg),
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
        results = self.outputs.read(class_logits, mask_logits, sample, guard=retry_if_cuda_oom)
        return {**results, "instances": _instances(results["instances"])} if "instances" in results else results


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


def _outputs(cfg: Any) -> Outputs:
    test = cfg.MODEL.MASK_FORMER.TEST
    return Outputs(
        semantic=test.SEMANTIC_ON,
        panoptic=test.PANOPTIC_ON,
        instance=test.INSTANCE_ON,
        is_thing=_is_thing(cfg) if test.PANOPTIC_ON else (),
        resize_first=test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE,
        object_mask_threshold=test.OBJECT_MASK_THRESHOLD,
        overlap_threshold=test.OVERLAP_THRESHOLD,
        top_k=cfg.TEST.DETECTIONS_PER_IMAGE,
    )


def _is_thing(cfg: Any) -> tuple[bool, ...]:
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]) if cfg.DATASETS.TRAIN else None
    ids = getattr(metadata, "thing_dataset_id_to_contiguous_id", None)
    if ids is None:
        raise SegGenError("MODEL.MASK_FORMER.TEST.PANOPTIC_ON needs a dataset that tells things from stuff",
                          expected="thing_dataset_id_to_contiguous_id in the metadata of DATASETS.TRAIN's first",
                          found=f"DATASETS.TRAIN: {list(cfg.DATASETS.TRAIN)}",
                          remedy="name a panoptic dataset, or set PANOPTIC_ON to False")
    return tuple(number in {*ids.values()} for number in range(cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES))

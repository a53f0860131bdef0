"""The model that a config describes: its size, its weights, and what it gives outside of training."""

from __future__ import annotations

import logging

import torch
from fvcore.common.config import CfgNode

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.modeling import Mask2Former, Outputs, build_mask2former
from seggen_d2.segmentation import Categories

from .checkpoint import load_backbone
from .tasks import MAPPERS, measured

logger = logging.getLogger(__name__)


def model_of(cfg: CfgNode, categories: Categories) -> Mask2Former:
    """The configured model with random weights drawn from ``SEED`` (and the backbone's own, where they are named).

    Raises:
        SegGenError: ``NUM_CLASSES`` is neither 0 nor the dataset's.
    """
    _check_classes(cfg, categories)
    torch.manual_seed(cfg.SEED)
    head, former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
    model = build_mask2former(
        len(categories),
        backbone=cfg.MODEL.BACKBONE.NAME,
        backbone_options=dict(cfg.MODEL.BACKBONE.OPTIONS),
        class_names=categories.names,
        queries=former.NUM_OBJECT_QUERIES,
        encoder_layers=head.TRANSFORMER_ENC_LAYERS,
        decoder_layers=former.DEC_LAYERS - 1,
        feature_size=former.HIDDEN_DIM,
        mask_feature_size=head.MASK_DIM,
        heads=former.NHEADS,
        feedforward_size=former.DIM_FEEDFORWARD,
        encoder_feedforward_size=head.ENC_FEEDFORWARD_DIM,
        dropout=former.DROPOUT,
        class_weight=former.CLASS_WEIGHT,
        mask_weight=former.MASK_WEIGHT,
        dice_weight=former.DICE_WEIGHT,
        no_object_weight=former.NO_OBJECT_WEIGHT,
        points=former.TRAIN_NUM_POINTS,
        oversample_ratio=former.OVERSAMPLE_RATIO,
        importance_sample_ratio=former.IMPORTANCE_SAMPLE_RATIO,
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
        size_divisibility=former.SIZE_DIVISIBILITY,
        test_size=(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST),
        freeze_norm=cfg.MODEL.BACKBONE.FREEZE_NORM,
        outputs=_outputs(cfg, categories),
    )
    if cfg.MODEL.BACKBONE.WEIGHTS:
        load_backbone(model, cfg.MODEL.BACKBONE.WEIGHTS)
    return model


def _check_classes(cfg: CfgNode, categories: Categories) -> None:
    number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if number not in (0, len(categories)):
        raise SegGenError(
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES is not the dataset's number of categories",
            expected=f"{len(categories)} ({cfg.DATASETS.TRAIN[0]}), or 0",
            found=str(number),
            remedy="set it to 0, or name the dataset that the config is for",
        )


def _outputs(cfg: CfgNode, categories: Categories) -> Outputs:
    task, test = MAPPERS[cfg.INPUT.DATASET_MAPPER_NAME].task, cfg.MODEL.MASK_FORMER.TEST
    wanted = {"semantic": test.SEMANTIC_ON, "panoptic": test.PANOPTIC_ON, "instance": test.INSTANCE_ON}
    given = measured(task, wanted)
    for kind in (kind for kind, on in wanted.items() if on and not given[kind]):
        logger.info("MODEL.MASK_FORMER.TEST.%s_ON is of no effect: %s data has no truth for it", kind.upper(), task)
    return Outputs(
        **given,
        is_thing=tuple(item.isthing for item in categories.items),
        resize_first=test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE,
        object_mask_threshold=test.OBJECT_MASK_THRESHOLD,
        overlap_threshold=test.OVERLAP_THRESHOLD,
        top_k=cfg.TEST.DETECTIONS_PER_IMAGE,
    )

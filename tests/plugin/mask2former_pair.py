"""Stock Mask2Former and ours from one config, tiny unless asked for more, with the same random weights."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from detectron2.projects.deeplab import add_deeplab_config
from detectron2.structures import Instances

import seggen_d2.plugin  # noqa: F401  (registers SegGenMask2Former)

CLASSES, THINGS = 7, {11: 0, 13: 2, 17: 3}  # dataset id: category
SWIN_TINY = {"EMBED_DIM": 96, "DEPTHS": [2, 2, 6, 2], "NUM_HEADS": [3, 6, 12, 24], "WINDOW_SIZE": 7}
SWIN_LARGE = {"EMBED_DIM": 192, "DEPTHS": [2, 2, 18, 2], "NUM_HEADS": [6, 12, 24, 48], "WINDOW_SIZE": 12}


def config(backbone: str = "resnet50", *, arch: str = "SegGenMask2Former", classes: int = CLASSES, **overrides: Any):
    """A Mask2Former config on a made-up panoptic dataset.

    Args:
        backbone: resnetN, swin-t, swin-l or swin-tiny-l (its width, reduced depth).
        overrides: keys with ``__`` for ``.`` (``MODEL__MASK_FORMER__DEC_LAYERS``).
    """
    from mask2former import add_maskformer2_config

    MetadataCatalog.get("a_made_up_panoptic_set").thing_dataset_id_to_contiguous_id = THINGS
    cfg = get_cfg()
    add_deeplab_config(cfg)
    add_maskformer2_config(cfg)
    swin = {"swin-t": SWIN_TINY, "swin-l": SWIN_LARGE, "swin-l-shallow": {**SWIN_LARGE, "DEPTHS": [2, 2, 2, 2]}}.get(backbone)
    keys = {
        "MODEL.META_ARCHITECTURE": arch,
        "MODEL.DEVICE": "cpu",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.BACKBONE.NAME": "D2SwinTransformer" if swin else "build_resnet_backbone",
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.RESNETS.DEPTH": 50 if swin else int(backbone.removeprefix("resnet")),
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.SWIN.DROP_PATH_RATE": 0.0,
        "MODEL.SEM_SEG_HEAD.NAME": "MaskFormerHead",
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": classes,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": 64,
        "MODEL.SEM_SEG_HEAD.MASK_DIM": 64,
        "MODEL.SEM_SEG_HEAD.NORM": "GN",
        "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": "MSDeformAttnPixelDecoder",
        "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": 1,
        "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": "multi_scale_pixel_decoder",
        "MODEL.MASK_FORMER.HIDDEN_DIM": 64,
        "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": 20,
        "MODEL.MASK_FORMER.NHEADS": 4,
        "MODEL.MASK_FORMER.DROPOUT": 0.0,
        "MODEL.MASK_FORMER.DIM_FEEDFORWARD": 128,
        "MODEL.MASK_FORMER.DEC_LAYERS": 4,
        "MODEL.MASK_FORMER.CLASS_WEIGHT": 2.0,
        "MODEL.MASK_FORMER.MASK_WEIGHT": 5.0,
        "MODEL.MASK_FORMER.DICE_WEIGHT": 5.0,
        "MODEL.MASK_FORMER.TRAIN_NUM_POINTS": 400,
        "MODEL.MASK_FORMER.TEST.PANOPTIC_ON": True,
        "MODEL.MASK_FORMER.TEST.INSTANCE_ON": True,
        "DATASETS.TRAIN": ("a_made_up_panoptic_set",),
        "TEST.DETECTIONS_PER_IMAGE": 30,
        **{f"MODEL.SWIN.{key}": value for key, value in (swin or {}).items()},
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    cfg.merge_from_list([part for item in keys.items() for part in item])
    return cfg


FULL_SIZE = {  # the published models': everything that tiny configs reduce
    "MODEL__SEM_SEG_HEAD__CONVS_DIM": 256,
    "MODEL__SEM_SEG_HEAD__MASK_DIM": 256,
    "MODEL__SEM_SEG_HEAD__TRANSFORMER_ENC_LAYERS": 6,
    "MODEL__MASK_FORMER__HIDDEN_DIM": 256,
    "MODEL__MASK_FORMER__NUM_OBJECT_QUERIES": 100,
    "MODEL__MASK_FORMER__NHEADS": 8,
    "MODEL__MASK_FORMER__DIM_FEEDFORWARD": 2048,
    "MODEL__MASK_FORMER__DEC_LAYERS": 10,
}


def build(cfg, seed: int = 0):
    torch.manual_seed(seed)
    return build_model(cfg)


def pair(backbone: str = "resnet50", *, seed: int = 0, **overrides: Any):
    """(stock, ours); norms' statistics and weights are random too, so that each of them matters."""
    stock = build(config(backbone, arch="MaskFormer", **overrides), seed)
    state = stock.state_dict()
    for name, value in state.items():
        if ".norm" in name and value.is_floating_point():
            value.copy_(torch.rand_like(value) * 0.5 + 0.75 if name.endswith(("weight", "var")) else torch.randn_like(value) * 0.1)
    ours = build(config(backbone, **overrides), seed + 1)
    ours.load_state_dict(state)
    return stock, ours


def samples(sizes, *, seed: int = 0, classes: int = CLASSES, segments=(3, 2)):
    """Detectron2's dicts with random images and blocks for masks."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for (height, width), count in zip(sizes, segments):
        instances = Instances((height, width))
        masks = torch.zeros(count, height, width, dtype=torch.bool)
        for number, mask in enumerate(masks):
            top, left = (int(torch.randint(0, side // 2, (1,), generator=random)) for side in (height, width))
            mask[top : top + height // (2 + number), left : left + width // 2] = True
        instances.gt_masks = masks
        instances.gt_classes = torch.randint(0, classes, (count,), generator=random)
        image = torch.randint(0, 256, (3, height, width), generator=random, dtype=torch.uint8)
        made.append({"image": image, "instances": instances, "height": height + 9, "width": width + 5})
    return made


@contextlib.contextmanager
def fixed_points(monkeypatch, seed: int = 0):
    """Both models draw points by ``torch.rand``; within this they all get the rows of one table."""
    table = torch.rand(4000, 2, generator=torch.Generator().manual_seed(seed))

    def rand(*size, **options):
        assert len(size) == 3 and size[2] == 2, f"not points: {size}"
        return table[: size[1]].expand(size[0], -1, -1).clone()

    with monkeypatch.context() as patched:
        patched.setattr(torch, "rand", rand)
        yield

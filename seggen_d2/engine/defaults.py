"""Every key of a config, its default and its meaning. Names are Detectron2's or Mask2Former's where those exist."""

from __future__ import annotations

from fvcore.common.config import CfgNode

_C = CfgNode()
_C.OUTPUT_DIR = "output/train"  # checkpoints, logs, the resolved config and the final metrics
_C.SEED = 0  # of weights, sample order, swap draws, augmentation and loss points

_C.MODEL = CfgNode()
_C.MODEL.WEIGHTS = ""  # a checkpoint folder to start from (or a transformers hub id), or a backbone's alone: a folder, toy_backbone; "" is random
_C.MODEL.DEVICE = ""  # cpu | cuda; "" takes a GPU where there is one
_C.MODEL.PIXEL_MEAN = [123.675, 116.280, 103.530]  # of RGB in [0, 255]
_C.MODEL.PIXEL_STD = [58.395, 57.120, 57.375]  # likewise

_C.MODEL.BACKBONE = CfgNode()
_C.MODEL.BACKBONE.NAME = (
    "resnet50"  # tiny-resnet | tiny-swin | resnet18 | resnet50 | resnet101 | swin-tiny | swin-small | swin-base | swin-large
)
_C.MODEL.BACKBONE.WEIGHTS = (
    ""  # a transformers folder or hub id of the backbone alone (microsoft/resnet-50); "" is random
)
_C.MODEL.BACKBONE.OPTIONS = CfgNode(
    new_allowed=True
)  # fields of the backbone's transformers config that differ (embedding_size: 16)
_C.MODEL.BACKBONE.FREEZE_NORM = False  # keep batch norms as they are: for pre-trained weights and few images a GPU

_C.MODEL.SEM_SEG_HEAD = CfgNode()
_C.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 0  # categories; 0 is as many as the dataset has, another number must equal that
_C.MODEL.SEM_SEG_HEAD.CONVS_DIM = 256  # channels of the pixel decoder's features; equals MASK_FORMER.HIDDEN_DIM
_C.MODEL.SEM_SEG_HEAD.MASK_DIM = 256  # channels of the mask features
_C.MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS = 6  # deformable attention layers of the pixel decoder
_C.MODEL.SEM_SEG_HEAD.ENC_FEEDFORWARD_DIM = 1024  # their feed-forward channels (ours; fixed in Mask2Former)

_C.MODEL.MASK_FORMER = CfgNode()
_C.MODEL.MASK_FORMER.CLASS_WEIGHT = 2.0  # of the class loss
_C.MODEL.MASK_FORMER.MASK_WEIGHT = 5.0  # of the mask cross-entropy
_C.MODEL.MASK_FORMER.DICE_WEIGHT = 5.0  # of the dice loss
_C.MODEL.MASK_FORMER.NO_OBJECT_WEIGHT = 0.1  # of "no object" within the class loss
_C.MODEL.MASK_FORMER.HIDDEN_DIM = 256  # channels of the queries, a multiple of 32
_C.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = 100  # queries (200 with Swin-L)
_C.MODEL.MASK_FORMER.DEC_LAYERS = 10  # supervised predictions: 9 decoder layers and the queries before them
_C.MODEL.MASK_FORMER.NHEADS = 8  # attention heads
_C.MODEL.MASK_FORMER.DIM_FEEDFORWARD = 2048  # feed-forward channels of the decoder
_C.MODEL.MASK_FORMER.DROPOUT = 0.0  # in the decoder
_C.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = 12544  # points a mask at which losses and matching costs are taken
_C.MODEL.MASK_FORMER.OVERSAMPLE_RATIO = 3.0  # candidates a point, when the uncertain ones are chosen
_C.MODEL.MASK_FORMER.IMPORTANCE_SAMPLE_RATIO = 0.75  # share of points chosen for their uncertainty
_C.MODEL.MASK_FORMER.SIZE_DIVISIBILITY = 32  # images are padded to multiples of it

_C.MODEL.MASK_FORMER.TEST = CfgNode()
_C.MODEL.MASK_FORMER.TEST.SEMANTIC_ON = True  # give label maps, of which mIoU is taken
_C.MODEL.MASK_FORMER.TEST.PANOPTIC_ON = False  # give panoptic segments: PQ
_C.MODEL.MASK_FORMER.TEST.INSTANCE_ON = False  # give objects: mask AP; of a panoptic model, of things alone
_C.MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD = 0.8  # queries less sure of their class have no part in panoptic segments
_C.MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD = 0.8  # share of a query's own mask that must be left to its segment
_C.MODEL.MASK_FORMER.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = False  # resize masks before scores are made of them

_C.DATASETS = CfgNode()
_C.DATASETS.TRAIN = []  # names of datasets, as SEGGEN.DATASETS registers them
_C.DATASETS.TEST = []  # likewise; the metrics of the first are the run's

_C.DATALOADER = CfgNode()
_C.DATALOADER.NUM_WORKERS = 4  # processes that read and augment; 0 reads in the training process

_C.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True  # leave out training images without an object that is no crowd (instance)

_C.INPUT = CfgNode()
_C.INPUT.DATASET_MAPPER_NAME = "mask_former_semantic"  # mask_former_panoptic | mask_former_instance | coco_panoptic_lsj |
#                                coco_instance_lsj: the task, and whether images are resized and cropped, or by LSJ
_C.INPUT.MIN_SIZE_TRAIN = [int(x * 0.1 * 512) for x in range(5, 21)]  # pixels of the shortest edge, one is drawn
_C.INPUT.MAX_SIZE_TRAIN = 2048  # pixels of the longest edge at most
_C.INPUT.MIN_SIZE_TEST = 512  # pixels of the shortest edge; 0 keeps the size
_C.INPUT.MAX_SIZE_TEST = 2048  # pixels of the longest edge at most
_C.INPUT.IMAGE_SIZE = 1024  # LSJ: pixels a side of what is cut out
_C.INPUT.MIN_SCALE = 0.1  # LSJ: the image is resized to between this ...
_C.INPUT.MAX_SCALE = 2.0  # ... and this share of IMAGE_SIZE
_C.INPUT.CROP = CfgNode()
_C.INPUT.CROP.ENABLED = True  # crop, and pad smaller images to the crop's size
_C.INPUT.CROP.SIZE = [512, 512]  # height, width in pixels
_C.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = (
    1.0  # a crop with more of one category is drawn again (0.75 for Cityscapes); 1.0 is off
)
_C.INPUT.COLOR_AUG_SSD = True  # SSD's brightness, contrast, saturation and hue jitter
_C.INPUT.RANDOM_FLIP = "horizontal"  # horizontal | none

_C.SOLVER = CfgNode()
_C.SOLVER.IMS_PER_BATCH = 16  # images an optimiser step, over all processes and accumulated parts
_C.SOLVER.ACCUMULATE = 1  # parts in which that batch is computed (ours)
_C.SOLVER.MAX_ITER = 160000  # optimiser steps, where SEGGEN.STAGES is empty
_C.SOLVER.BASE_LR = 1e-4  # AdamW's, where SEGGEN.STAGES is empty
_C.SOLVER.BACKBONE_MULTIPLIER = 0.1  # the backbone's learning rate against the rest's
_C.SOLVER.WEIGHT_DECAY = 0.05  # AdamW's, of all but the two below
_C.SOLVER.WEIGHT_DECAY_NORM = 0.0  # of normalisation layers
_C.SOLVER.WEIGHT_DECAY_EMBED = 0.0  # of query and position embeddings
_C.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"  # WarmupPolyLR | WarmupMultiStepLR
_C.SOLVER.POLY_LR_POWER = 0.9  # WarmupPolyLR: (1 - t / T) ** power
_C.SOLVER.STEPS = [
    0.88889,
    0.96296,
]  # WarmupMultiStepLR: shares of a stage, or iterations of it, after which the rate drops
_C.SOLVER.GAMMA = 0.1  # factor of each drop
_C.SOLVER.WARMUP_ITERS = 0  # iterations of linear warm-up at the start of each stage
_C.SOLVER.WARMUP_FACTOR = 1.0  # share of the learning rate at which the warm-up begins
_C.SOLVER.CLIP_GRADIENTS = CfgNode()
_C.SOLVER.CLIP_GRADIENTS.ENABLED = True  # off leaves gradients as they are
_C.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.01  # norm of the whole model's gradient at most
_C.SOLVER.AMP = CfgNode()
_C.SOLVER.AMP.ENABLED = False  # mixed precision
_C.SOLVER.AMP.DTYPE = "bf16"  # bf16 | fp16 (ours)
_C.SOLVER.CHECKPOINT_PERIOD = 5000  # iterations between checkpoints
_C.SOLVER.CHECKPOINTS_KEPT = 2  # the last ones of a stage that stay (ours)
_C.SOLVER.LOG_PERIOD = 20  # iterations between lines of metrics.json (ours)
_C.SOLVER.TENSORBOARD = False  # also write TensorBoard files (needs the tensorboard package)

_C.TEST = CfgNode()
_C.TEST.DETECTIONS_PER_IMAGE = 100  # objects an image at most
_C.TEST.EVAL_PERIOD = 0  # iterations between evaluations on DATASETS.TEST[0]; 0 evaluates at the end alone
_C.TEST.SAVE_PREDICTIONS = False  # write predictions/DATASET/, for tools/evaluate.py (ours)
_C.TEST.IMS_PER_BATCH = 1  # images at once (ours)
_C.TEST.AUG = CfgNode()
_C.TEST.AUG.ENABLED = False  # multi-scale testing beside the plain one, in the end and with --eval-only; semantic alone
_C.TEST.AUG.MIN_SIZES = [400, 500, 600, 700, 800, 900, 1000, 1100, 1200]  # pixels of the shortest edge, all are averaged
_C.TEST.AUG.MAX_SIZE = 4000  # pixels of the longest edge at most
_C.TEST.AUG.FLIP = True  # average over left and right as well

_C.SEGGEN = CfgNode()
_C.SEGGEN.ENGINE = "auto"  # auto | transformers | detectron2
_C.SEGGEN.DATASETS = []  # dataset YAML files; each registers the name it holds
_C.SEGGEN.BANKS = []  # banks to swap from: folders, URLs (s3://bucket/bank), or names of folders in SEGGEN.BANK_ROOT
_C.SEGGEN.BANK_ROOT = ""  # folder, or URL, of banks that are called by their folders' names; "" is none
_C.SEGGEN.BANK_WEIGHTS = []  # how often each bank is drawn from; [] is by their sizes
_C.SEGGEN.P_AUG = 0.6  # probability that a real sample is swapped for a synthetic one, where SEGGEN.STAGES is empty;
#                        of no effect without SEGGEN.BANKS
_C.SEGGEN.P_AUG_SCHEDULE = "constant"  # constant | linear | cosine: over the stage, from P_AUG to P_AUG_END
_C.SEGGEN.P_AUG_END = 0.0  # p_aug where a linear or cosine stage ends; 0 ends it on real data
_C.SEGGEN.P_AUG_BY = ""  # "" | rarity: images with rare classes are swapped more often, the mean stays P_AUG; with SAMPLING paired
_C.SEGGEN.SYNTHETIC_WEIGHT = 1.0  # what the loss terms of synthetic samples are multiplied by; the denominators stay the batch's
_C.SEGGEN.SAMPLING = "uniform"  # uniform | paired | weighted: which synthetic sample
_C.SEGGEN.SAMPLE_WEIGHTS = ""  # weighted: the bank's column, or scores/NAME:column; "" is the filter's weights
_C.SEGGEN.FILTER = ""  # scores/NAME: banks are read through their filters of that name, doubted labels ignored;
#                        scores/NAME:relabel takes the segmenter's labels there, scores/NAME:drop leaves out samples alone
_C.SEGGEN.STAGES = []  # list of {P_AUG, ITERATIONS, BASE_LR, START_WEIGHTS, P_AUG_SCHEDULE, P_AUG_END}; [] is one stage of
#                        the keys above, whose schedule is also that of stages that name none
_C.SEGGEN.MAPPER = "seggen"  # seggen | host: this package's mapper, or Mask2Former's or Mask DINO's own (Detectron2)
_C.SEGGEN.CHECK_SOURCES = True  # refuse a bank made from images of DATASETS.TEST; False where files merely share names
_C.SEGGEN.EMA = 0.0  # decay in [0, 1) of a running average of the weights, evaluated and saved; 0 is off (Detectron2)

# Keys that this package adds to Detectron2's; SEGGEN is all of its node.
OURS = (
    "SEGGEN",
    "MODEL.BACKBONE.WEIGHTS",
    "MODEL.BACKBONE.OPTIONS",
    "MODEL.BACKBONE.FREEZE_NORM",
    "MODEL.SEM_SEG_HEAD.ENC_FEEDFORWARD_DIM",
    "SOLVER.ACCUMULATE",
    "SOLVER.AMP.DTYPE",
    "SOLVER.CHECKPOINTS_KEPT",
    "SOLVER.LOG_PERIOD",
    "SOLVER.TENSORBOARD",
    "TEST.SAVE_PREDICTIONS",
    "TEST.IMS_PER_BATCH",
)

# Keys of them that this engine does not read: they are listed where a file gives them.
ONLY_DETECTRON2 = frozenset(["SEGGEN.MAPPER", "SEGGEN.EMA"])


def get_defaults() -> CfgNode:
    """A fresh copy of the defaults."""
    return _C.clone()

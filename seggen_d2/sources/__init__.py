"""Readers of labelled data: folders of images and masks, COCO's formats, the toy world. One record type for all."""

from .coco_categories import read_coco_categories
from .coco_instance import CocoInstanceSource, read_instance
from .coco_panoptic import CocoPanopticSource, read_panoptic
from .dataset_file import DatasetFile, Source, load_dataset
from .folder import FolderSource
from .records import check_record, open_image, read_image, read_sample, stem

__all__ = [
    "CocoInstanceSource",
    "CocoPanopticSource",
    "DatasetFile",
    "FolderSource",
    "Source",
    "check_record",
    "load_dataset",
    "open_image",
    "read_coco_categories",
    "read_image",
    "read_instance",
    "read_panoptic",
    "read_sample",
    "stem",
]

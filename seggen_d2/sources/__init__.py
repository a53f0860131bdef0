"""Readers of labelled data: folders of images and masks, and the toy world. One record type for all."""

from .folder import FolderSource, load_dataset
from .records import check_record, read_image, read_sample, stem

__all__ = ["FolderSource", "check_record", "load_dataset", "read_image", "read_sample", "stem"]

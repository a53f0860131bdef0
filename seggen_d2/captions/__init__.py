"""Captions: a batch of images in, strings out."""

from .captioner import Captioner, CaptionRequest
from .dataset import Share, caption_dataset
from .label_list import LabelListCaptioner, list_caption
from .table import read_caption_facts, read_captions, read_captions_of, write_captions

__all__ = [
    "CaptionRequest",
    "Captioner",
    "LabelListCaptioner",
    "Share",
    "caption_dataset",
    "list_caption",
    "read_caption_facts",
    "read_captions",
    "read_captions_of",
    "write_captions",
]

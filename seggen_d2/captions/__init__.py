"""Captions: a batch of images in, strings out."""

from .captioner import Captioner, CaptionRequest
from .label_list import LabelListCaptioner, list_caption
from .table import caption_dataset, read_captions, read_captions_of

__all__ = ["CaptionRequest", "Captioner", "LabelListCaptioner", "caption_dataset", "list_caption", "read_captions", "read_captions_of"]

"""Captions: a batch of images in, strings out."""

from seggen_d2.sources.caption_table import Edits, Prompts, read_caption_facts, read_captions, read_captions_of, read_edits, read_prompts_of, write_captions
from seggen_d2.sources.caption_words import list_caption

from .captioner import Captioner, CaptionRequest
from .dataset import Share, caption_dataset
from .label_list import LabelListCaptioner

__all__ = [
    "CaptionRequest",
    "Captioner",
    "Edits",
    "LabelListCaptioner",
    "Prompts",
    "Share",
    "caption_dataset",
    "list_caption",
    "read_caption_facts",
    "read_captions",
    "read_captions_of",
    "read_edits",
    "read_prompts_of",
    "write_captions",
]

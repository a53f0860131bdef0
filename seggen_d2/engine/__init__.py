"""The embedded training engine: Hugging Face's ``Trainer`` and Mask2Former; needs no Detectron2.

Importing the room imports neither torch nor transformers; its modules do.
"""

"""SegGen as software: synthetic banks for segmentation training, and the training that uses them.

The method: Ye et al., "SegGen: Supercharging Segmentation Models with Text2Mask and Mask2Img Synthesis",
ECCV 2024, arXiv 2311.03355. Importing the package imports none of its rooms.
"""

__version__ = "0.1.0"

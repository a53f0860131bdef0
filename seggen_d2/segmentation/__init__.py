"""Categories, palettes, the colour codec and label maps. Pure numpy (and Pillow for PNG)."""

from .categories import Categories, Category, check_same_categories
from .codec import ColorCodec
from .label_maps import check_labels, histogram, label_map_png, read_label_map, resize_labels
from .palette import Palette, check_same_palette, choose_palette, default_palette

__all__ = ["Categories", "Category", "ColorCodec", "Palette", "check_labels", "check_same_categories",
           "check_same_palette", "choose_palette", "default_palette", "histogram", "label_map_png", "read_label_map",
           "resize_labels"]

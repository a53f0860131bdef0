"""The Detectron2 plugin: any Detectron2 project trains with a bank.

The only room that imports Detectron2; without it, importing this one says what to install, as without opencv. Importing it also makes
``META_ARCHITECTURE: SegGenMask2Former`` known.
"""

from seggen_d2.segmentation.opencv import opencv

from .requirement import require_detectron2

require_detectron2()
opencv("by the mappers of seggen_d2.plugin")

from .config import add_seggen_config  # noqa: E402
from .data.bank_dataset import BankDataset, PluginBank  # noqa: E402
from .data.label_space import categories_like  # noqa: E402
from .data.registration import register_all, register_bank, register_folder  # noqa: E402
from .model import meta_arch  # noqa: E402, F401  (registers SegGenMask2Former)
from .swap import SegGenHook, build_detection_train_loader, swap  # noqa: E402

__all__ = [
    "BankDataset",
    "PluginBank",
    "SegGenHook",
    "add_seggen_config",
    "build_detection_train_loader",
    "categories_like",
    "register_all",
    "register_bank",
    "register_folder",
    "swap",
]

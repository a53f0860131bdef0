"""``META_ARCHITECTURE: SegGenMask2Former``. Known as soon as this is imported; transformers is loaded when it is built."""

from __future__ import annotations

import importlib.util
from typing import Any

from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn

from seggen_d2.foundation.errors import SegGenError


@META_ARCH_REGISTRY.register()
def SegGenMask2Former(cfg: Any) -> nn.Module:  # noqa: N802 (the registry goes by this name)
    """The ``model.SegGenMask2Former`` that a config of Mask2Former describes.

    Raises:
        SegGenError: transformers is absent, or the config asks for a part that this network does not have.
    """
    if importlib.util.find_spec("transformers") is None:
        raise SegGenError("META_ARCHITECTURE SegGenMask2Former needs transformers, which is not installed",
                          expected="transformers 5.9 or newer", found="none",
                          remedy="pip install 'seggen_d2[plugin]', or use stock Mask2Former (MaskFormer)")
    from .mask2former import SegGenMask2Former as Model

    return Model(cfg)

"""The projects whose models and mappers a config may name. They are imported when asked for, never before."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice

REPOSITORIES = {
    "mask2former": "https://github.com/facebookresearch/Mask2Former",
    "maskdino": "https://github.com/IDEA-Research/MaskDINO",
}
_OURS = "use MODEL.META_ARCHITECTURE SegGenMask2Former, which is Mask2Former without a compiled op"
_BUILD = "build it by the instructions there"
_EMPTY = "on a CPU an empty file MultiScaleDeformableAttention.py on PYTHONPATH lets its own pure-torch path serve"
_REMEDIES = {  # of a package that is not there, and of one whose op is not
    "mask2former": (f"install it (its repository on PYTHONPATH), or {_OURS}", f"{_BUILD}, or {_OURS}"),
    "maskdino": ("install it (its repository on PYTHONPATH)", f"{_BUILD}; {_EMPTY}"),
}
PACKAGES = {"MaskFormer": "mask2former", "MaskDINO": "maskdino"}  # by META_ARCHITECTURE
MAPPERS = {  # by INPUT.DATASET_MAPPER_NAME; Mask DINO has three of them
    "mask_former_semantic": "MaskFormerSemanticDatasetMapper",
    "mask_former_panoptic": "MaskFormerPanopticDatasetMapper",
    "mask_former_instance": "MaskFormerInstanceDatasetMapper",
    "coco_panoptic_lsj": "COCOPanopticNewBaselineDatasetMapper",
    "coco_instance_lsj": "COCOInstanceNewBaselineDatasetMapper",
}


def import_host(architecture: str) -> ModuleType | None:
    """The package that registers a meta-architecture; None where it is Detectron2's or this package's own.

    Raises:
        SegGenError: it is not installed, or its compiled op is not built.
    """
    package = PACKAGES.get(architecture)
    return import_package(package, f"MODEL.META_ARCHITECTURE {architecture}") if package else None


def host_mapper(cfg: Any) -> Any:
    """The project's own training mapper, by ``INPUT.DATASET_MAPPER_NAME``.

    Raises:
        SegGenError: the project is not installed, or has no mapper of that name.
    """
    package = PACKAGES.get(cfg.MODEL.META_ARCHITECTURE, "mask2former")
    host = import_package(package, "SEGGEN.MAPPER host")
    known = {name: kind for name, kind in MAPPERS.items() if hasattr(host, kind)}
    name = check_choice("INPUT.DATASET_MAPPER_NAME", cfg.INPUT.DATASET_MAPPER_NAME, known)
    return getattr(host, known[name])(cfg, True)


def import_package(package: str, asked_by: str) -> ModuleType:
    """``mask2former`` or ``maskdino``; ``asked_by`` is what the error names.

    Raises:
        SegGenError: it is not installed, or its compiled op is not built.
    """
    if find_spec(package) is None:
        raise SegGenError(
            f"{asked_by} needs the package {package}, which is not installed",
            expected=f"{package}, by the instructions of {REPOSITORIES[package]}",
            found="no such package",
            remedy=_REMEDIES[package][0],
        )
    try:
        if package == "mask2former":
            import mask2former as module
        else:
            import maskdino as module
    except ImportError as error:
        raise SegGenError(
            f"{asked_by}: the package {package} is there and cannot be imported",
            expected=f"its compiled op, built as {REPOSITORIES[package]} says, and its other requirements",
            found=" ".join(str(error).split()),
            remedy=_REMEDIES[package][1],
        ) from error
    return module

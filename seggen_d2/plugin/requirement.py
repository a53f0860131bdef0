"""Detectron2 is not on any package index: what to do where it is absent, or was built for another torch."""

from __future__ import annotations

from seggen_d2.foundation.errors import SegGenError

INSTRUCTIONS = "https://github.com/facebookresearch/detectron2/blob/main/INSTALL.md"


def require_detectron2() -> None:
    """Load Detectron2, its compiled part too.

    Raises:
        SegGenError: it is absent, or does not load; says what to install, and what needs none of it.
    """
    try:
        import torch  # noqa: F401  (the compiled part is linked against it)
        from detectron2 import _C  # noqa: F401
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name in ("torch", "detectron2")
        what = error.name if absent else "Detectron2"
        raise SegGenError(
            f"seggen_d2.plugin needs {'torch' if what == 'torch' else 'Detectron2'}, which "
            + ("is not installed" if absent else "is installed and does not load"),
            expected="an environment that has Detectron2, built for the torch in it",
            found=str(error),
            remedy=f"install Detectron2 by its own instructions ({INSTRUCTIONS}), for this torch; or train without it: "
            "SEGGEN.ENGINE transformers needs none of it",
        ) from None  # its text is in `found`

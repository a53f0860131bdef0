"""What the tests in this folder need: prints what a Python has and lacks, and fails where Detectron2 is lacking."""

from __future__ import annotations

import importlib.util
import sys

PACKAGES = {  # name: (what it serves, where its instructions are)
    "torch": ("everything", "https://pytorch.org"),
    "detectron2": ("everything", "https://github.com/facebookresearch/detectron2/blob/main/INSTALL.md"),
    "transformers": ("SegGenMask2Former", "pip install '.[plugin]'"),
    "pyarrow": ("banks", "pip install ."),
    "pytest": ("the tests", "pip install pytest"),
    "mask2former": ("stock Mask2Former", "https://github.com/facebookresearch/Mask2Former (clone it, put the clone on PYTHONPATH)"),
    "maskdino": ("Mask DINO", "https://github.com/IDEA-Research/MaskDINO (clone it, put the clone on PYTHONPATH)"),
    "panopticapi": ("panoptic evaluation", "https://github.com/cocodataset/panopticapi"),
}
NEEDED = ("torch", "detectron2", "transformers", "pyarrow", "pytest")


def main() -> int:
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    for name in lacking:
        use, source = PACKAGES[name]
        kind = "missing" if name in NEEDED else "absent, its tests are skipped"
        print(f"{name}: {kind}; serves {use}; {source}", file=sys.stderr)
    if any(name in NEEDED for name in lacking):
        print(f"{sys.executable} cannot run the Detectron2 tests: install what is missing by its own instructions, or give "
              "another interpreter: make test-detectron2 PYTHON=/path/to/python. Nothing else in the project needs it: the "
              "transformers engine trains without Detectron2 (make test).", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

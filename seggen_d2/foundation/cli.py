"""What every command does: errors without a traceback, a log on standard error."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable

from .errors import SegGenError

LEVELS = {"httpx": "WARNING", "httpx2": "WARNING", "diffusers": "WARNING", "transformers": "WARNING", "accelerate": "WARNING", "filelock": "WARNING",
          "transformers.utils.import_utils": "ERROR",  # that torchvision is not installed, twice a command
          "diffusers.models.modeling_utils": "ERROR"}  # that no module had to be kept in float32, three times a model

def run_command(main: Callable[[], None]) -> None:
    """Run a tool's ``main``: a :class:`SegGenError` is printed and exits with 2, Ctrl-C with 130."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
    warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)  # its new name is not known to older diffusers
    try:
        main()
    except SegGenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; what was written is kept, and the same command goes on from there", file=sys.stderr)
        sys.exit(130)

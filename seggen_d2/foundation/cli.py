"""What every command does: errors without a traceback, a log on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from .errors import SegGenError


def run_command(main: Callable[[], None]) -> None:
    """Run a tool's ``main``: a :class:`SegGenError` is printed and exits with 2, Ctrl-C with 130."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for noisy in ("httpx", "httpx2", "diffusers", "transformers", "accelerate", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        main()
    except SegGenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; what was written is kept, and the same command goes on from there", file=sys.stderr)
        sys.exit(130)

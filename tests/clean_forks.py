"""Processes for tests, forked after the imports and from a server without threads.

A fork of pytest's own process, which has threads by then, could inherit a lock that nobody gives back, tqdm's among
processes after a kill. There is one server a test run: it is what it was when the first test asked for it.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

IMPORTED = ["__main__", "pytest", "psutil", "pandas", "pyarrow.pandas_compat", "PIL.JpegImagePlugin", "diffusers", "diffusers.guiders",
            "seggen_d2.bank", "seggen_d2.synthesis.painter", "seggen_d2.synthesis.shards"]


def clean_forks() -> ForkServerContext:
    """Makes processes that have imported, once for all of them, what makes banks; what is not installed is left out."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context

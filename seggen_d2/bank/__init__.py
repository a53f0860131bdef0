"""Synthetic banks on disk: written shard by shard, opened in milliseconds, read as if they were files.

Opening a bank and reading it imports neither torch nor, once its look-up table exists, pyarrow.
"""

from typing import Any

from .export import export_folders
from .format import FORMAT_VERSION, Rejection, Sample
from .info import BankInfo, read_info
from .paths import BankPathHandler, bank_path_manager, open_member
from .reader import Bank
from .verify import verify_bank

__all__ = [
    "FORMAT_VERSION",
    "Bank",
    "BankInfo",
    "BankPathHandler",
    "BankWriter",
    "ImportOptions",
    "Rejection",
    "Sample",
    "bank_path_manager",
    "export_folders",
    "import_bank",
    "open_member",
    "read_info",
    "verify_bank",
]


_OF_PYARROW = {"BankWriter": "writer", "ImportOptions": "importing", "import_bank": "importing"}


def __getattr__(name: str) -> Any:
    if name in _OF_PYARROW:  # imported when used: pyarrow costs each process that only reads some 40 MB
        if _OF_PYARROW[name] == "writer":
            from . import writer as module
        else:
            from . import importing as module
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

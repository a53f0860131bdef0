"""Synthetic banks on disk: written shard by shard, opened in milliseconds, read as if they were files.

Opening a bank and reading it imports neither torch nor, once its look-up table exists, pyarrow.
"""

from typing import Any

from .export import ExportOptions, export_bank, export_folders
from .filtered import FilteredBank
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
    "ExportOptions",
    "FilteredBank",
    "ImportOptions",
    "Rejection",
    "Sample",
    "bank_path_manager",
    "export_bank",
    "export_folders",
    "import_bank",
    "open_member",
    "read_info",
    "verify_bank",
]


def __getattr__(name: str) -> Any:  # what needs pyarrow, which costs each process that only reads some 40 MB
    if name == "BankWriter":
        from .writer import BankWriter

        return BankWriter
    if name in ("ImportOptions", "import_bank"):
        from . import importing

        return getattr(importing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

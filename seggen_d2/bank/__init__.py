"""Synthetic banks on disk: written shard by shard, opened in milliseconds, read as if they were files.

Opening a bank and reading it imports neither torch nor, once its look-up table exists, pyarrow.
"""

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
    "Rejection",
    "Sample",
    "bank_path_manager",
    "export_folders",
    "open_member",
    "read_info",
    "verify_bank",
]


def __getattr__(name: str) -> type:
    if name == "BankWriter":  # it needs pyarrow, which costs each process that only reads some 40 MB
        from .writer import BankWriter

        return BankWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

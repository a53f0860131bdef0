"""What fsspec's file systems have in common: how they are opened, how they fail, and what they tell of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from seggen_d2.foundation.errors import SegGenError

from .store_protocol import Facts

_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")  # what stores call it


def file_system(root: str) -> Any:
    """The fsspec file system of the URL ``root``, of this process alone.

    Raises:
        SegGenError: the store's package is not installed, or the URL is of an unknown kind.
    """
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(root, use_listings_cache=False)[0]  # other processes write: a listing is never kept
    except ImportError as error:
        raise SegGenError(f"{root} needs a package that is not installed", expected="fsspec and the package of its store",
                          found=str(error), remedy='pip install "seggen_d2[s3]" for S3, gcsfs for gs://, adlfs for az://') from error
    except ValueError as error:
        raise SegGenError(f"{root} is of a kind that fsspec does not know", expected="a URL such as s3://bucket/bank",
                          found=str(error), remedy="check what stands before ://") from error


@contextmanager
def told(what: str, address: str, missing: bool = False) -> Iterator[None]:
    """Errors of a store's client, each of which has classes of its own, as one that names the object.

    Args:
        what: was to be done. address: of the object.
        missing: a ``FileNotFoundError`` is such an error, too (no bucket); else it is let through.
    """
    try:
        yield
    except FileNotFoundError as error:
        if not missing:
            raise
        raise _refused(what, address, error) from error
    except SegGenError:
        raise
    except Exception as error:
        raise _refused(what, address, error) from error


def _refused(what: str, address: str, error: Exception) -> SegGenError:
    return SegGenError(f"{address} cannot be {what}", found=f"{type(error).__name__}: {error}",
                       remedy="check the URL, the credentials and the endpoint (for S3: AWS_PROFILE, AWS_ENDPOINT_URL); "
                              "what is finished is kept, and the same command goes on")


def facts_of(info: dict[str, Any]) -> Facts:
    """Times in whole seconds: a store's listing may tell them finer than its look-up of one object."""
    value = next((info[key] for key in _TIMES if info.get(key) is not None), 0)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            value = 0
    seconds = value.timestamp() if isinstance(value, datetime) else value
    return Facts(int(info["size"]), int(seconds) * 10**9)

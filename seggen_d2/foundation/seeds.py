"""Seeds that depend on names alone, never on process, order or Python's salted ``hash``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

SEED_BITS = 63  # torch.Generator.manual_seed takes a signed 64-bit integer


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed as a function of ``parts`` (BLAKE2b over their length-prefixed text).

    Length prefixes keep ``("ab", "c")`` and ``("a", "bc")`` apart; the type prefix keeps ``1`` and ``"1"`` apart.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = f"{type(part).__name__}:{part}".encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> (64 - SEED_BITS)


def unit_float(*parts: str | int) -> float:
    """A float in [0, 1) as a function of ``parts``; 53 bits."""
    return (derive_seed(*parts) >> (SEED_BITS - 53)) / (1 << 53)


def fingerprint(data: bytes) -> str:
    """16 hexadecimal digits of BLAKE2b over ``data``: equal data, equal print."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def fingerprint_of_files(paths: Iterable[str | os.PathLike]) -> str:
    """32 hexadecimal digits of BLAKE2b over the bytes of the files, one after another; weights are too large for memory."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()

"""What a cache was made from, as short digests: equal digests, equal input."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

FILES = ("file_name", "sem_seg_file_name", "pan_seg_file_name")  # a record's keys that name files


def digest(value: Any) -> str:
    """Of a JSON value."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def digest_records(records: Iterable[dict[str, Any]]) -> str:
    """Of records: all that they tell, their files' names (not their folders: data may move) and sizes in bytes."""
    whole = hashlib.blake2b(digest_size=8)
    for record in records:
        files = {key: (Path(record[key]).name, _size(record[key])) for key in FILES if record.get(key)}
        whole.update(json.dumps({**record, **files}, sort_keys=True, default=repr).encode())
    return whole.hexdigest()


def _size(path: str | os.PathLike) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # reading it will tell what is wrong
        return -1


def digest_weights(network: nn.Module) -> str:
    """Of a network's weights, whatever device they are on, by name, type and value."""
    whole = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(network.state_dict().items()):
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()

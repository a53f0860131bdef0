"""Banks in Detectron2's hands: opened for its path manager, handed out record by record, never copied into a list."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager
from torch.utils.data import Dataset

from seggen_d2.bank import Bank, BankPathHandler, FilteredBank
from seggen_d2.foundation.errors import SegGenError


@functools.lru_cache(maxsize=1)
def serve_bank_paths() -> None:
    """Let Detectron2's own readers open ``bank://`` paths in this process."""
    PathManager.register_handler(BankPathHandler())


class PluginBank(Bank):
    """A bank whose members Detectron2 reads as files, in each process that opens or unpickles it (spawned workers too).

    Members are compared with their checksums, and records have Detectron2's ``BoxMode`` where they have boxes.

    Args:
        root: the bank's folder, or an fsspec URL. name: what it is called in ``bank://`` paths; the folder's name by default.
    """

    def __init__(self, root: str | os.PathLike, name: str | None = None):
        super().__init__(root, name, check=True)

    def _open(self, shards: Sequence[str] | None) -> None:
        serve_bank_paths()
        super()._open(shards)

    def parts(self, facts: dict[str, Any], mask: str) -> dict[str, Any]:
        found = super().parts(facts, mask)
        for annotation in found.get("annotations", ()):
            annotation["bbox_mode"] = BoxMode(annotation["bbox_mode"])
        return found


class BankDataset(Dataset):
    """A bank's records by number. Detectron2 takes torch datasets as they are, where it copies lists."""

    def __init__(self, bank: PluginBank | FilteredBank):
        self.bank = bank

    @classmethod
    def open(cls, root: str | os.PathLike) -> BankDataset:
        """The bank at ``root`` as a dataset; what ``DatasetCatalog`` calls."""
        return cls(PluginBank(root))

    def __len__(self) -> int:
        return len(self.bank)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.bank.record(int(number))


class MappedDataset(Dataset):
    """A lazy dataset and its mapper.

    Detectron2's own ``MapDataset`` keeps a set of all row numbers for mappers that give None: some 100 MB a spawned
    worker at a million rows. Here the next record takes the place.
    """

    def __init__(self, records: Dataset, mapper: Callable[[dict[str, Any]], Any]):
        self.records, self.mapper = records, mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> Any:
        for place in range(int(number), int(number) + len(self)):
            sample = self.mapper(self.records[place % len(self)])
            if sample is not None:
                return sample
        raise SegGenError("the mapper gives None for every record of DATASETS.TRAIN", found=f"None, {len(self)} times")

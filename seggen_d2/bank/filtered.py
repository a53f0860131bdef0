"""A bank read through a filter: some masks corrected, some samples left out. The bank itself stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from seggen_d2.foundation.files import parse_json
from seggen_d2.foundation.seeds import fingerprint

from .filter_files import archive_name, parse_filter
from .filter_table import open_filter_table
from .format import NAME
from .open_banks import forget_bank, free_name, register_bank
from .reader import Bank
from .table import Row

_KINDS = ("png", "json")  # members that may be corrected, in the order of filter_files.FIELDS


class FilteredBank:
    """What a training asks of a bank, without the samples that a filter drops, and with the masks that it corrects.

    Numbers count the kept samples. A sample that the filter leaves alone has the very record of the bank; of another one the
    mask's path is ``bank://VIEW/KEY.png``, which any mapper reads as it reads the bank's own, and segments or objects are told
    to match. Opening registers VIEW, and so does unpickling in a spawned worker.

    Args:
        bank: opened for reading.
        filter: ``scores/NAME``, or ``scores/NAME:READING``: ``ignore`` (marked pixels and segments are unlabelled; the default),
            ``relabel`` (they are what the filter's segmenter saw), ``drop`` (masks are as the bank has them).

    Attributes:
        name: VIEW. root: of the filter, for messages. The rest are :class:`Bank`'s.

    Raises:
        SegGenError: the bank has no such filter, or it does not fit the bank.
    """

    def __init__(self, bank: Bank, filter: str):
        self.bank, self.filter = bank, filter
        self.info, self.check, self.store, self.shards = bank.info, bank.check, bank.store, bank.shards
        self.folder, self.reading = parse_filter(filter)
        self._open()

    def _open(self) -> None:
        self.root = f"{self.bank.root}/{self.folder}:{self.reading}"
        self._table = open_filter_table(self.bank, self.folder, self.reading)
        self.name = free_name(_view_name(self.bank.name, self.folder, self.reading), self.root, fingerprint(self.root.encode()))
        register_bank(self)

    def close(self) -> None:
        """Take VIEW out of the ``bank://`` paths, and the bank's name as well."""
        forget_bank(self)
        self.bank.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"bank": self.bank, "filter": self.filter}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def __len__(self) -> int:
        return len(self._table.rows)

    @property
    def rows(self) -> np.ndarray:
        """``(K,)`` numbers of the kept samples in the bank, ascending."""
        return self._table.rows

    def record(self, number: int) -> dict[str, Any]:
        """Kept sample ``number``; see :meth:`Bank.record`."""
        row = self._row(number)
        record = self.bank.record(row)
        if self._place(row, "png") is None:
            return record
        key = record["image_id"]
        mask = f"bank://{self.name}/{key}.png"
        if self.info.task == "semantic":
            return {**record, "sem_seg_file_name": mask}
        where = f"bank://{self.name}/{key}.json"
        return {**record, **self.bank.parts(parse_json(self.read(key, "json"), where, "member"), mask)}

    def key(self, number: int) -> str:
        """The key of kept sample ``number``."""
        return self.bank.key(self._row(number))

    def _row(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise IndexError(f"{self.name} keeps {len(self)} samples; there is no sample {number}")
        return int(self.rows[number])

    def variants(self, source_id: str) -> np.ndarray:
        """``(M,)`` numbers, ascending, of the kept samples made from a real image."""
        rows = self.bank.variants(source_id)
        places = np.searchsorted(self.rows, rows)
        return places[self.rows[np.minimum(places, len(self) - 1)] == rows]

    def column(self, name: str) -> np.ndarray:
        """A column of the bank's index or scores, of the kept samples; pixels in ``histogram`` are the bank's own."""
        return self.bank.column(name)[self.rows]

    def find(self, key: str) -> Row | None:
        """Where the bank holds the sample ``key``, kept or not."""
        return self.bank.find(key)

    def holds(self, key: str, kind: str) -> bool:
        """Whether there is a member ``KEY.kind``."""
        return self.bank.holds(key, kind)

    def read(self, key: str, kind: str, check: bool = False) -> bytes:
        """A member, corrected where the filter corrects it; see :meth:`Bank.read`."""
        number = self.bank.number(key)
        place = None if number is None else self._place(number, kind)
        if place is None:
            return self.bank.read(key, kind, check)
        archive = archive_name(self.folder, self.reading, self.shards[self.bank.find(key).shard])
        return self.bank.span(self.store.address(archive), self._table.folder.name, f"{key}.{kind}", place, check)

    def _place(self, row: int, kind: str) -> tuple[int, int, int] | None:
        """Offset, length and CRC-32 of a corrected member of a bank's row; None where the bank's own counts."""
        if kind not in _KINDS or not len(self._table.places):
            return None
        offset, length, crc32 = self._table.places[row].reshape(len(_KINDS), 3)[_KINDS.index(kind)].tolist()
        return (offset, length, crc32) if length else None

    def rejections(self) -> list[Any]:
        """What the bank's synthesis rejected."""
        return self.bank.rejections()


def _view_name(bank: str, folder: str, reading: str) -> str:
    name = f"{bank}-{folder.rpartition('/')[2]}-{reading}"
    return name if NAME.fullmatch(name + "-" + "0" * 16) else f"{bank[:50]}-{fingerprint(name.encode())}"

"""A filter's look-up table: the rows that it keeps, and where corrected members lie. Derived from its files, read in place.

    rows.npy     (K,) uint32 numbers of the bank's rows that are kept, ascending
    places.npy   (S, 6) int64, ``filter_files.FIELDS`` of each of the bank's rows; (0, 6) where the reading corrects nothing

It lies beside the bank's own table, under a name that is a fingerprint of the files: never wrong, only missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.seeds import fingerprint

from .filter_files import CORRECTED, FIELDS, KEPT, METADATA, SAMPLES, archive_name, print_of, rows_name, weights_name
from .format import index_name

if TYPE_CHECKING:
    import pyarrow as pa

    from .reader import Bank
    from .store_protocol import Facts


class FilterTable:
    """An open table.

    Raises:
        FileNotFoundError: there is none in ``folder``.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows, self.places = (np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray) for name in ("rows", "places"))


def open_filter_table(bank: Bank, folder: str, reading: str) -> FilterTable:
    """The table of ``scores/NAME``, built first where there is none.

    Raises:
        SegGenError: there is no such filter, it is of other samples, it lacks some, a file is cut short, or it keeps none.
    """
    files = {name: facts for name, facts in bank.store.listing(folder).items() if name.endswith((".parquet", ".tar"))}
    prefix = f"filter-{fingerprint(f'{folder}:{reading}'.encode())}-"
    name, problems = prefix + fingerprint(repr((bank.version, sorted(files.items()))).encode()), []
    for place in (parent / name for parent in bank.store.table_folders()):
        try:
            return FilterTable(place)
        except FileNotFoundError:
            pass
        try:
            made = _build(bank, folder, reading, files, place)
            _remove_others(place, prefix)
            return made
        except OSError as error:
            problems.append(f"{place.parent}: {error}")
    raise SegGenError(f"the look-up table of {folder} of bank {bank.root} can be written nowhere", found="; ".join(problems),
                      remedy="make one of these folders writable, or free some space there")


def _remove_others(place: Path, prefix: str) -> None:
    """Tables of the filter as it was before. Open ones stay readable to their owners."""
    for other in place.parent.glob(f"{prefix}*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


def _build(bank: Bank, folder: str, reading: str, files: dict[str, Facts], place: Path) -> FilterTable:
    from .table_build import folder_aside

    kept, places = [np.empty(0, bool)], [np.empty((0, len(FIELDS)), np.int64)]
    for shard, index in _shards(bank, folder, files):
        rows, weights = _read(bank, folder, shard, index)
        kept.append(weights[KEPT].to_numpy() > 0)
        if reading in CORRECTED:
            archive = archive_name(folder, reading, shard)
            places.append(_places(bank, rows, archive, reading, files.get(archive)))
    found = np.flatnonzero(np.concatenate(kept)).astype(np.uint32)
    if not len(found):
        raise SegGenError(f"filter {folder} of bank {bank.root} keeps no sample", expected="1 or more", found="0",
                          remedy="score it under another --name with a larger --drop-above")
    with folder_aside(place) as aside:
        np.save(aside / "rows.npy", found)
        np.save(aside / "places.npy", np.concatenate(places))
    return FilterTable(place)


def _shards(bank: Bank, folder: str, files: dict[str, Facts]) -> list[tuple[str, Path]]:
    """The shards that hold samples, and local files of their indexes; the filter has files of each.

    Raises:
        SegGenError: it lacks some, or there is no such filter.
    """
    from .columns import column_of

    indexes = bank.store.fetch([index_name(shard) for shard in bank.shards])
    found = [(shard, index) for shard, index in zip(bank.shards, indexes, strict=True) if len(column_of([index], "seed"))]
    lacking = sorted(shard for shard, _ in found if not {rows_name(folder, shard), weights_name(folder, shard)} <= {*files})
    if lacking and len(lacking) == len(found):
        filters = _filters(bank, found[0][0])
        name = folder.partition("/")[2]
        raise SegGenError(f"bank {bank.root} has no filter {folder}", expected=", ".join(filters) or "one that tools/score_bank.py made",
                          found=", ".join(sorted({file.rpartition("/")[2] for file in files})[:5]) or "no such scores",
                          remedy=nearest(folder, filters) if filters else f"make it: tools/score_bank.py {bank.root} --scores filter --name {name} ...")
    if lacking:
        raise _unfit(bank, folder, f"scores of all {len(found)} shards", f"none of {', '.join(lacking[:5])} ({len(lacking)} shards)")
    return found


def _filters(bank: Bank, shard: str) -> list[str]:
    """The filters that hold files of a shard."""
    folders = [f"scores/{name}" for name in bank.store.folders("scores")]
    return [folder for folder in folders if bank.store.facts(weights_name(folder, shard))]


def _read(bank: Bank, folder: str, shard: str, index: Path) -> Iterator[pa.Table]:
    """The rows and the weights of a shard, checked against its index."""
    from .index import read_columns, read_schema

    names = [rows_name(folder, shard), weights_name(folder, shard)]
    wanted, count = print_of(index), len(read_columns(index, ["key"]))
    for name, file in zip(names, bank.store.fetch(names), strict=True):
        told: dict[str, Any] = json.loads((read_schema(file).metadata or {}).get(METADATA, b"{}"))
        table = read_columns(file)
        if len(table) != count:
            raise _unfit(bank, name, f"scores of all {count} samples of shard {shard}", f"scores of {len(table)}")
        if told.get(SAMPLES) != wanted:
            raise _unfit(bank, name, f"scores of the samples in shard {shard} ({wanted})", f"scores of other samples ({told.get(SAMPLES, 'no print')})")
        yield table


def _places(bank: Bank, rows: pa.Table, archive: str, reading: str, facts: Facts | None) -> np.ndarray:
    """``(S, 6)``, see the module; the archive is as long as they tell."""
    own = rows[reading].combine_chunks()
    found = np.column_stack([own.field(name).to_numpy() for name in FIELDS]).astype(np.int64)
    end = int((found[:, 0::3] + found[:, 1::3]).max(initial=0))
    if end and (not facts or facts.size < end):
        raise _unfit(bank, archive, f"{end} bytes or more", f"{facts.size} bytes" if facts else "no such file")
    return found


def _unfit(bank: Bank, what: str, expected: str, found: str) -> SegGenError:
    return SegGenError(f"{what} does not fit bank {bank.root}", expected=expected, found=found,
                       remedy="score the bank again: remove these scores, or give another --name; --limit leaves samples out")

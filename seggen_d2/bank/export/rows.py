"""Parquet files for Hugging Face ``datasets``: a row a sample, image and mask as its Image features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from tqdm import tqdm

from seggen_d2.foundation.files import parse_json, write_bytes

from ..format import KINDS, PARTS
from .begin import check_room, licences
from .members import in_turn, is_there, placed

if TYPE_CHECKING:
    import pyarrow as pa

    from ..reader import Bank

CARD = "README.md"
_GROUP = 64  # samples a row group, which a reader loads at once
_TEXTS, _NUMBERS = ("key", "caption", "source_id", "strategy"), ("seed", "height", "width")


def export_parquet(bank: Bank, folder: Path, split: str = "train", file_bytes: int = 2**28) -> Path:
    """Write ``data/SPLIT-00000-of-00012.parquet`` and so on, and ``README.md``, a dataset card with the licences.

    Columns: ``image`` and ``mask`` (the bank's JPEG and PNG bytes), ``key, caption, source_id, strategy, seed, height,
    width``, and ``segments_info`` (panoptic) or ``annotations`` (instance) as JSON text.

    Returns:
        ``folder``, for ``datasets.load_dataset(folder)``.

    Raises:
        SegGenError: a member is damaged.
    """
    check_room(bank, folder, KINDS)
    schema, files = _schema(bank), _cut(bank, file_bytes)
    columns = {name: bank.column(name) for name in (*_TEXTS, *_NUMBERS)}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(bank), desc="export", unit="sample") as bar:
        for number, rows in enumerate(files):
            path = folder / "data" / f"{split or 'train'}-{number:05d}-of-{len(files):05d}.parquet"
            if not is_there(path):
                _write(bank, rows, columns, path, schema)
            bar.update(len(rows))
    write_bytes(folder / CARD, _card(bank, split or "train").encode())
    return folder


def _cut(bank: Bank, file_bytes: int) -> list[range]:
    """The rows of each file, in order; an empty bank has one file without rows, which tells its columns."""
    lengths = np.cumsum(sum(bank.column(f"{kind}_length") for kind in KINDS))
    edges = np.unique(np.searchsorted(lengths, np.arange(0, lengths[-1], file_bytes))).tolist() if len(lengths) else [0]
    return [range(start, end) for start, end in zip(edges, [*edges[1:], len(bank)], strict=True)]


def _schema(bank: Bank) -> pa.Schema:
    """With what tells ``datasets`` that two columns are images."""
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    parts = [PARTS[bank.info.task]] if bank.info.task in PARTS else []
    fields = [("image", image), ("mask", image)] + [(name, pa.string()) for name in (*_TEXTS, *parts)] + [(name, pa.int64()) for name in _NUMBERS]
    features = {name: {"_type": "Image"} if kind == image else {"dtype": str(kind), "_type": "Value"} for name, kind in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _write(bank: Bank, rows: range, columns: dict[str, np.ndarray], path: Path, schema: pa.Schema) -> None:
    import pyarrow.parquet as pq

    # JPEG and PNG are compressed; a page a column of a group saves copies
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False, "data_page_size": 2**25, "write_batch_size": _GROUP}
    groups = [range(start, min(start + _GROUP, rows.stop)) for start in range(rows.start, rows.stop, _GROUP)]
    with placed(path) as part, pq.ParquetWriter(part, schema, **plain) as writer:
        for group in in_turn(lambda group: _group(bank, group, columns, schema), groups):
            writer.write_table(group)


def _group(bank: Bank, rows: range, columns: dict[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    """The rows of one row group; ``columns`` are those of the index, whole."""
    import pyarrow as pa

    values: dict[str, Any] = {name: pa.array(column[rows.start : rows.stop], schema.field(name).type) for name, column in columns.items()}
    keys = columns["key"][rows.start : rows.stop].tolist()
    for name, kind in (("image", "jpg"), ("mask", "png")):
        data = _binaries([bank.read(key, kind, check=bank.check) for key in keys])
        values[name] = pa.StructArray.from_arrays([data, pa.array([f"{key}.{kind}" for key in keys])], ["bytes", "path"])
    if parts := PARTS.get(bank.info.task):
        facts = (parse_json(bank.read(key, "json", check=bank.check), f"{key}.json", "member") for key in keys)
        values[parts] = pa.array([json.dumps(each.get(parts, [])) for each in facts], pa.string())
    return pa.table([values[name] for name in schema.names], schema=schema)


def _binaries(values: list[bytes]) -> pa.Array:
    """A column of ``values``, which are copied once."""
    import pyarrow as pa

    offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))])


def _card(bank: Bank, split: str) -> str:
    front = {"license": "other", "task_categories": ["image-segmentation"],
             "configs": [{"config_name": "default", "data_files": [{"split": split, "path": f"data/{split}-*.parquet"}]}]}
    names = "\n".join(f"| {number} | {item.name} |" for number, item in enumerate(bank.info.categories.items))
    return "".join(f"{line}\n" for line in _card_lines(bank, yaml.safe_dump(front, sort_keys=False), names))


def _card_lines(bank: Bank, front: str, names: str) -> Iterator[str]:
    told = licences(bank)
    yield f"---\n{front}---\n\n# {bank.name}\n"
    yield f"{len(bank)} synthetic samples for {bank.info.task} segmentation, {told['note']}.\n"
    yield from (f"- {kind}: {licence}" for kind, licence in told["licences"].items())
    yield f"\nMasks hold category ids (RGB ids of segments or objects unless semantic); {bank.info.categories.ignore_id} is ignored.\n"
    yield f"| id | category |\n|---|---|\n{names}"

"""A few of a dataset's labelled images: what a method is asked about that is meant for few labels."""

from __future__ import annotations

import os
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError

from ..dataset_file import load_dataset, read_dataset_file
from ..splits import spread_ids, write_list
from .derived import NAME, derived_spec, need_own_folder
from .prepared import Prepared, Split, begin, place, prepare


def prepare_few(dataset: str | os.PathLike, count: int, output: str | os.PathLike) -> Prepared:
    """Write ``output/dataset.yaml``: ``count`` images of ``dataset``, spread evenly over their names, with their labels.

    No file is copied. The new dataset bears the old one's name, and stands in for it: configs stay as they are.

    Args:
        dataset: the YAML of a semantic dataset.
        count: images, 1 to as many as there are.
        output: a folder of its own.

    Raises:
        SegGenError: the dataset cannot be read, is not semantic or has fewer images; or ``output`` was begun with other
            options or holds what is given.
    """
    path, output = Path(dataset), Path(output)
    source, spec = load_dataset(path, "semantic"), read_dataset_file(path, "semantic")
    need_own_folder(spec, path, output)
    ids = [record["image_id"] for record in source.records()]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(ids):
        raise SegGenError(f"{count!r} labelled images of {path} cannot be taken", expected=f"1 to {len(ids)}, as many as it has",
                          remedy="mend the number of labelled images")
    options = {"dataset": str(path.resolve()), "count": count}
    begin(output, options)
    keys = {**derived_spec(spec, path, output), "files": "files.txt"}
    if spec.attributes:  # the images are the same
        keys["attributes"] = place(path.parent / spec.attributes, output)
    keys.pop("limit", None)
    write_list(output / "files.txt", spread_ids(ids, count))
    return prepare(output, [Split(NAME, keys, sources=[str(path)])], None, options)

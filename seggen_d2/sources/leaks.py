"""Images that two sets of records share, found by their paths and their bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import fingerprint


def shared_images(ours: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of image files, one of each, that are one file or hold the same bytes.

    Files are read only where one of the other side has the same size, so that large sets cost a look at each file's size.
    """
    sides = [sorted({str(record["file_name"]) for record in records}) for records in (ours, theirs)]
    sizes: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, files in enumerate(sides):
        for file in files:
            if Path(file).is_file():
                sizes[Path(file).stat().st_size][side].append(file)
    return sorted(pair for own, other in sizes.values() if own and other for pair in _same_bytes(own, other))


def _same_bytes(ours: list[str], theirs: list[str]) -> list[tuple[str, str]]:
    prints = {file: fingerprint(Path(file).read_bytes()) for file in {*ours, *theirs}}
    places: dict[str, str] = {}
    for file in theirs:
        places.setdefault(prints[file], file)
    return [(file, places[prints[file]]) for file in ours if prints[file] in places]


def check_apart(ours: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]], *, ours_is: str, theirs_is: str) -> None:
    """Two sets must share no image.

    Raises:
        SegGenError: they do; some are named.
    """
    shared = shared_images(ours, theirs)
    if shared:
        shown = "; ".join(own if own == other else f"{own} = {other}" for own, other in shared[:3]) + ("; ..." if len(shared) > 3 else "")
        raise SegGenError(f"{len(shared)} images of {theirs_is} are among those of {ours_is}", expected="no image in both", found=shown,
                          remedy=f"take them out of {ours_is}: figures on images that were trained on tell nothing")

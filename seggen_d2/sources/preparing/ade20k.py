"""ADE20K's scene parsing data (ADEChallengeData2016) as downloaded, to what training reads."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes
from seggen_d2.segmentation import Categories, Category

from ..folder import images_below
from ..splits import split_ids, write_list
from .places import content, folder_content, need_counts, need_folder
from .prepared import Prepared, Split, category_items, place, prepare
from .relabel import MaskFile, Relabel

NAME = "ADEChallengeData2016"
SIDES = {"train": "training", "val": "validation"}
COUNTS = {"training photos": 20_210, "validation photos": 2_000, "training masks": 20_210, "validation masks": 2_000}
CATEGORIES = 150
LAYOUT = "images/{training,validation}/*.jpg (20,210 and 2,000), annotations/{training,validation}/*.png, objectInfo150.txt"
INFO = ("objectInfo150.txt", "objectInfo150.csv")
STUFF = frozenset([1, 2, 3, 4, 6, 7, 10, 12, 14, 17, 22, 26, 27, 29, 30, 47, 49, 52, 53, 55, 60, 61, 62, 69, 80, 85, 92, 95, 97, 102, 106,
                   110, 114, 129, 141])  # numbers, from 1, where the list does not tell
COMPOUND = ("chest of drawers", "pool table", "screen door", "coffee table", "kitchen island", "swivel chair", "arcade machine",
            "television receiver", "dirt track", "conveyer belt", "swimming pool", "trade name", "traffic light", "crt screen", "bulletin board")
SAMPLE_SHARE = 0.25  # of photos that came without sides, to validate on


def prepare_ade20k(
    root: str | os.PathLike,
    output: str | os.PathLike,
    *,
    names: Categories | None = None,
    allow_counts: bool = False,
    workers: int = 1,
) -> Prepared:
    """Write ``output/{train,val}.yaml`` and masks of ids from 0 with 255 for unlabelled (as downloaded: 0, and ids from 1).

    Args:
        root: ``ADEChallengeData2016``, or the folder that holds it.
        output: what is written; photos stay where they are.
        names: the 150 categories; by default the first of each row's names in ``objectInfo150``.
        allow_counts: take a part of the dataset: other counts, and photos in ``images`` without sides.
        workers: processes.

    Raises:
        SegGenError: ``root`` is another folder or an archive, counts differ, or a mask cannot be used.
    """
    root, output = find_root(root), Path(output)
    known = names or read_names(root)
    if len(known) != CATEGORIES:
        raise SegGenError(f"{root}: the categories are not ADE20K's", expected=f"{CATEGORIES} names", found=f"{len(known)}", remedy="use objectInfo150.txt")
    flat = allow_counts and not (root / "images" / SIDES["train"]).is_dir()
    splits = _flat(root, output, known) if flat else [_side(root, output, known, side) for side in SIDES]
    found = {f"{folder} {what}": count for split, folder in zip(splits, SIDES.values(), strict=True)
             for what, count in (("photos", len(split.masks)), ("masks", len(split.masks)))}
    remarks = need_counts(str(root), COUNTS, found if flat else _counts(root), allow_counts)
    changes = ((0, known.ignore_id), *((number, number - 1) for number in range(1, CATEGORIES + 1)))
    relabel = Relabel(known, changed=changes)
    return prepare(output, splits, relabel, {"names": known.to_json(), "allow_counts": allow_counts}, workers=workers, remarks=remarks)


def find_root(root: str | os.PathLike) -> Path:
    """``root``, or ``ADEChallengeData2016`` in it.

    Raises:
        SegGenError: it is neither.
    """
    root = need_folder(root, "ADE20K", LAYOUT)
    for folder in (root, root / NAME):
        if (folder / "images").is_dir() and (folder / "annotations").is_dir():
            return folder
    full = [f"{entry.name} is there" for entry in root.iterdir() if entry.name.startswith("ADE20K_")]
    raise SegGenError(f"{root} does not hold ADE20K's scene parsing data", expected=LAYOUT, found=folder_content(root),
                      remedy=(f"{full[0]}: that is the full dataset, with another label space. " if full else "")
                      + f"download {NAME}.zip (scene parsing, 150 categories), unpack it, and name its folder")


def read_names(root: Path) -> Categories:
    """The 150 categories of ``objectInfo150``: the first name that no earlier row has; stuff and things.

    The ``.txt`` parts names by commas. The ``.csv`` parts all words by semicolons, so that compound names must be known.

    Raises:
        SegGenError: the file is missing, or of another form.
    """
    path = next((root / name for name in INFO if (root / name).is_file()), root / INFO[0])
    lines = read_bytes(path, "category list").decode("utf-8-sig", "replace").splitlines()
    rows = [{str(key).strip(): str(value).strip() for key, value in row.items()}
            for row in csv.DictReader(lines, delimiter="\t" if "\t" in lines[0] else ",")]
    if not rows or not {"Idx", "Name"} <= set(rows[0]):
        raise SegGenError(f"{path} is no list of ADE20K's categories", expected="columns Idx, Ratio, Train, Val, Name", found=lines[0][:80],
                          remedy="use the file that comes with the dataset")
    taken: list[Category] = []
    for row in rows:
        used, names = {category.name for category in taken}, _names(row["Name"])
        stuff = row["Stuff"] == "1" if "Stuff" in row else row["Idx"].isdigit() and int(row["Idx"]) in STUFF
        taken.append(Category(next((name for name in names if name not in used), ", ".join(names)), isthing=not stuff))
    return Categories(tuple(taken))


def _names(cell: str) -> list[str]:
    """``building, edifice`` or ``coffee;table;cocktail;table`` as names."""
    if ";" not in cell:
        return [name.strip() for name in cell.split(",") if name.strip()]
    words = cell.replace(";", " ")
    return [name for name in COMPOUND if words.startswith(f"{name} ") or words == name] + [word for word in cell.split(";") if word]


def _counts(root: Path) -> dict[str, int]:
    kinds = {"photos": ("images", ".jpg"), "masks": ("annotations", ".png")}
    return {f"{folder} {what}": sum(file.suffix.lower() == ending for file in images_below(root / below / folder))
            for folder in SIDES.values() for what, (below, ending) in kinds.items()}


def _side(root: Path, output: Path, known: Categories, side: str) -> Split:
    images, masks = (need_folder(root / kind / SIDES[side], f"ADE20K's {kind}", LAYOUT) for kind in ("images", "annotations"))
    files = images_below(images)
    made = output / "masks" / SIDES[side]
    pairs = _pairs(files, masks, made)
    return Split(side, _spec(side, images, made, output, known), pairs)


def _flat(root: Path, output: Path, known: Categories) -> list[Split]:
    """Photos without sides: a share of them validates."""
    images, masks, made = root / "images", root / "annotations", output / "masks"
    files = {file.stem: file for file in images_below(images)}
    splits = []
    for side, ids in zip(SIDES, split_ids(sorted(files), SAMPLE_SHARE), strict=True):
        write_list(output / f"{side}.txt", ids)
        spec = {**_spec(side, images, made, output, known), "files": f"{side}.txt"}
        splits.append(Split(side, spec, _pairs([files[name] for name in ids], masks, made)))
    return splits


def _pairs(photos: Sequence[Path], masks: Path, made: Path) -> list[MaskFile]:
    pairs = [MaskFile(str(photo), str(masks / f"{photo.stem}.png"), str(made / f"{photo.stem}.png")) for photo in photos]
    lacking = [pair for pair in pairs if not os.path.isfile(pair.mask)]
    if lacking:
        raise SegGenError(f"{len(lacking)} of {len(pairs)} photos have no mask", expected=lacking[0].mask,
                          found=content(file.name for file in images_below(masks)), remedy="unpack the dataset again")
    return pairs


def _spec(side: str, images: Path, made: Path, output: Path, known: Categories) -> dict:
    return {"name": f"ade20k_{side}", "images": place(images, output), "masks": place(made, output),
            "categories": category_items(known), "ignore_id": known.ignore_id}

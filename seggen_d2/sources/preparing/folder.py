"""One's own dataset: photos with masks of ids or of colours, or a COCO JSON, to what training reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.segmentation import Categories, Category

from ..category_list import read_categories
from ..folder import by_id, images_below
from ..splits import read_list, split_ids, write_list
from .coco_json import json_splits
from .color_table import ColorTable, read_color_table
from .places import folder_content, need_folder
from .prepared import Prepared, Split, category_items, check_begun, place, prepare
from .relabel import MaskFile, Relabel


@dataclass(frozen=True)
class FolderOptions:
    """What people have, and what they want of it. Paths are as given; "" is none.

    Attributes:
        name: of the dataset; its sides are called ``NAME_train`` and ``NAME_val``.
        images: folder of photos, read recursively.
        masks: folder of masks (semantic), or of panoptic id maps with ``json``.
        json: a COCO JSON, instance or panoptic; then ids, colours and categories follow from it.
        val_images, val_masks, val_json: a validation set of its own.
        train_list, val_list: text files of image ids, in place of folders of their own.
        val_share, group_pattern: else a share of the photos, see :func:`seggen_d2.sources.splits.split_ids`.
        categories: names in the order of their ids, or one file (:func:`read_categories`).
        things: the names of those that are countable.
        colors: a colour table, for RGB masks; its names are the categories where none are given.
        mask_name: the mask of photo ``a/b.jpg`` below ``masks``, ``{}`` standing for ``a/b``.
        reduce_zero: masks hold 0 for unlabelled and ids from 1.
        changed: ``FROM=TO`` of ids that change.
        ignore_id: the id of unlabelled pixels.
        limit: use the first so many photos of each side; 0 for all.
    """

    name: str
    images: str
    masks: str = ""
    json: str = ""
    val_images: str = ""
    val_masks: str = ""
    val_json: str = ""
    train_list: str = ""
    val_list: str = ""
    val_share: float = 0.1
    group_pattern: str = ""
    categories: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    colors: str = ""
    mask_name: str = "{}.png"
    reduce_zero: bool = False
    changed: tuple[str, ...] = ()
    ignore_id: int = 255
    limit: int = 0


def prepare_folder(options: FolderOptions, output: str | os.PathLike, *, workers: int = 1) -> Prepared:
    """Write ``output/train.yaml``, ``output/val.yaml``, and those masks that must be converted; photos stay where they are.

    Raises:
        SegGenError: what is given does not go together, a folder is none, or a mask cannot be used.
    """
    output = Path(output)
    _check(options)
    check_range("limit", options.limit, 0, 10**9)
    check_begun(output, asdict(options))
    need_folder(options.images, "folder of photos", "photos, in folders of folders if you like")
    if options.json:
        splits, remarks = json_splits(options, output)
        return prepare(output, splits, None, asdict(options), workers=workers, remarks=remarks)
    need_folder(options.masks, "folder of masks", f"a mask for each photo, {options.mask_name.format('a/b')} for a/b.jpg")
    colors = read_color_table(options.colors, options.ignore_id) if options.colors else None
    categories = _categories(options, colors)
    relabel = Relabel(categories, _named(colors, categories) if colors else None, _changes(options, categories))
    splits = _semantic_splits(options, output, relabel)
    return prepare(output, splits, relabel, asdict(options), workers=workers)


def _check(options: FolderOptions) -> None:
    semantic_words = ("colors", "categories", "reduce_zero", "changed", "things", "train_list", "val_list")
    if options.json and (extra := [word for word in semantic_words if getattr(options, word)]):
        raise SegGenError(f"--{extra[0].replace('_', '-')} means nothing with --json", expected="a JSON tells its own categories and ids",
                          remedy="leave it out")
    if not options.json and not options.masks:
        raise SegGenError("what labels the photos is not clear", expected="--masks DIR, or --json FILE (COCO)", remedy="see --help")
    pairs = (("val_images", "val_json" if options.json else "val_masks"), ("train_list", "val_list"))
    for one, other in pairs:
        if bool(getattr(options, one)) != bool(getattr(options, other)) and not (options.json and options.val_json and one == "val_images"):
            words = [f"--{word.replace('_', '-')}" for word in (one, other)]
            raise SegGenError(f"{words[0]} and {words[1]} go together", found=f"{words[0 if getattr(options, one) else 1]} alone")
    if options.val_images and options.train_list:
        raise SegGenError("the validation photos are told twice", expected="--val-images with --val-masks, or --train-list with --val-list")
    if options.reduce_zero and (options.colors or options.changed):
        raise SegGenError("--reduce-zero goes with masks of ids alone", expected="--reduce-zero, or --map-id, or --colors", remedy="leave the others out")


def _categories(options: FolderOptions, colors: ColorTable | None) -> Categories:
    if not options.categories and not colors:
        raise SegGenError("the categories are not named", expected="--categories NAME ..., or one file: .txt, .yaml, .json",
                          remedy="name them in the order of their ids; a colour table (--colors) names them, too")
    known = read_categories(options.categories, options.ignore_id) if options.categories else Categories.from_names(colors.names, options.ignore_id)
    strange = [name for name in options.things if name not in known.names]
    if strange:
        raise SegGenError(f"--things names {strange[0]!r}, which is no category", expected=", ".join(known.names), found=", ".join(strange))
    return Categories(tuple(Category(item.name, item.isthing or item.name in options.things) for item in known.items), known.ignore_id)


def _named(colors: ColorTable, categories: Categories) -> ColorTable:
    """The table with ids in the order of ``categories``; its names and theirs must be the same."""
    if set(colors.names) != set(categories.names):
        raise SegGenError("the colour table and the categories name different things",
                          expected=", ".join(categories.names), found=", ".join(colors.names), remedy="leave --categories out: the table names them")
    order = [categories.names.index(name) for name in colors.names]
    ids = tuple(number if number == colors.ignore_id else order[number] for number in colors.ids)
    return ColorTable(colors.names, colors.codes, ids, colors.ignore_id)


def _changes(options: FolderOptions, categories: Categories) -> tuple[tuple[int, int], ...]:
    if options.reduce_zero:
        return ((0, categories.ignore_id), *((number, number - 1) for number in range(1, len(categories) + 1)))
    pairs = [word.split("=") for word in options.changed]
    for word, pair in zip(options.changed, pairs, strict=True):
        if len(pair) != 2 or not all(part.strip().isdigit() and int(part) <= 65535 for part in pair):
            raise SegGenError(f"--map-id {word} is no change of ids", expected="FROM=TO, such as 11=255", found=word)
    return tuple((int(old), int(new)) for old, new in pairs)


def _semantic_splits(options: FolderOptions, output: Path, relabel: Relabel) -> list[Split]:
    photos = _photos(Path(options.images))
    if options.val_images:
        need_folder(options.val_masks, "folder of masks", "the validation photos' masks")
        folders = {"train": (options.images, options.masks, list(photos)),
                   "val": (options.val_images, options.val_masks, list(_photos(Path(options.val_images))))}
        return [_split(options, output, relabel, side, *folder, below=side) for side, folder in folders.items()]
    if options.train_list:
        sides = {"train": read_list(options.train_list), "val": read_list(options.val_list)}
    else:
        sides = dict(zip(("train", "val"), split_ids(list(photos), options.val_share, options.group_pattern), strict=True))
    _check_lists(sides, photos, options)
    for side, ids in sides.items():
        write_list(output / f"{side}.txt", ids)
    return [_split(options, output, relabel, side, options.images, options.masks, ids, listed=True) for side, ids in sides.items()]


def _check_lists(sides: dict[str, Sequence[str]], photos: dict[str, Path], options: FolderOptions) -> None:
    both = sorted(set(sides["train"]) & set(sides["val"]))
    if both:
        raise SegGenError(f"{len(both)} images are in both lists", found=", ".join(both[:5]), remedy="take them out of one: the verdict would be flattered")
    lacking = [image_id for ids in sides.values() for image_id in ids if image_id not in photos]
    if lacking:
        raise SegGenError(f"the lists name {len(lacking)} images that are not there", expected=f"paths below {options.images} without ending, such as "
                          f"{next(iter(photos))}", found=", ".join(lacking[:5]), remedy="mend the lists, or copy the photos")


def _photos(folder: Path) -> dict[str, Path]:
    """Photos by their ids.

    Raises:
        SegGenError: there is none, or two have one id.
    """
    need_folder(folder, "folder of photos", "photos, in folders of folders if you like")
    files = images_below(folder)
    if not files:
        raise SegGenError(f"folder {folder} holds no photos", expected=".jpg, .png, ...", found=folder_content(folder), remedy="check the path")
    return by_id(folder, files)


def _split(options: FolderOptions, output: Path, relabel: Relabel, side: str, images: str, masks: str, ids: Sequence[str], *,
           below: str = "", listed: bool = False) -> Split:
    photos = _photos(Path(images))
    given = {image_id: Path(masks) / options.mask_name.format(image_id) for image_id in ids[: options.limit or None]}
    lacking = [image_id for image_id, mask in given.items() if not mask.is_file()]
    if lacking:
        raise SegGenError(f"{len(lacking)} of {len(given)} photos have no mask", expected=str(given[lacking[0]]), found=folder_content(Path(masks)),
                          remedy="give each photo a mask, take it out, or tell the masks' names: --mask-name '{}_labels.png'")
    stays = relabel.keeps and options.mask_name == "{}.png"
    made = output / "masks" / below
    files = [MaskFile(str(photos[i]), str(mask), "" if stays else str(made / f"{i}.png")) for i, mask in given.items()]
    spec = {"name": f"{options.name}_{side}", "images": place(images, output), "masks": place(masks if stays else made, output),
            "categories": category_items(relabel.categories), "ignore_id": relabel.categories.ignore_id}
    extra = ({"files": f"{side}.txt"} if listed else {}) | ({"limit": options.limit} if options.limit else {})
    return Split(side, {**spec, **extra}, files)

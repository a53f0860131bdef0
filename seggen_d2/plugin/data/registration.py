"""Banks and people's own data as Detectron2 datasets. Nothing registers by itself: each call is explicit.

``register_all(root)`` looks for banks in folders that carry their own names::

    ROOT/seggen_ade20k_sem_seg_train_masksyn/{bank.json, index/, shards/}
    ROOT/seggen_ade20k_sem_seg_train_imgsyn/...
    ROOT/seggen_coco_2017_train_panoptic_imgsyn/...
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from seggen_d2.bank import read_info
from seggen_d2.bank.info import INFO_FILE
from seggen_d2.bank.store import is_url, join, locate, open_store
from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.segmentation import Categories
from seggen_d2.sources import FolderSource

from .bank_dataset import BankDataset
from .label_space import check_label_space
from .metadata import metadata_like, source_metadata

logger = logging.getLogger(__name__)

LIKE = ("ade20k_sem_seg_train", "coco_2017_train_panoptic", "coco_2017_train")
BANKS = {f"seggen_{like}_{strategy}": like for like in LIKE for strategy in ("masksyn", "imgsyn")}
_searched: list[str] = []  # roots that register_all was given, for the messages
_left_out: dict[str, Path | str] = {}  # banks under them that do not fit, by name


def register_all(root: str | os.PathLike) -> list[str]:
    """Register the banks under ``root`` whose folders carry the names of ``BANKS``; a log line says which there are.

    A bank that does not fit the dataset that its name tells is left out with a warning: a training that does not name
    it goes on, and one that does gets the error.

    Returns:
        The names registered, or registered before from the same folders.

    Raises:
        SegGenError: ``root`` is no folder, or a name in it is another dataset's.
    """
    place = locate(root)
    if isinstance(place, Path) and not place.is_dir():
        raise SegGenError(
            f"the folder of banks {root} does not exist",
            expected="a folder with " + ", ".join(sorted(BANKS)),
            found="no such folder",
            remedy="check SEGGEN.BANK_ROOT, or the argument of register_all",
        )
    if str(place) not in _searched:
        _searched.append(str(place))
    roots = {name: locate(join(place, name)) for name in BANKS}
    found = [name for name, bank in roots.items() if open_store(bank).facts(INFO_FILE) and _register_fitting(name, bank)]
    logger.info("banks under %s: %s", root, ", ".join(found) or "none (looked for " + ", ".join(BANKS) + ")")
    return found


def _register_fitting(name: str, root: Path | str) -> bool:
    """Register the bank at ``root`` by a name of ``BANKS``; whether it fits, which is told once where it does not."""
    try:
        register_bank(name, root, like=BANKS[name])
    except SegGenError as error:
        if name in DatasetCatalog:
            raise
        if _left_out.get(name) != root:
            _left_out[name] = root
            logger.warning("bank %s is left out: %s", name, error.problem)
        return False
    return True


def is_registered(name: str) -> bool:
    """Whether ``name`` is a dataset's.

    Raises:
        SegGenError: it is that of a bank which :func:`register_all` left out, and which still does not fit.
    """
    if name in _left_out and name not in DatasetCatalog:
        register_bank(name, _left_out[name], like=BANKS[name])
    return name in DatasetCatalog


def register_bank(name: str, path: str | os.PathLike, *, like: str) -> None:
    """Register the bank at ``path`` as dataset ``name``; its records are read lazily.

    Metadata is that of ``like``, without the locations of its files. The same bank under the same name may be
    registered again.

    Args:
        name: what configs call it, in ``SEGGEN.BANKS`` or ``DATASETS.TRAIN``.
        path: the bank's folder, or an fsspec URL.
        like: the registered dataset whose label space it shares, ``"ade20k_sem_seg_train"`` for example.

    Raises:
        SegGenError: there is no bank at ``path``, ``like`` is not registered, label spaces differ, or ``name`` is
            another dataset's.
    """
    root = locate(path)
    check_registered([like], f"register_bank({name!r}, like=...)")
    check_label_space(read_bank_info(root, f"register_bank({name!r})"), root, like)
    identity = {"bank_root": str(root), "bank_like": like}  # a project may change the metadata of `like` meanwhile
    _register(name, partial(BankDataset.open, root), {**metadata_like(like), **identity}, identity)


def register_folder(
    name: str,
    images: str | os.PathLike,
    masks: str | os.PathLike,
    categories: Sequence[str | dict[str, Any]] | Categories,
    ignore_id: int = 255,
) -> None:
    """Register a folder of images and one of single-channel PNG masks with the same stems, for semantic segmentation.

    Args:
        name: what configs call it.
        images: folder of images, read recursively.
        masks: folder of masks; ``masks/a/b.png`` belongs to ``images/a/b.jpg``.
        categories: names in the order of the masks' ids, or ``{name, isthing}``.
        ignore_id: id of unlabelled pixels; :class:`Categories` bring their own.

    Raises:
        SegGenError: a folder does not exist, the categories are none, or ``name`` is another dataset's.
    """
    if not isinstance(categories, Categories):
        value = {"items": list(categories), "ignore_id": ignore_id}
        categories = Categories.from_json(value, f"register_folder({name!r}): categories")
    for folder in (images, masks):
        if not Path(folder).is_dir():
            raise SegGenError(f"register_folder({name!r}): folder {folder} does not exist", remedy="check the path")
    register_source(FolderSource(name, Path(images).resolve(), Path(masks).resolve(), categories))


def register_source(source: Any) -> None:
    """Register what ``seggen_d2.sources.load_dataset`` opens, by its own name, for the task it tells.

    Raises:
        SegGenError: the name is another dataset's.
    """
    facts = source_metadata(source)
    _register(source.name, source.records, facts, facts)


def check_registered(names: Sequence[str], key: str) -> None:
    """Every name is a dataset's.

    Raises:
        SegGenError: one is not; the nearest is named, and where banks were looked for. Or it is a bank's that
            :func:`register_all` left out, and why.
    """
    for name in names:
        if not is_registered(name):
            looked = f"; banks were looked for in {', '.join(_searched)}" if _searched else ""
            raise SegGenError(
                f"{key}: no dataset is registered as {name!r}",
                expected="a name in Detectron2's DatasetCatalog" + looked,
                found=f"{name!r} is none of its {len(DatasetCatalog)} names",
                remedy=nearest(name, DatasetCatalog) + _hint(name),
            )


def is_bank(name: str) -> bool:
    """Whether ``name`` is a registered bank's."""
    return name in DatasetCatalog and bool(MetadataCatalog.get(name).get("bank_root"))


def bank_root(name: str, key: str = "SEGGEN.BANKS") -> Path | str:
    """The folder or URL of the bank ``name``: a registered bank's, or its own path or URL.

    Raises:
        SegGenError: it is neither; the nearest names are given, and where banks were looked for. Or
            :func:`register_all` left the bank out, and why.
    """
    if is_registered(name):
        root = MetadataCatalog.get(name).get("bank_root")
        if root is None:
            raise SegGenError(
                f"{key}: dataset {name!r} is no bank",
                expected="the name of a registered bank, or a bank's folder",
                remedy="real datasets belong into DATASETS.TRAIN",
            )
        return locate(root)
    if is_url(name) or Path(name).is_dir():
        return locate(name)
    registered = list(filter(is_bank, DatasetCatalog))
    raise SegGenError(
        f"{key}: {name!r} is neither a registered bank nor a folder",
        expected="one of: " + (", ".join(registered) or "no bank is registered") + "; or a bank's folder",
        found=f"looked for it in the DatasetCatalog, as the folder {Path(name).absolute()}"
        + "".join(f", and for banks in {root}" for root in _searched),
        remedy=(nearest(name, [*registered, *BANKS]) if registered or name.startswith("seggen") else "check the path")
        + _hint(name),
    )


def _hint(name: str) -> str:
    return f"; put the bank into BANK_ROOT/{name} and set SEGGEN.BANK_ROOT (or call register_all)" if name in BANKS else ""


def read_bank_info(root: Path | str, key: str) -> Any:
    """The description of the bank at ``root``.

    Raises:
        SegGenError: ``root`` does not exist or holds no bank.
    """
    if not open_store(root).facts(INFO_FILE):
        raise SegGenError(
            f"{key}: there is no bank at {root}",
            expected=f"a folder with {INFO_FILE}, index/ and shards/",
            found="a folder without it" if Path(root).is_dir() else "nothing of that name" if is_url(root) else "no such folder",
            remedy="check the path; tools/synthesize.py and tools/import_bank.py make banks",
        )
    return read_info(root)


def _register(name: str, records: Any, facts: dict[str, Any], identity: dict[str, Any]) -> None:
    """Into both catalogs, or neither; again only with the same ``identity``.

    Metadata that was asked for before, and is empty, is filled: a model may hold it already.
    """
    if name in DatasetCatalog:
        before = MetadataCatalog.get(name)
        for key, value in identity.items():
            if before.get(key) != value:
                raise SegGenError(
                    f"another dataset is registered as {name!r}",
                    expected=f"{key}: {before.get(key, 'none')}",
                    found=f"{key}: {value}",
                    remedy="give the second another name",
                )
        return
    if len(MetadataCatalog.get(name).as_dict()) > 1:  # more than its name
        MetadataCatalog.pop(name)
    DatasetCatalog.register(name, records)
    MetadataCatalog.get(name).set(**facts)

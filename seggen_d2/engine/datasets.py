"""Datasets by name, banks by folder, and the checks that keep them to one label space and apart from the test set."""

from __future__ import annotations

from collections.abc import Sequence

from seggen_d2.bank import Bank, read_info
from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.mixing.leaks import check_leaks
from seggen_d2.segmentation import check_same_categories
from seggen_d2.sources import load_dataset
from seggen_d2.sources.dataset_file import Source


class DatasetRegistry:
    """The datasets that a config knows.

    Args:
        files: dataset YAML files; each registers the ``name`` it holds.
        task: of all of them.

    Raises:
        SegGenError: two files hold one name, or a file cannot be read or is of another task.
    """

    def __init__(self, files: Sequence[str], task: str = "semantic"):
        self.sources: dict[str, Source] = {}
        for file in files:
            source = load_dataset(file, task=task)
            if source.name in self.sources:
                raise SegGenError(
                    f"two files of SEGGEN.DATASETS hold a dataset named {source.name!r}",
                    found=", ".join(files),
                    remedy="give one of them another name",
                )
            self.sources[source.name] = source

    def get(self, names: Sequence[str], key: str) -> list[Source]:
        """The datasets ``names``; ``key`` is where they were asked for.

        Raises:
            SegGenError: no name, an unknown one (the nearest is suggested), or label spaces that differ.
        """
        if not names:
            raise SegGenError(f"{key} names no dataset", remedy=nearest("", self.sources))
        for name in names:
            if name not in self.sources:
                raise SegGenError(
                    f"{key}: no dataset is named {name!r}",
                    expected="a name that a file of SEGGEN.DATASETS holds; those that Detectron2 knows serve its engine alone",
                    found=", ".join(self.sources) or "no file in SEGGEN.DATASETS",
                    remedy=_known(self.sources, name) + f"list a dataset YAML with `name: {name}` in SEGGEN.DATASETS (datasets/README.md)",
                )
        found = [self.sources[name] for name in names]
        for other in found[1:]:
            check_same_categories(found[0].categories, other.categories, a_is=found[0].name, b_is=other.name, things=False)
        return found


def _known(sources: dict[str, Source], name: str) -> str:
    return f"{nearest(name, sources)} Else " if sources else ""


def open_banks(folders: Sequence[str], train: Source) -> list[Bank]:
    """Open the banks to swap from.

    Raises:
        SegGenError: a folder holds no bank or an empty one, or it was made for another task or label space.
    """
    banks = []
    for folder in folders:
        info = read_info(folder)
        if info.task != train.task:
            raise SegGenError(
                f"bank {folder} was made for another task",
                expected=f"{train.task} (dataset {train.name})",
                found=info.task,
                remedy="use a bank of that task, or make one",
            )
        check_same_categories(train.categories, info.categories, a_is=f"dataset {train.name}", b_is=f"bank {folder}",
                              things=False)
        banks.append(Bank(folder, check=True))
        if not len(banks[-1]):
            raise SegGenError(
                f"bank {folder} holds no sample", remedy="synthesize into it first, or leave it out of SEGGEN.BANKS"
            )
    return banks


def check_no_leak(banks: Sequence[Bank], train: Sequence[Source], tests: Sequence[Source]) -> None:
    """No bank may be made from a test image (:func:`seggen_d2.mixing.leaks.check_leaks`).

    Raises:
        SegGenError: one was.
    """
    if not banks:
        return
    training = [record for source in train for record in source.records()]
    for test in tests:
        check_leaks(banks, test.records(), test.name, training)

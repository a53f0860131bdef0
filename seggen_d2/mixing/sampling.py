"""Which synthetic sample: a picker turns one number in [0, 1) into a row of its bank, or None where no row fits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from seggen_d2.bank.format import UNLABELLED
from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.weights import relative_weights
from seggen_d2.segmentation import check_same_categories

if TYPE_CHECKING:
    from seggen_d2.bank import Bank


class Picker(Protocol):
    """``draw`` is uniform in [0, 1)."""

    def __call__(self, record: Mapping[str, Any], draw: float) -> int | None:
        """A row of the bank for the real ``record``."""


class Uniform:
    """Any sample, each as likely."""

    def __init__(self, bank: Bank):
        self.count = len(bank)

    def __call__(self, record: Mapping[str, Any], draw: float) -> int:
        return int(draw * self.count)


class Paired:
    """A variant of the same real image, which is the variant's source: ``names_of`` says by which names."""

    def __init__(self, bank: Bank):
        self.bank = bank

    def __call__(self, record: Mapping[str, Any], draw: float) -> int | None:
        for name in names_of(record):
            rows = self.bank.variants(name)
            if len(rows):
                return int(rows[int(draw * len(rows))])
        return None


def names_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What a bank may call the real image of ``record``: its ``image_id``, its file's stem, and that in two more forms.

    With its folder, as datasets in folders of folders (Cityscapes' cities) tell their images apart; and a number without
    its leading zeros, as COCO's ids are.
    """
    image_id, file_name = record.get("image_id"), record.get("file_name")
    found = () if image_id is None else (str(image_id),)
    if not file_name:
        return found
    path = PurePath(str(file_name))
    more = [f"{path.parent.name}/{path.stem}"] if path.parent.name else []
    more += [str(int(path.stem))] if path.stem.isdecimal() else []
    return tuple(dict.fromkeys((*found, path.stem, *more)))


class Weighted:
    """Each sample as likely as its weight, a column of the index or of the scores.

    Raises:
        SegGenError: see :func:`cumulative`.
    """

    def __init__(self, bank: Bank, column: str):
        self.sums = cumulative(bank.column(column), f"column {column!r} of bank {bank.root}", len(bank))

    def __call__(self, record: Mapping[str, Any], draw: float) -> int:
        return pick(self.sums, draw)


SAMPLINGS = {"uniform": Uniform, "paired": Paired, "weighted": Weighted}


def make_pickers(banks: Sequence[Bank], sampling: str, sample_weights: str | None) -> list[Picker]:
    """The picker of each bank, by arguments that go together (:func:`check_goes_with`).

    Raises:
        SegGenError: the weights of a bank cannot be used.
    """
    maker = SAMPLINGS[sampling]
    return [maker(bank, sample_weights) if sample_weights else maker(bank) for bank in banks]


def check_goes_with(sampling: str, sample_weights: str | None, p_aug_of: Any) -> None:
    """Weights go with ``weighted``, and p_aug by the real image with ``paired``.

    Raises:
        SegGenError: one comes without the other, or the sampling is unknown.
    """
    check_choice("sampling", sampling, SAMPLINGS)
    if p_aug_of is not None and sampling != "paired":
        raise SegGenError(
            "p_aug by the real image goes with sampling 'paired' alone",
            expected="'paired': the synthetic sample holds the classes of the image that it stands in for",
            found=f"sampling {sampling!r}",
            remedy="set SEGGEN.SAMPLING to paired, or leave SEGGEN.P_AUG_BY out",
        )
    if (sampling == "weighted") != bool(sample_weights):
        raise SegGenError(
            f"sampling {sampling!r} and sample_weights do not go together",
            expected="'weighted' with a column, or another sampling without",
            found=f"sample_weights {sample_weights!r}",
            remedy="set both, or neither",
        )


def cumulative(weights: Sequence[float] | np.ndarray, what: str, count: int) -> np.ndarray:
    """Running shares: ``(count,)`` float64, non-decreasing, the last one 1.

    Raises:
        SegGenError: another number of weights, one that is negative or not finite, or none above 0.
    """
    parts = relative_weights(weights, what, "choose another column, or mend the one that holds them")
    if parts.shape != (count,):
        raise SegGenError(f"{what} has another length", expected=f"{count} weights", found=f"shape {parts.shape}")
    sums = np.cumsum(parts)
    return sums / sums[-1]


def pick(sums: np.ndarray, draw: float) -> int:
    """The position whose share holds ``draw`` in [0, 1); one of weight 0 never."""
    return int(np.searchsorted(sums, draw, side="right"))


def shares_of_banks(banks: Sequence[Bank], weights: Sequence[float] | None) -> np.ndarray:
    """``(banks,)`` weights, by default the banks' sizes.

    Raises:
        SegGenError: see :func:`cumulative`.
    """
    given = list(weights) if weights is not None and len(weights) else [len(bank) for bank in banks]
    return np.diff(cumulative(given, "the list of bank weights", len(banks)), prepend=0.0)


def check_banks(banks: Sequence[Bank]) -> None:
    """Banks that are drawn from together hold labelled samples, of one task and one label space.

    Raises:
        SegGenError: naming the bank, or both banks that differ.
    """
    for bank in banks:
        if not len(bank):
            raise SegGenError(
                f"bank {bank.root} is empty",
                expected="1 sample or more",
                found="0",
                remedy="let its synthesis finish, or leave it out",
            )
        if bank.info.job.get("strategy") == UNLABELLED:
            raise SegGenError(
                f"bank {bank.root} holds images without labels",
                expected="a bank with masks",
                found=f"strategy {UNLABELLED}",
                remedy=f"label it: python tools/label_bank.py --bank {bank.root} --segmenter RUN --output ANOTHER_FOLDER",
            )
    for one, other in itertools.pairwise(banks):
        sides = f"bank {one.root}", f"bank {other.root}"
        if one.info.task != other.info.task:
            raise SegGenError(
                f"{sides[0]} and {sides[1]} were made for different tasks",
                expected=f"{sides[0]}: {one.info.task}",
                found=f"{sides[1]}: {other.info.task}",
                remedy="use banks of one task",
            )
        categories, is_semantic = (one.info.categories, other.info.categories), one.info.task == "semantic"
        check_same_categories(*categories, a_is=sides[0], b_is=sides[1], things=not is_semantic)

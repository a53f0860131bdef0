"""Scores of a bank, kind by kind and shard by shard; what is finished is not made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import json_bytes, write_bytes
from seggen_d2.foundation.processes import memory_told
from seggen_d2.foundation.seeds import fingerprint, fingerprint_of_files
from seggen_d2.modeling import Mask2Former, load_mask2former
from seggen_d2.modeling.checkpoint import check_weights, model_folder
from seggen_d2.segmentation.naming import Naming, read_synonyms
from seggen_d2.sources import load_dataset

from .alignment import Alignment
from .captions import Captions
from .feature_models import BackboneFeatures, FeatureModel, load_image_model
from .filtering import Filter, FilterOptions
from .layouts import Histogram, Layouts, RealMasks
from .page import page as page_of
from .photos import Features, Photos
from .samples import Part, Real, check_dataset, open_bank, parts_of
from .sidecar import Sidecar


class Score(Protocol):
    """One kind of score.

    Attributes:
        kind: its name.
        columns: the sidecar's columns of a part, by name (``tick`` is called for each sample); None where samples have none of their own.
    """

    kind: str
    columns: Callable[[Part, Callable[[], Any]], dict[str, Any]] | None

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """The figures over all samples; JSON values."""


@dataclass(frozen=True)
class ScoringOptions:
    """What a bank is scored by.

    Attributes:
        dataset: YAML of the real training set.
        segmenter: a finished run on real images (its folder, or its model_final); "" leaves out what needs one.
        features: a transformers folder of an image model; "" takes the segmenter's backbone.
        test: YAML of a real held-out set, on which the segmenter's own figure is the scale of the alignment.
        synonyms: YAML of other words for categories in captions, ``person: [man, woman]``.
        scores: the kinds to make; none makes all that are possible but the filter.
        limit: score so many samples, spread evenly over the bank; 0 scores all.
        batch: images at once.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda:0``, ...
        filter: what the kind ``filter`` doubts, drops and draws more often.
    """

    dataset: str
    segmenter: str = ""
    features: str = ""
    test: str = ""
    synonyms: str = ""
    scores: tuple[str, ...] = ()
    limit: int = 0
    batch: int = 8
    device: str = "auto"
    filter: FilterOptions = field(default_factory=FilterOptions)

    def __post_init__(self) -> None:
        check_range("--batch", self.batch, 1, 10**4)
        for kind in self.scores:
            check_choice("--scores", kind, SCORES)
        if "filter" in self.scores and self.filter.reference == "test" and not self.test:
            raise SegGenError("--reference test needs a real held-out set", expected="--test, a dataset's YAML", found="none",
                              remedy="name one, or give --reference bank")


class Setting:
    """What scores are made from; networks and datasets are opened when they are first needed.

    Raises:
        SegGenError: the bank cannot be scored, or the dataset is of another task or label space.
    """

    def __init__(self, bank: str, name: str, options: ScoringOptions):
        self.options, self.bank = options, open_bank(bank)
        self.sidecar = Sidecar(self.bank, name)
        self.real = Real(check_dataset(self.bank, load_dataset(options.dataset)))
        self.test = Real(check_dataset(self.bank, load_dataset(options.test))) if options.test else None
        self.masks = RealMasks(self.sidecar, self.real)

    @cached_property
    def parts(self) -> list[Part]:
        return parts_of(self.bank, self.options.limit)

    @property
    def filter(self) -> FilterOptions:
        """The filter's options, with what ``auto`` stands for."""
        options = self.options.filter
        return replace(options, reference="test" if self.test else "bank") if options.reference == "auto" else options

    @cached_property
    def segmenter(self) -> Mask2Former:
        return load_mask2former(self.options.segmenter, self.bank.info.categories).to(self.device)

    @cached_property
    def feature_model(self) -> FeatureModel:
        if not self.options.features:
            return BackboneFeatures(self.segmenter)
        found = load_image_model(self.options.features)
        found.model.to(self.device)
        return found

    @cached_property
    def naming(self) -> Naming:
        return Naming(self.bank.info.categories, read_synonyms(self.options.synonyms) if self.options.synonyms else None)

    @cached_property
    def device(self) -> str:
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.options.device == "auto" else self.options.device

    def facts(self, kind: str) -> dict[str, Any]:
        """What a kind of score depends on, for ``facts.json``."""
        own: dict[str, Any] = {"limit": self.options.limit}
        if kind == "captions":
            words = read_synonyms(self.options.synonyms) if self.options.synonyms else {}
            return {**own, "synonyms": {"name": self.options.synonyms or "none", "print": fingerprint(json_bytes(words))}}
        if kind in BY_SEGMENTER:
            own["segmenter"] = _weights(self.options.segmenter, model_folder(self.options.segmenter))
        else:
            own["dataset"] = {"name": self.options.dataset, "print": self.real.print}
        if kind == "filter":
            own |= asdict(self.filter)
            if self.filter.reference == "test":
                own["reference"] = {"name": self.options.test, "print": self.test.print}
        if kind == "features":
            folder = self.options.features or self.options.segmenter
            own["network"] = _weights(folder, Path(folder) if self.options.features else model_folder(folder))
        return own


BY_SEGMENTER = ("alignment", "filter")  # kinds that the segmenter alone decides
ASKED_FOR = ("filter",)  # kinds that are made only where they are asked for: they serve trainings, and are no figures of quality


def _weights(name: str, folder: Path) -> dict[str, str]:
    return {"name": name, "print": fingerprint_of_files(check_weights(folder))}


SCORES: dict[str, Callable[[Setting], Score]] = {
    "alignment": lambda of: Alignment(of.sidecar, of.segmenter, test=of.test, batch=of.options.batch),
    "features": lambda of: Features(of.sidecar, of.real, of.feature_model, of.options.batch),
    "photos": lambda of: Photos(of.sidecar, of.real),
    "layouts": lambda of: Layouts(of.sidecar, of.masks),
    "histogram": lambda of: Histogram(of.sidecar, of.masks),
    "captions": lambda of: Captions(of.sidecar, of.naming),
    "filter": lambda of: Filter(of.sidecar, of.segmenter, of.filter, of.parts, test=of.test, batch=of.options.batch),
}
"""The kinds of scores. A further one is a class as :class:`Score` says, and a line here."""


def score_bank(bank: str | os.PathLike, options: ScoringOptions, name: str = "quality", page: str | os.PathLike = "") -> dict[str, Any]:
    """Score a bank, and write the sidecar ``scores/NAME``; shards and index are only read.

    Args:
        bank: its folder or URL.
        name: of the sidecar.
        page: an HTML file to write: the figures, the worst aligned samples, the nearest photos; "" writes none.

    Returns:
        ``{kind: figures}`` of the kinds that were asked for, with ``bank`` and ``samples``; the same is in ``scores/NAME/summary.json``.

    Raises:
        SegGenError: bank, dataset and models do not fit each other, or the sidecar was begun with others.
    """
    kinds = _kinds(options)
    setting = Setting(os.fspath(bank), name, options)
    parts = setting.parts
    setting.sidecar.begin({kind: setting.facts(kind) for kind in kinds})
    told: dict[str, Any] = {"bank": str(setting.bank.root), "samples": sum(map(len, parts))}
    with memory_told("this network", expected=f"room for batches of {options.batch}", remedy="give a smaller --batch; finished shards are kept"):
        scores = {kind: SCORES[kind](setting) for kind in kinds}
        for kind, score in scores.items():
            _make(score, parts, setting.sidecar)
            told[kind] = score.summary(parts)
        setting.sidecar.summarise(told)
        if page:
            write_bytes(page, page_of(setting.bank, setting.real, told, scores.get("alignment")).encode())
    return told


def _kinds(options: ScoringOptions) -> list[str]:
    """The kinds to make, in their order.

    Raises:
        SegGenError: one of them needs a network that is not named.
    """
    lacking = {kind for kind in BY_SEGMENTER if not options.segmenter} | ({"features"} if not (options.segmenter or options.features) else set())
    impossible = sorted(lacking & {*options.scores})
    if impossible:
        raise SegGenError(f"--scores {', '.join(impossible)} needs a network", expected="--segmenter, a finished run on real images"
                          + (", or --features" if impossible == ["features"] else ""), found="none", remedy="name one, or leave these scores out")
    wanted = options.scores or [kind for kind in SCORES if kind not in ASKED_FOR]
    return [kind for kind in SCORES if kind not in lacking and kind in wanted]


def _make(score: Score, parts: Sequence[Part], sidecar: Sidecar) -> None:
    """Write what is missing of a kind."""
    if score.columns is None:
        return
    done = sidecar.done(score.kind, parts)
    with tqdm(total=sum(map(len, parts)), initial=sum(map(len, done)), desc=score.kind, unit="sample", disable=None) as bar:
        for part in (part for part in parts if part not in done):
            sidecar.write(score.kind, part, score.columns(part, bar.update))

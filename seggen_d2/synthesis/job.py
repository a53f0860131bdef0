"""A synthesis job: options, data and generators put together, and the bank that they describe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property, partial
from operator import mul
from typing import Any

from tqdm import tqdm

from seggen_d2.bank import BankInfo
from seggen_d2.captions import read_caption_facts, read_edits, read_prompts_of
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes
from seggen_d2.foundation.seeds import fingerprint
from seggen_d2.sources import Source, load_dataset
from seggen_d2.sources.masks import MASK_FILE
from seggen_d2.sources.weights import read_weights

from .networks import networks_for
from .options import SynthesisOptions
from .order import grains
from .plan import Plan, PlannedSource

READERS = 8  # threads; masks may lie on a slow network drive
PARTS = {"panoptic": "segments_info", "instance": "annotations"}


class Job:
    """Everything that a worker needs; opening it checks all inputs against each other.

    Args:
        strategy: ``masksyn``, ``imgsyn`` or ``unlabelled``.
        options: what to make.
        masks_print: :attr:`masks_print` as another process of the same command found it, so that it reads no mask twice.

    Attributes:
        source: the real dataset.
        records: its records by ``source_id``.
        networks: that paint.
        plan: the samples.

    Raises:
        SegGenError: an input is missing, or dataset and generators do not fit each other.
    """

    def __init__(self, strategy: str, options: SynthesisOptions, masks_print: str = ""):
        self.strategy, self.options = strategy, options
        if strategy != "imgsyn" and options.images.strength < 1:
            raise SegGenError("images.strength is for ImgSyn", expected=f"strength 1.0 for {strategy}", found=str(options.images.strength),
                              remedy="only samples with a human mask have a photo to start from: leave strength out")
        self.source = load_dataset(options.dataset)
        self.records = {str(record["source_id"]): record for record in self.source.records()}
        self.networks = networks_for(strategy, options, self.source)
        self.plan = self._plan()
        if masks_print:
            self.__dict__["masks_print"] = masks_print

    def _plan(self) -> Plan:
        """The plan; sources of one size come together, so that batches, which hold one size, are full."""
        options, geometry = self.options, self.networks.geometry
        prompts = read_prompts_of(self.source, options.captions, options.dataset)
        sources = [PlannedSource(source_id, prompts[str(record["image_id"])].captions, geometry.views(record["height"], record["width"]))
                   for source_id, record in self.records.items()]
        sources.sort(key=lambda source: source.views[0].out)
        weights = self._weights(sources, [prompts[str(self.records[source.source_id]["image_id"])].weight for source in sources])
        return Plan(self.strategy, sources, options.replicas, options.seed, options.shard_size, options.batch, options.samples, weights,
                    options.first_caption)

    def _weights(self, sources: Sequence[PlannedSource], of_captions: Sequence[float]) -> tuple[float, ...]:
        """Each source's: the file's, times its captions' where samples are made from captions alone; none where all are alike."""
        path, count = self.options.weights, len(sources)
        given = read_weights(path, self.source.name, [source.source_id for source in sources]) if path else (1.0,) * count
        of_captions = (1.0,) * count if self.strategy == "imgsyn" else of_captions
        return tuple(map(mul, given, of_captions)) if path or any(weight != 1 for weight in of_captions) else ()

    @cached_property
    def masks_print(self) -> str:
        """A fingerprint of all human masks, and of the photos where samples start from them."""
        look = partial(_mask_print, source=self.source, photos=self.options.images.strength < 1)
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(look, self.records.values())
            bar = tqdm(found, total=len(self.records), desc="fingerprint of the masks", unit="mask", mininterval=1, delay=2)
            return fingerprint("".join(bar).encode())

    def info(self) -> BankInfo:
        """The bank's description: what decides its samples, without paths, times and hosts."""
        sources = self.plan.sources
        job = {"strategy": self.strategy, "dataset": self.source.name, "sources": len(sources),
               "captions": _text_print([(source.source_id, source.captions) for source in sources]),
               "sizes": _text_print([source.views[0].source for source in sources]),
               "geometry": asdict(self.networks.geometry), **self.options.facts(self.strategy), **self.networks.facts()}
        if len(self.plan.weights):
            job["weights"] = _text_print([[source.source_id for source in sources], grains(self.plan.weights).tolist()])
        if edits := read_edits(self.options.captions).facts:
            job["edits"] = dict(edits)
        if self.strategy == "imgsyn":
            job["masks"] = self.masks_print
        return BankInfo(self.source.task, self.source.categories, self.networks.palette, tuple(self._models()), job)

    def _models(self) -> Iterator[dict[str, Any]]:
        """Each model that had a part in the bank, with its licence."""
        yield from self.networks.models()
        facts = read_caption_facts(self.options.captions)
        if any(facts.values()):
            yield {"kind": "captioner", **facts}


def _text_print(values: list) -> str:
    return fingerprint(json.dumps(values).encode())


def _mask_print(record: dict[str, Any], source: Source, photos: bool) -> str:
    """A fingerprint of one record's mask: its file's bytes, and its segments or objects; of its photo, too, where ``photos``."""
    file, parts = MASK_FILE.get(source.task), PARTS.get(source.task)
    data = read_bytes(record[file], "mask") if file else b""
    data += read_bytes(record["file_name"], "image") if photos else b""
    return fingerprint(data + (json.dumps(record[parts], sort_keys=True, default=str).encode() if parts else b""))

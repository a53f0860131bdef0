"""What ``tools/train_backbone.py`` does once its arguments are parsed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import set_seed

from seggen_d2 import __version__
from seggen_d2.foundation.files import read_json, write_json
from seggen_d2.foundation.options import check_same_options
from seggen_d2.mapping import DatasetMapper, training_augmentations
from seggen_d2.mixing import NumberedSampler
from seggen_d2.modeling.backbone_weights import save_backbone
from seggen_d2.modeling.word_classifier import WordClassifier

from ..callbacks import ProgressBar, StopOnSignal
from ..checkpoint import iteration_of, last_checkpoint
from ..loader import train_loader
from ..log import JsonLines
from .measure import word_precision
from .options import BackboneOptions
from .pictures import Record, captioned_pictures, split
from .trainer import WordTrainer, stacked
from .words import in_singular, vocabulary, word_labels, words_of

FACTS = "backbone.json"
_LONGEST = 2**31  # pixels of an edge: no limit
logger = logging.getLogger(__name__)


def pretrain(options: BackboneOptions, output: Path) -> dict[str, Any]:
    """Train a backbone and save it as a transformers folder; the same call resumes, and a finished one is told.

    Args:
        output: ``config.json``, ``model.safetensors``, ``preprocessor_config.json`` and the facts, ``backbone.json``; states
            in ``state/`` and a log in ``metrics.json``.

    Returns:
        The facts.

    Raises:
        SegGenError: pictures or captions do not fit, or the folder was begun with other options.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; a state was written first.
    """
    check_same_options(output, json.loads(json.dumps(asdict(options))))
    if (output / FACTS).is_file():
        return read_json(output / FACTS, "backbone facts")
    records = captioned_pictures(options.pictures, options.captions, options.limit)
    learnt, held, words = examples(records, options)
    logger.info("%d pictures, %d more held out; words to tell: %d", len(learnt), len(held), len(words))
    set_seed(options.solver.seed)
    model = WordClassifier(options.backbone, len(words), options=options.backbone_options)
    seconds = train(model, learnt, options, output)
    facts = {"backbone": options.backbone, "backbone_options": options.backbone_options, "words": list(words), "options": asdict(options),
             "learnt_from": len(learnt), "held_out": word_precision(*predict(model, held, options), words), "seconds": round(seconds, 1),
             "seggen_d2": __version__}
    save_backbone(model, output, options.crop)
    write_json(output / FACTS, facts)
    return facts


def examples(records: Sequence[Record], options: BackboneOptions) -> tuple[list[Record], list[Record], tuple[str, ...]]:
    """Records to learn from and held out ones, each with its ``words`` (W,) float32, and the W words, which the former's captions tell.

    Raises:
        SegGenError: there are too few pictures, or no word fits.
    """
    parts = split(records, options.held_out)
    found = [[words_of(record["captions"], options.phrase) for record in part] for part in parts]
    known = set().union(*found[0])
    found = [[in_singular(words, known) for words in part] for part in found]
    words = vocabulary(found[0], min_pictures=options.min_pictures, max_share=options.max_share)
    learnt, held = ([{"file_name": record["file_name"], "words": row} for record, row in zip(part, word_labels(each, words), strict=True)]
                    for part, each in zip(parts, found, strict=True))
    return learnt, held, words


def train(model: WordClassifier, records: Sequence[Record], options: BackboneOptions, output: Path) -> float:
    """Train to the last step, from the newest state in ``output/state``.

    Returns:
        Seconds of this call.
    """
    solver, checkpoint = options.solver, last_checkpoint(output / "state")
    past, began = iteration_of(checkpoint) if checkpoint else 0, time.perf_counter()
    crop = options.crop, options.crop
    mapper = DatasetMapper(training_augmentations(options.sizes, _LONGEST, crop=crop, color_jitter=options.color_jitter, flip=True), seed=solver.seed)
    sampler = NumberedSampler(len(records), seed=solver.seed, start_number=past * solver.batch)
    loader = train_loader(records, mapper, sampler, batch_size=solver.batch, workers=solver.workers)
    lines, bar = JsonLines(output / "metrics.json", keep_before=past), ProgressBar(f"{options.backbone}, words")

    def on_log(entry: dict[str, Any]) -> None:
        bar.show({"loss": entry["loss"]})
        lines(entry)

    with StopOnSignal() as stop:
        trainer = WordTrainer(model, loader, solver, output / "state", on_log=on_log, callbacks=[bar, stop])
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.stopped and trainer.state.global_step < solver.steps:
        raise KeyboardInterrupt
    return time.perf_counter() - began


@torch.no_grad()
def predict(model: WordClassifier, records: Sequence[Record], options: BackboneOptions) -> tuple[Tensor, Tensor]:
    """Logits and labels, (N, W) both, of pictures brought to ``crop`` pixels and otherwise as they are; on the CPU."""
    mapper = DatasetMapper(training_augmentations([options.crop], _LONGEST, crop=(options.crop, options.crop), color_jitter=False, flip=False))
    found, size = [], options.solver.batch
    for first in tqdm(range(0, len(records), size), desc="held-out words", unit="batch"):
        numbers = range(first, min(first + size, len(records)))
        images, labels = stacked([mapper(records[number], number=number) for number in numbers])
        found.append((model.eval()(images).cpu(), labels))
    return torch.cat([logits for logits, _ in found]), torch.cat([labels for _, labels in found])

"""Fine-tune a base into Text2Mask or Mask2Img."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from seggen_d2.foundation.errors import check_choice
from seggen_d2.foundation.files import write_json
from seggen_d2.foundation.options import save_options

from ..directory import KINDS, read_card, save_generator
from .devices import start_processes, training_memory_told
from .generator_options import GeneratorOptions
from .loop import train
from .work import Work

__all__ = ["GeneratorOptions", "Work", "train_generator"]
log = logging.getLogger(__name__)


@training_memory_told()
def train_generator(kind: str, options: GeneratorOptions, output: Path) -> None:
    """Train a generator into ``output`` (states in ``output/training``, the model in ``output/model``).

    The same call resumes; a finished generator is left as it is. With adapters, ``output/adapter`` holds them alone.

    Raises:
        SegGenError: bad input; the message names it.
    """
    check_choice("kind", kind, KINDS)
    if (output / "model" / "seggen.json").is_file():
        read_card(output / "model", kind)
        log.info("%s in %s is finished; remove the folder to train it anew", kind, output)
        return
    work = Work(kind, options)
    examples = work.examples(output / "cache")
    validation = work.validation(examples)
    work.clear_for_training()
    facts = train(work.objective, examples, options.training, output / "training", identity=work.identity(examples), validation=validation)
    if not start_processes().is_main_process:
        return
    save_options(output, options)
    shutil.rmtree(output / "model", ignore_errors=True)  # without its card it was never finished
    save_generator(output / "model", work.finished(output / "adapter"), work.card(examples, facts))
    write_json(output / "facts.json", facts)
    log.info("%s is finished: %s; the states in %s serve only to train on, and may be removed", kind, output / "model", output / "training")

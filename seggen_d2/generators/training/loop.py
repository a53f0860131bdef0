"""The one training loop: the base, its VAE, Text2Mask and Mask2Img all go through it, on one device or several.

What is trained is told by a small object, the :class:`Objective`. Which examples a step sees and which noise it draws
are functions of (seed, step, process), so that a resumed run continues the run that was stopped.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seggen_d2.foundation.stopping import stop_noted

from .devices import start_processes
from .options import Batch, Examples, Objective, Shuffled, TrainingOptions, Validation, example_numbers
from .run import Run

__all__ = ["Batch", "Examples", "Objective", "Shuffled", "TrainingOptions", "Validation", "example_numbers", "start_processes", "train"]


def train(objective: Objective, examples: Examples, options: TrainingOptions, output: Path, *,
          identity: dict[str, Any] | None = None, validation: Validation | None = None) -> dict[str, Any]:
    """Train ``objective`` to the last step; a state found under ``output/state`` is continued.

    Args:
        objective: what is trained.
        examples: what it is trained on.
        options: how.
        output: folder of the states, the log and the best weights (``output/best``).
        identity: JSON facts (base, dataset, size, ...) that a state must share to be continued.
        validation: what is measured along the way.

    On return the trainable module holds the best weights where a validation chose some, else the averaged ones (or the
    last, without averaging).

    Returns:
        Facts for the model card: steps, examples, seconds (of this call), final loss, and the best step and its figures.

    Raises:
        SegGenError: the state was made with other options, or the loss is not finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the step was finished and a state written first.
    """
    run = Run(objective, options, Path(output), identity or {}, len(examples), validation)
    step = run.resume()
    began = time.monotonic()
    with tqdm(total=options.steps, initial=step, desc=objective.name, unit="step", mininterval=1,
              disable=not run.accelerator.is_local_main_process) as bar, stop_noted() as stop:
        while step < options.steps:
            loss = run.step(step, examples)
            step += 1
            bar.update()
            bar.set_postfix(loss=f"{run.average_loss(loss):.4f}", refresh=False)
            run.after(step)
            if run.agreed(stop.is_set()) and step < options.steps:
                run.save(step)
                raise KeyboardInterrupt
    best = run.finish()
    return {"steps": options.steps, "examples": len(examples), "seconds": round(time.monotonic() - began, 1),
            "final_loss": run.loss_average, "options": asdict(options), **({"best": best} if best else {})}

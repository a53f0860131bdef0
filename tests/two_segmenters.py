"""One of two processes that train a segmenter together: torchrun two_segmenters.py CONFIG FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from seggen_d2.engine import command, run
from seggen_d2.engine.config import load_config
from seggen_d2.foundation.files import write_json


def main(config: str, folder: Path) -> None:
    """Train, and tell this process's weights and how often it evaluated."""
    networks, evaluations, train, finish = [], [], command.train, command.finish
    command.train = lambda experiment: networks.append(experiment.model.network) or train(experiment)
    command.finish = lambda *given, **options: evaluations.append(finish(*given, **options)) or evaluations[-1]
    command.train_net(load_config(config, ["OUTPUT_DIR", str(folder / "run"), "SOLVER.IMS_PER_BATCH", "4"])[0])
    weights = sum(parameter.double().abs().sum().item() for parameter in networks[0].parameters())
    write_json(folder / f"{run.rank_and_size()[0]}.json", {"weights": weights, "evaluations": len(evaluations)})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

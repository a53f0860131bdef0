"""What test_two_processes starts in each process; a module of its own, so that started processes import little else."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch


def points(*size, device=None):
    """In place of ``torch.rand(N, P, 2)``: the same P points for each of N."""
    if len(size) != 3:
        return torch.linspace(0.05, 0.95, int(torch.tensor(size).prod())).view(size)
    steps = torch.arange(size[1], dtype=torch.float32)
    table = torch.stack([(0.5 + 0.7548776662 * steps) % 1, (0.5 + 0.5698402910 * steps) % 1], dim=-1)
    return table.expand(size[0], -1, -1).clone()


def train(configs: list[str], name: str) -> None:
    """One iteration of each config, with the same points for each segment; writes to the folder NAME beside it."""
    torch.set_num_threads(1)
    from seggen_d2.plugin.training.command import Arguments, prepare
    from seggen_d2.plugin.training.trainer import Trainer

    for config in configs:
        folder = Path(config).parent / name
        cfg, _ = prepare(Arguments(config, ("OUTPUT_DIR", str(folder))))
        trainer = Trainer(cfg)
        trainer._hooks = [hook for hook in trainer._hooks if type(hook).__name__ != "EvalHook"]
        with mock.patch.object(torch, "rand", points):
            trainer.train()

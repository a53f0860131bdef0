"""What the commands of ``datasets/`` share: arguments of the configs that they write, and their last words."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .configs import BACKBONES, ConfigOptions, write_configs
from .prepared import Prepared, shown

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def add_arguments(words: argparse._ActionsContainer) -> None:
    """``--batch``, ``--backbone``, ``--small``, ``--workers``."""
    words.add_argument("--batch", type=int, default=16, help="images an iteration of the segmenter; its schedule follows (default: 16)")
    words.add_argument("--backbone", default="R50", choices=list(BACKBONES), help="of the segmenter (default: R50)")
    words.add_argument("--small", action="store_true", help="write configs that take a minute a step on a CPU: to see the commands run, not to gain anything")
    words.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")


def finish(made: Prepared, given: argparse.Namespace, name: str, generators: str = "own") -> None:
    """Write the configs, and tell what was made and what comes next."""
    files = write_configs(made, ConfigOptions(name, str(CONFIGS), given.batch, given.backbone, generators, given.small))
    print(made)
    print(f"configs: {', '.join(file.name for file in files) or 'left as they are; delete one to have it written anew'}")
    print(f"next: python -m seggen_d2.sources check {shown(made.file('train'))} --against {shown(made.file('val'))}")

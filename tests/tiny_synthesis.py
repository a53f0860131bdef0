"""Syntheses of seconds, and their banks byte by byte, for tests."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import yaml

from seggen_d2.generators.sampling.sampler import SamplerOptions
from seggen_d2.synthesis.options import SynthesisOptions
from seggen_d2.synthesis.quality import QualityOptions

ROOT = Path(__file__).parent.parent
ANYTHING = QualityOptions(max_unsure=1.0, min_labelled=0.0, min_categories=0, min_named=0.0, max_dropped=1.0, max_lost=1.0)


def tiny_options(generators: dict[str, Path], toy_folder: Path, **changes) -> SynthesisOptions:
    """12 samples in 4 shards, a step each."""
    settings = {"replicas": 2, "batch": 2, "shard_size": 3, "masks": SamplerOptions(1), "images": SamplerOptions(1), "quality": ANYTHING, **changes}
    return SynthesisOptions(dataset=str(toy_folder / "dataset.yaml"), captions=str(toy_folder / "captions.parquet"),
                            text2mask=str(generators["text2mask"]), mask2img=str(generators["mask2img"]), **settings)


def contents(folder: Path) -> dict[str, bytes]:
    """The bank's files; ``options.json`` and ``estimate.json``, which hold paths and times, stand beside the bank."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".") and ".cache" not in p.parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.name not in ("options.json", "estimate.json")}


def command(options: SynthesisOptions, folder: Path, strategy: str = "masksyn", *words: str) -> list[str]:
    """``tools/synthesize.py`` with these options, into ``folder / "bank"``."""
    config = folder / "synthesis.yaml"
    config.write_text(yaml.safe_dump(_lists(asdict(options))))
    return [sys.executable, str(ROOT / "tools/synthesize.py"), "--strategy", strategy, "--config-file", str(config),
            "--output", str(folder / "bank"), *words]


def _lists(value):
    """Tuples, which YAML has no plain word for, as lists."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value

"""How a synthesis scales over workers: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.captions import LabelListCaptioner, caption_dataset
from seggen_d2.foundation.measure import interleaved, row
from seggen_d2.generators.bench import BenchSize
from seggen_d2.generators.directory import save_generator
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.sampling.sampler import SamplerOptions
from seggen_d2.segmentation import default_palette
from seggen_d2.sources import Source, load_dataset
from seggen_d2.sources.toy_folder import write_toy_folder

from .job import Job
from .local import run_workers
from .options import SynthesisOptions
from .ray_executor import synthesize_with_ray

BAR = 0.85


def worker_rows(workers: int = 2, turns: int = 5, shards: int = 48, steps: int = 4, side: int = 48) -> list[dict[str, Any]]:
    """Samples a second of ``workers`` processes, plain and Ray's, against one; each works by one thread on the CPU.

    A rate is that of the middle of a run, from the moments at which shards were finished: opening the networks costs a
    job of hours nothing. The figures are medians over turns, in which the ways follow one another.

    Args:
        workers: processes; give as many free cores.
        turns: runs of each way.
        shards: of a run, 8 samples each.
        steps, side: of the sampling; larger networks do not change the ratio.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = _options(Path(folder), shards, steps, side)
        ways = {"one worker": lambda bank: run_workers(Job("imgsyn", options), bank, 1),
                f"{workers} plain workers": lambda bank: run_workers(Job("imgsyn", options), bank, workers)}
        if find_spec("ray"):
            ways[f"{workers} Ray workers"] = lambda bank: synthesize_with_ray("imgsyn", options, str(bank), workers=workers)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        runs = [_run(Path(folder) / str(i), make, rates[name], options.shard_size) for i, (name, make) in enumerate(ways.items())]
        seconds = dict(zip(ways, interleaved(runs, turns), strict=True))
    return [_row(name, rates, seconds, workers) for name in ways]


def _run(folder: Path, make: Callable[[Path], Any], rates: list[float], shard_size: int) -> Callable[[int], None]:
    def run(turn: int) -> None:
        bank = folder / f"bank-{turn}"
        make(bank)
        rates.append(shard_size * rate_of([path.stat().st_mtime for path in bank.glob("shards/*.tar")]))

    return run


def rate_of(moments: list[float]) -> float:
    """Events a second: the slope over the middle half of them."""
    middle = np.sort(np.asarray(moments, np.float64))[len(moments) // 4 : -(len(moments) // 4) or None]
    return float(np.polyfit(middle - middle[0], np.arange(len(middle)), 1)[0])


def _row(name: str, rates: dict[str, list[float]], seconds: dict[str, list[float]], workers: int) -> dict[str, Any]:
    alone, *_ = rates.values()
    value = statistics.median(rates[name])
    whole = f"a run of {statistics.median(seconds[name]):.0f} s in all"
    if rates[name] is alone:
        return row(name, value, "im/s", reference=whole)
    ratio = statistics.median(ours / (workers * one) for ours, one in zip(rates[name], alone, strict=True))
    spread = ", ".join(f"{ours / (workers * one):.2f}" for ours, one in zip(rates[name], alone, strict=True))
    return row(name, value, "im/s", ratio, f"of {workers} times one worker ({spread}); bar {BAR}; {whole}")


def _options(folder: Path, shards: int, steps: int, side: int) -> SynthesisOptions:
    """A toy job: 8 scenes, an untrained Mask2Img on the shipped base."""
    dataset = write_toy_folder(folder, "train", 8, size=side)
    source = load_dataset(dataset)
    caption_dataset(source, LabelListCaptioner(source.categories), folder / "captions.parquet")
    _save_mask2img(folder / "mask2img", source, side)
    return SynthesisOptions(dataset=str(dataset), captions=str(folder / "captions.parquet"), mask2img=str(folder / "mask2img"),
                            replicas=shards, batch=8, shard_size=8, images=SamplerOptions(steps, guidance=3.0), device="cpu")


def _save_mask2img(folder: Path, source: Source, side: int) -> None:
    palette = default_palette(len(source.categories))
    save_generator(folder, BenchSize(side=side, device="cpu").mask2img(), {
        "kind": "mask2img", "task": source.task, "categories": source.categories.to_json(), "palette": palette.to_json(),
        "geometry": Geometry(height=side, width=side), "licence": "none", "base": "toy"})

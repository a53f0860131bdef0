"""Sampling against diffusers' own pipelines, and what each shortcut gains and costs: rows for ``tools/benchmark.py``.

On a CPU with one thread (OMP_NUM_THREADS=1), seconds are of the thread's own work, whatever else the machine does.
The sizes come from the environment, so that the same rows can be had at full size on a GPU::

    SEGGEN_BENCH_BASE=stabilityai/stable-diffusion-xl-base-1.0 SEGGEN_BENCH_SIDE=768 SEGGEN_BENCH_STEPS=40 \\
    SEGGEN_BENCH_DTYPE=bfloat16 python tools/benchmark.py sample

``SEGGEN_BENCH_ROWS`` chooses some of them: ``speed``, ``shortcuts``, ``halves``, ``samplers`` or ``outside``.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLControlNetPipeline

from seggen_d2.foundation.errors import check_choice
from seggen_d2.foundation.measure import interleaved, median_ratio, row
from seggen_d2.foundation.options import build, literal

from .bases import load_base
from .bench_clock import now, timed_networks
from .images import to_unit
from .sampling.sampler import SampleBatch, Sampler, SamplerOptions, noise
from .training.networks import finished_pipeline, make_objective

BAR, OUTSIDE_BAR = 2.0, 0.10
WITHIN = "guidance_interval: [0.3, 5]"
SHORTCUTS: dict[str, dict[str, Any]] = {
    WITHIN: {"guidance_interval": (0.3, 5.0)},
    "guidance: 1": {"guidance": 1.0},
    "sampler: dpm++, karras, half the steps": {"sampler": "dpm++", "karras": True, "steps": 0.5},
    "sampler: unipc, karras, half the steps": {"sampler": "unipc", "karras": True, "steps": 0.5},
    "decode_dtype: bfloat16": {"decode_dtype": "bfloat16"},
    "decode_batch: 1": {"decode_batch": 1},
    "decode_tiles: true": {"decode_tiles": True},
    "channels_last: true": {"channels_last": True},
    "compile: true": {"compile": True},
}
HALVES: dict[str, dict[str, Any]] = {"dtype: bfloat16 (networks)": {"dtype": "bfloat16"}}
ROWS = ("all", "speed", "shortcuts", "halves", "samplers", "outside")
SAMPLERS: dict[str, dict[str, Any]] = {  # at the same number of network calls
    "euler": {}, "euler, karras": {"karras": True}, "heun, karras, half the steps": {"sampler": "heun", "karras": True, "steps": 0.5},
    "dpm++, karras": {"sampler": "dpm++", "karras": True}, "unipc, karras": {"sampler": "unipc", "karras": True},
}


@dataclass(frozen=True)
class BenchSize:
    """What is measured; each field ``x`` is read from ``SEGGEN_BENCH_X``.

    Attributes:
        base: as in a generator's config.
        side: pixels of the square images.
        batch: samples at once.
        steps, guidance: of the plain sampler.
        turns: every way is measured once a turn; figures are medians.
        device, dtype: of the networks; ``auto`` is CUDA where there is one.
        rows: which; ``all`` leaves out ``halves`` on a CPU, where they are many times slower.
    """

    base: str = "toy"
    side: int = 48
    batch: int = 16
    steps: int = 8
    guidance: float = 3.0
    turns: int = 3
    device: str = "auto"
    dtype: str = "float32"
    rows: str = "all"

    def __post_init__(self) -> None:
        check_choice("SEGGEN_BENCH_ROWS", self.rows, ROWS)

    @classmethod
    def from_environment(cls) -> BenchSize:
        names = {field.name: f"SEGGEN_BENCH_{field.name.upper()}" for field in dataclasses.fields(cls)}
        given = {name: os.environ[key] for name, key in names.items() if key in os.environ}
        return build(cls, {name: text if name == "base" else literal(text) for name, text in given.items()}, "the environment, SEGGEN_BENCH_*")

    @property
    def options(self) -> SamplerOptions:
        """The plain sampler: no shortcut on."""
        return SamplerOptions(self.steps, self.guidance)

    def changed(self, changes: Mapping[str, Any]) -> SamplerOptions:
        """The sampler with ``changes``; a share of steps is made a number."""
        share = changes.get("steps", 1.0)
        rest = {name: value for name, value in changes.items() if name not in ("steps", "dtype")}
        return dataclasses.replace(self.options, **rest, steps=max(1, round(self.steps * share)))

    def mask2img(self, dtype: str = "") -> StableDiffusionXLControlNetPipeline:
        """The base with an untrained ControlNet, whose residuals are zero: time does not depend on weights."""
        base = load_base(self.base)
        pipeline = finished_pipeline(base, make_objective("mask2img", base))
        return pipeline.to(self.place, getattr(torch, dtype or self.dtype))

    @property
    def place(self) -> str:
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device

    def one_batch(self) -> SampleBatch:
        captions = [f"a scene with {n + 1} cars and a tree" for n in range(self.batch)]
        maps = np.random.default_rng(0).integers(0, 256, (self.batch, self.side, self.side, 3), dtype=np.uint8)
        ids = [(self.side, self.side, 0, 0, self.side, self.side)] * self.batch
        return SampleBatch(captions, list(range(self.batch)), ids, self.side, self.side, maps)


def sample_rows(size: BenchSize | None = None, shortcuts: Mapping[str, Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Mask2Img: images a second against diffusers' pipeline, shortcuts, samplers, and the share outside the networks.

    Args:
        size: what is measured; the default comes from the environment.
        shortcuts: ``{name: changes of SamplerOptions}`` in place of :data:`SHORTCUTS`.
    """
    size = size or BenchSize.from_environment()
    parts = {"speed": lambda: _against_diffusers(size), "shortcuts": lambda: _shortcuts(size, SHORTCUTS if shortcuts is None else shortcuts),
             "halves": lambda: _shortcuts(size, HALVES), "samplers": lambda: _samplers(size), "outside": lambda: [_outside(size)]}
    every = [name for name in parts if name != "halves" or (shortcuts is None and size.place != "cpu")]
    return [line for name in (every if size.rows == "all" else [size.rows]) for line in parts[name]()]


def _against_diffusers(size: BenchSize) -> Iterator[dict[str, Any]]:
    pipeline, batch = size.mask2img(), size.one_batch()
    plain, within = Sampler(pipeline, size.options), Sampler(pipeline, size.changed(SHORTCUTS[WITHIN]))
    sizes = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= size.batch]
    ways = [lambda turn, n=n: _by_diffusers(pipeline, batch, size, n) for n in sizes]
    ways += [lambda turn: plain.paint(batch), lambda turn: within.paint(batch)]
    for way in ways:
        way(0)  # warms up
    counts = [*sizes, size.batch, size.batch]
    seconds = interleaved(ways, size.turns, now)
    each = [[s / count for s in turns] for turns, count in zip(seconds, counts, strict=True)]
    alone, ours, shorter = each[0], *each[-2:]
    rates = {n: 1 / statistics.median(turns) for n, turns in zip(sizes, each, strict=False)}
    best = max(rates, key=rates.get)
    what = f"{size.side} px, {size.steps} steps, guidance {size.guidance:g}"
    yield row(f"diffusers' pipeline, a prompt at a time ({what})", rates[1], "im/s")
    yield row(f"diffusers' pipeline at its best batch size, {best}", rates[best], "im/s", median_ratio(alone, each[sizes.index(best)]), "of a prompt at a time")
    yield row(f"Sampler, no shortcut, batch {size.batch}", 1 / statistics.median(ours), "im/s", median_ratio(alone, ours),
              f"of a prompt at a time; bar {BAR:.1f}; {median_ratio(each[sizes.index(best)], ours):.2f} of diffusers' best batch")
    yield row(f"Sampler, {WITHIN}, batch {size.batch}", 1 / statistics.median(shorter), "im/s", median_ratio(alone, shorter),
              f"of a prompt at a time; {median_ratio(each[sizes.index(best)], shorter):.2f} of diffusers' best batch")


def _by_diffusers(pipeline: StableDiffusionXLControlNetPipeline, batch: SampleBatch, size: BenchSize, count: int) -> None:
    """``count`` images in one call of the pipeline, from the same noise as ours."""
    pipeline(list(batch.captions[:count]), image=to_unit(batch.color_maps[:count]).to(pipeline.device, pipeline.controlnet.dtype),
             latents=noise(pipeline, batch.seeds[:count], size.side, size.side).to(pipeline.unet.dtype), num_inference_steps=size.steps,
             guidance_scale=size.guidance, height=size.side, width=size.side, output_type="np")


def _shortcuts(size: BenchSize, shortcuts: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A shortcut may change the networks for good, so each gets a pipeline of its own; ``dtype`` is the networks'."""
    batch, plain = size.one_batch(), Sampler(size.mask2img(), size.options)
    images = plain.paint(batch)
    for name, changes in shortcuts.items():
        short = Sampler(size.mask2img(changes.get("dtype", "")), size.changed(changes))
        cost = _difference(short.paint(batch), images)  # warms up, too
        slow, fast = interleaved([lambda turn: plain.paint(batch), lambda turn, short=short: short.paint(batch)], size.turns, now)
        yield row(name, size.batch / statistics.median(fast), "im/s", median_ratio(slow, fast), f"of the plain Sampler; {cost}")


def _samplers(size: BenchSize) -> Iterator[dict[str, Any]]:
    """How far each sampler is from its own result at four times the steps, at equal cost."""
    size = dataclasses.replace(size, batch=min(4, size.batch))
    pipeline, batch, first = size.mask2img(), size.one_batch(), None
    for name, changes in SAMPLERS.items():
        options = size.changed(changes)
        short, long = (Sampler(pipeline, dataclasses.replace(options, steps=n * options.steps)).paint(batch) for n in (1, 4))
        away = _levels(short, long)
        first = away if first is None else first
        yield row(f"distance from four times the steps: {name}", away, "/255", away / max(first, 1e-9), f"of Euler's, at the cost of {size.steps} steps")


def _difference(images: np.ndarray, plain: np.ndarray) -> str:
    squares = np.mean((images.astype(float) - plain) ** 2)
    decibels = f", PSNR {10 * np.log10(255**2 / squares):.1f} dB" if squares else ""
    return f"images differ by {_levels(images, plain):.2f} of 255{decibels}"


def _levels(images: np.ndarray, plain: np.ndarray) -> float:
    return float(np.abs(images.astype(float) - plain).mean())


def _outside(size: BenchSize) -> dict[str, Any]:
    """The share of the Sampler's time that is not its networks'."""
    pipeline, batch, pairs = size.mask2img(), size.one_batch(), []
    painter = Sampler(pipeline, size.options)
    painter.paint(batch)
    for _ in range(size.turns):
        with timed_networks(pipeline) as clock:
            start = now()
            painter.paint(batch)
            whole = now() - start
        pairs.append((whole, whole - clock.seconds))
    share = statistics.median(outside / whole for whole, outside in pairs)
    return row("Sampler outside its networks", 1e3 * statistics.median(outside for _, outside in pairs) / size.batch, "ms", share,
               f"of {1e3 * statistics.median(whole for whole, _ in pairs) / size.batch:.1f} ms an image in all; bar {OUTSIDE_BAR:.2f}")

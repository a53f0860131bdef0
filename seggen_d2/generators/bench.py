"""What sampling spends outside its networks: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.measure import row

from .directory import load_base
from .fine_tuning import finished_pipeline, make_objective
from .sampling import SamplerOptions, sample_color_maps, sample_images
from .tiny_base import TinyBaseShape, build_tiny_base

BAR = 0.10


class NetworkClock:
    """Adds up the seconds that calls of networks take; a call inside another one counts once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._depth -= 1
                self.seconds += 0.0 if self._depth else time.perf_counter() - start

        return timed


@contextmanager
def timed_networks(pipeline: DiffusionPipeline) -> Iterator[NetworkClock]:
    """The clock of all networks of ``pipeline``: text encoders, UNet, ControlNet and the VAE's decoder."""
    clock, networks = NetworkClock(), [n for n in pipeline.components.values() if isinstance(n, torch.nn.Module)]
    calls = [(network, name) for network in networks for name in ("forward", "decode") if hasattr(network, name)]
    for network, name in calls:
        setattr(network, name, clock.wrapped(getattr(network, name)))
    try:
        yield clock
    finally:
        for network, name in calls:
            delattr(network, name)


def sample_rows(batch: int = 16, steps: int = 12, side: int = 48, turns: int = 3) -> list[dict[str, Any]]:
    """The share of sampling time outside the networks, for Text2Mask and Mask2Img on a tiny base, one thread a core.

    Larger networks only make the share smaller. Nothing is trained: the time does not depend on the weights.

    Args:
        batch: samples at once.
        steps: denoising steps.
        side: pixels a side; a multiple of 8.
        turns: both ways are measured once a turn; figures are medians over turns.
    """
    text2mask = _base(side)
    mask2img = finished_pipeline(text2mask, make_objective("mask2img", text2mask))
    mask2img.set_progress_bar_config(disable=True)
    options, captions, seeds = SamplerOptions(steps, guidance=3.0), [f"a scene with {n} cars" for n in range(batch)], list(range(batch))
    maps = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    ways = [
        ("Text2Mask", text2mask, lambda: sample_color_maps(text2mask, captions, seeds, side, side, options)),
        ("Mask2Img", mask2img, lambda: sample_images(mask2img, captions, maps, seeds, options)),
    ]
    return _rows(ways, batch, steps, turns)


def _rows(ways: Sequence[tuple[str, DiffusionPipeline, Callable[[], Any]]], batch: int, steps: int, turns: int) -> list[dict[str, Any]]:
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in ways}
    for turn in range(turns + 1):  # the first one warms up
        for name, pipeline, sample in ways:
            with timed_networks(pipeline) as clock:
                start = time.perf_counter()
                sample()
                total = time.perf_counter() - start
            figures[name] += [(total, clock.seconds)] if turn else []
    return [_row(name, batch, steps, pairs) for name, pairs in figures.items()]


def _row(name: str, batch: int, steps: int, pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """``ratio`` is the share."""
    outside = statistics.median(total - inside for total, inside in pairs)
    share, whole = (statistics.median(values) for values in ([(t - i) / t for t, i in pairs], [t for t, _ in pairs]))
    reference = f"of {1e3 * whole / batch:.1f} ms an image in all; bar {BAR:.2f}"
    return row(f"{name} outside the networks, batch {batch}, {steps} steps", 1e3 * outside / batch, "ms", share, reference)


def _base(side: int) -> StableDiffusionXLPipeline:
    """The shipped base; where it is not there, an untrained one of its shape."""
    try:
        return load_base("toy")
    except SegGenError:
        pipeline = build_tiny_base(["a scene with two cars"], TinyBaseShape(), sample_side=side, seed=0)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

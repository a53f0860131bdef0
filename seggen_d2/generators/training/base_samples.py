"""What a base paints, for its card: samples below true pictures of the same captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from seggen_d2.foundation.files import write_aside

from ..sampling.sampler import SampleBatch, Sampler, SamplerOptions

SAMPLING = SamplerOptions(steps=24, guidance=3.0)
SHOWN = 12  # pictures
SCALE = 2  # pixels a pixel


def write_samples(pipeline: StableDiffusionXLPipeline, images: np.ndarray, captions: list[str], file: Path) -> None:
    """Paint ``captions`` and write a picture of two rows: ``images (N, H, W, 3)`` uint8, and what was painted, seeds 0 to N - 1."""
    count, (height, width) = len(captions), images.shape[1:3]
    batch = SampleBatch(captions, range(count), [(height, width, 0, 0, height, width)] * count, height, width)
    painted = Sampler(pipeline, SAMPLING).paint(batch)
    rows = np.concatenate([np.concatenate(list(images), axis=1), np.concatenate(list(painted), axis=1)])
    with write_aside(file) as aside:
        Image.fromarray(rows).resize((SCALE * rows.shape[1], SCALE * rows.shape[0]), Image.Resampling.NEAREST).save(aside, "PNG")

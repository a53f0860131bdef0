"""Tiny models of the real classes, and a labelled toy folder, made once a test run."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a hub

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``dataset.yaml`` (6 toy scenes, 32 px) and ``captions.parquet``."""
    from seggen_d2.captions import LabelListCaptioner, caption_dataset
    from seggen_d2.sources import load_dataset
    from seggen_d2.sources.toy_folder import write_toy_folder

    folder = tmp_path_factory.mktemp("toy")
    source = load_dataset(write_toy_folder(folder, "train", 6, size=32))
    caption_dataset(source, LabelListCaptioner(source.categories), folder / "captions.parquet")
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, toy_folder: Path) -> Path:
    """An untrained base of SDXL's classes with some ten thousand parameters, as a diffusers folder."""
    from seggen_d2.captions import read_captions
    from seggen_d2.generators.tiny_base import TinyBaseShape, build_tiny_base

    shape = TinyBaseShape(vae_channels=(8, 16), unet_channels=(32, 32), text_width=16, text_layers=1, vocabulary=560)
    folder = tmp_path_factory.mktemp("base")
    captions = [caption for given in read_captions(toy_folder / "captions.parquet").values() for caption in given]
    build_tiny_base(captions, shape, sample_side=32, seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def generators(tmp_path_factory: pytest.TempPathFactory, toy_folder: Path, tiny_base: Path) -> dict[str, Path]:
    """A Text2Mask and a Mask2Img after two steps: ``{kind: folder of the model}``."""
    from seggen_d2.generators.training.fine_tuning import train_generator

    folder = tmp_path_factory.mktemp("generators")
    for kind in ("text2mask", "mask2img"):
        train_generator(kind, generator_options(toy_folder, tiny_base), folder / kind)
    return {kind: folder / kind / "model" for kind in ("text2mask", "mask2img")}


def generator_options(toy_folder: Path, base: Path, **training):
    """Options for a run of seconds."""
    from seggen_d2.generators.geometry import Geometry
    from seggen_d2.generators.training.fine_tuning import GeneratorOptions
    from seggen_d2.generators.training.loop import TrainingOptions

    settings = {"steps": 2, "batch": 2, "learning_rate": 1e-3, "checkpoint_every": 2, "ema_decay": 0.9, "log_every": 1, **training}
    return GeneratorOptions(base=str(base), dataset=str(toy_folder / "dataset.yaml"), captions=str(toy_folder / "captions.parquet"),
                            geometry=Geometry(height=32, width=32), training=TrainingOptions(**settings))


@pytest.fixture(scope="session")
def make_generator_options():
    """:func:`generator_options`, for tests."""
    return generator_options

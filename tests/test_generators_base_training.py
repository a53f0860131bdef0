"""A tiny base from pictures alone: two trainings by the one loop, resumed by the same call."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.bases import base_licence, load_base
from seggen_d2.generators.tiny_base import TinyBaseShape
from seggen_d2.generators.training.base import BaseOptions, dataset_pictures, train_base
from seggen_d2.generators.training.loop import TrainingOptions
from seggen_d2.sources.caption_table import read_captions, write_captions

SHAPE = TinyBaseShape(vae_channels=(8, 16), unet_channels=(32, 32), text_width=16, text_layers=1, vocabulary=560)
STEPS = TrainingOptions(steps=2, batch=2, learning_rate=1e-3, checkpoint_every=2, ema_decay=0.9, log_every=1)
OPTIONS = BaseOptions(height=16, width=16, vae=STEPS, base=STEPS, shape=SHAPE, long_captions="cut")


def test_a_base_of_a_datasets_pictures_opens_as_a_base(toy_folder, tmp_path):
    options = replace(OPTIONS, dataset=str(toy_folder / "dataset.yaml"), captions=str(toy_folder / "captions.parquet"))
    for _ in range(2):  # the second call finds both trainings done
        train_base(options, tmp_path, licence="some words")
    assert Image.open(tmp_path / "model" / "samples.png").height == 2 * 2 * 16
    base = load_base(str(tmp_path / "model"))
    assert base_licence(str(tmp_path / "model")) == "some words" and base.vae.config.scaling_factor != 1.0
    assert all(torch.isfinite(p).all() for p in base.unet.parameters())


def test_a_base_has_one_source_of_pictures(tmp_path):
    with pytest.raises(SegGenError, match="name one source of pictures"):
        train_base(OPTIONS, tmp_path, licence="x")


def test_unlabelled_pictures_have_one_caption_for_all(toy_folder, tmp_path):
    """Those that the table lacks; their own words, made from labels, have no part in it."""
    dataset, table = str(toy_folder / "dataset.yaml"), toy_folder / "captions.parquet"
    own = read_captions(table)
    first, *others = own
    write_captions(tmp_path / "few.parquet", {first: own[first]})
    found, whole = (dataset_pictures(dataset, str(file), 16, 16, "a scene") for file in (tmp_path / "few.parquet", table))
    assert found.captions == [own[first][0]] + ["a scene"] * len(others) and whole.captions == [given[0] for given in own.values()]
    assert (found.images == whole.images).all()
    with pytest.raises(SegGenError, match=f"lack {len(others)} images"):
        dataset_pictures(dataset, str(tmp_path / "few.parquet"), 16, 16)
    write_captions(tmp_path / "strange.parquet", {"another": "a street"})
    with pytest.raises(SegGenError, match="are of other images than(.|\n)*such as " + first):
        dataset_pictures(dataset, str(tmp_path / "strange.parquet"), 16, 16, "a scene")


def test_a_decoder_that_bears_noise_leaves_the_latents_as_they_were(toy_folder, tmp_path):
    plain = replace(OPTIONS, dataset=str(toy_folder / "dataset.yaml"), captions=str(toy_folder / "captions.parquet"))
    train_base(plain, tmp_path / "plain", licence="x")
    train_base(replace(plain, decoder=STEPS), tmp_path / "noisy", licence="x")
    a, b = (load_base(str(tmp_path / name / "model")) for name in ("plain", "noisy"))
    pixels = torch.rand(1, 3, 16, 16) * 2 - 1
    first, second = (base.vae.encode(pixels).latent_dist.mean for base in (a, b))
    assert torch.equal(first, second) and not torch.equal(a.vae.decode(first).sample, b.vae.decode(first).sample)
    assert all(torch.equal(p, q) for p, q in zip(a.unet.parameters(), b.unet.parameters(), strict=True))

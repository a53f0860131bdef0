"""Generators of the real classes: plain directories, resumable training, noise by seed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from seggen_d2.captions import read_captions, write_captions
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.bases import load_base
from seggen_d2.generators.directory import load_generator, read_card
from seggen_d2.generators.examples.texts import check_captions
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.sampling.sampler import noise
from seggen_d2.generators.training.fine_tuning import train_generator
from seggen_d2.generators.training.loop import stop_noted
from seggen_d2.generators.training.networks import make_objective

PLAIN = """
import sys, diffusers, torch
pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32, add_watermarker=False)
image = pipeline("a scene", height=32, width=32, num_inference_steps=1, output_type="np").images[0]
assert image.shape == (32, 32, 3)
controlnet = diffusers.ControlNetModel.from_pretrained(sys.argv[2], subfolder="controlnet", torch_dtype=torch.float32)
pipeline = diffusers.StableDiffusionXLControlNetPipeline.from_pretrained(sys.argv[2], controlnet=controlnet, torch_dtype=torch.float32, add_watermarker=False)
image = pipeline("a scene", image=image[None], height=32, width=32, num_inference_steps=1, output_type="np").images[0]
assert image.shape == (32, 32, 3)
assert not any(name.startswith("seggen_d2") for name in sys.modules)
"""


def test_generators_open_with_diffusers_alone(generators):
    """In a process of its own that never imports this package."""
    command = [sys.executable, "-c", PLAIN, str(generators["text2mask"]), str(generators["mask2img"])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_generators_hold_safetensors_alone(generators):
    for folder in generators.values():
        endings = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert endings <= {".json", ".txt", ".safetensors", ".jinja"}


def test_the_card_tells_palette_and_categories(generators):
    card = read_card(generators["mask2img"], "mask2img")
    assert len(card.read_palette("x")) == len(card.read_categories("x")) == 8 and card.licence and card.fingerprint
    with pytest.raises(SegGenError, match="another kind"):
        read_card(generators["mask2img"], "text2mask")
    with pytest.raises(SegGenError, match="holds no generator"):
        read_card(generators["mask2img"].parent, "mask2img")


def test_mask2img_leaves_the_base_as_it_was(generators, tiny_base):
    before, after = load_base(str(tiny_base)).unet, load_generator(generators["mask2img"], "mask2img").unet
    for a, b in zip(before.parameters(), after.parameters()):
        assert torch.equal(a.half(), b.half())


def test_text2mask_changes_the_unet_alone(generators, tiny_base):
    before, after = load_base(str(tiny_base)), load_generator(generators["text2mask"], "text2mask")
    assert any(not torch.equal(a.half(), b.half()) for a, b in zip(before.unet.parameters(), after.unet.parameters()))
    assert all(torch.equal(a.half(), b.half()) for a, b in zip(before.vae.parameters(), after.vae.parameters()))


def test_an_untrained_controlnet_changes_nothing(tiny_base):
    """Its last layers start at zero (Zhang et al. 2023): the loss is the base's own."""
    pipeline = load_base(str(tiny_base))
    batch = _batch(pipeline)
    losses = [make_objective(kind, pipeline)(batch, torch.Generator().manual_seed(0)) for kind in ("text2mask", "mask2img")]
    assert torch.allclose(*losses, rtol=1e-5)


def _batch(pipeline, count: int = 2) -> dict[str, torch.Tensor]:
    channels, width = pipeline.unet.config.in_channels, pipeline.text_encoder.config.hidden_size
    draw = torch.Generator().manual_seed(1)
    return {"latent_mean": torch.randn((count, channels, 16, 16), generator=draw), "latent_std": torch.full((count, channels, 16, 16), 0.1),
            "prompt_embeds": torch.randn((count, 77, 2 * width), generator=draw), "pooled": torch.randn((count, width), generator=draw),
            "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]] * count), "condition": torch.rand((count, 3, 32, 32), generator=draw)}


def test_a_resumed_training_ends_with_the_same_weights(toy_folder, tiny_base, tmp_path, make_generator_options):
    options = make_generator_options(toy_folder, tiny_base, steps=4)
    train_generator("text2mask", options, tmp_path / "whole")
    half = replace(options, training=replace(options.training, steps=2))
    train_generator("text2mask", half, tmp_path / "resumed")
    (tmp_path / "resumed" / "model" / "seggen.json").unlink()
    train_generator("text2mask", options, tmp_path / "resumed")
    prints = [read_card(tmp_path / name / "model", "text2mask").fingerprint for name in ("whole", "resumed")]
    assert prints[0] == prints[1]


def test_a_state_of_other_options_is_refused(toy_folder, tiny_base, tmp_path, make_generator_options):
    options = make_generator_options(toy_folder, tiny_base)
    train_generator("text2mask", options, tmp_path)
    (tmp_path / "model" / "seggen.json").unlink()
    with pytest.raises(SegGenError, match="learning_rate: 0.001 then, 0.5 now"):
        train_generator("text2mask", make_generator_options(toy_folder, tiny_base, learning_rate=0.5), tmp_path)


def test_a_stop_is_noted_and_a_second_ctrl_c_obeyed():
    with stop_noted() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)


def test_noise_depends_on_the_seed_alone(tiny_base):
    pipeline = load_base(str(tiny_base))
    together, alone = noise(pipeline, [3, 4, 5], 32, 32), noise(pipeline, [4], 32, 32)
    assert torch.equal(together[1], alone[0])


def test_long_captions_are_reported_not_cut_in_silence(tiny_base, caplog):
    pipeline, long = load_base(str(tiny_base)), {"short": "a car", "long": "a car and " * 60}
    with pytest.raises(SegGenError, match=r"1 of 2 captions.*too long(.|\n)*long \(\d+ tokens\)"):
        check_captions(long, pipeline, cut=False, where="c.parquet")
    with caplog.at_level("WARNING"):
        check_captions(long, pipeline, cut=True, where="c.parquet")
    assert "1 of 2 captions" in caplog.text


def test_a_size_that_does_not_fit_the_base_is_refused(toy_folder, tiny_base, tmp_path, make_generator_options):
    with pytest.raises(SegGenError, match="multiples of 4"):
        train_generator("text2mask", replace(make_generator_options(toy_folder, tiny_base), geometry=Geometry(height=33, width=32)), tmp_path)


def test_a_base_that_is_not_there_is_refused(toy_folder, tmp_path, make_generator_options):
    with pytest.raises(SegGenError, match="cannot be opened"):
        train_generator("text2mask", make_generator_options(toy_folder, tmp_path / "nowhere"), tmp_path / "out")


def test_missing_captions_are_named(toy_folder, tiny_base, tmp_path, make_generator_options):
    captions = read_captions(toy_folder / "captions.parquet")
    captions.pop("train_00002")
    write_captions(tmp_path / "few.parquet", captions)
    with pytest.raises(SegGenError, match="lack 1 images(.|\n)*train_00002"):
        train_generator("mask2img", replace(make_generator_options(toy_folder, tiny_base), captions=str(tmp_path / "few.parquet")), tmp_path)


def test_the_shipped_base_opens_and_never_saw_a_label():
    pipeline = load_base("toy")
    from importlib import resources

    folder = resources.files("seggen_d2.generators") / "toy_base"
    facts = json.loads((folder / "base.json").read_text())
    assert facts["options"]["toy"] > 0 and not facts["options"]["dataset"]
    assert pipeline.unet.config.addition_embed_type == "text_time"
    assert sum(f.stat().st_size for f in __import__("pathlib").Path(str(folder)).rglob("*.safetensors")) <= 12e6

"""Adapters: what is saved fused is the base with its adapter, and diffusers opens the adapter by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.bases import load_base
from seggen_d2.generators.directory import load_generator, read_card
from seggen_d2.generators.training.fine_tuning import train_generator
from seggen_d2.generators.training.lora import LoraOptions
from seggen_d2.generators.training.networks import make_objective
from seggen_d2.generators.training.states import States

LORA = LoraOptions(rank=2, alpha=6.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toy_folder, tiny_base, make_generator_options):
    """A Text2Mask of three steps with adapters, in bf16, and its options."""
    options = replace(make_generator_options(toy_folder, tiny_base, steps=3, checkpoint_every=2, learning_rate=0.01, mixed_precision="bf16",
                                             gradient_checkpointing=True), lora=LORA)
    output = tmp_path_factory.mktemp("lora")
    train_generator("text2mask", options, output)
    return output, options


def inputs(unet):
    draw = torch.Generator().manual_seed(0)
    sample = torch.randn((1, 4, 16, 16), generator=draw)
    embeds = torch.randn((1, 77, unet.config.cross_attention_dim), generator=draw)
    extra = {"text_embeds": torch.randn((1, 16), generator=draw), "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]])}
    return {"sample": sample, "timestep": 500, "encoder_hidden_states": embeds, "added_cond_kwargs": extra}


@torch.no_grad()
def test_the_fused_model_is_the_base_with_its_adapter(trained, tiny_base):
    """diffusers reads ranks and alphas from the adapter's file alone."""
    output, _ = trained
    base, fused = load_base(str(tiny_base)), load_generator(output / "model", "text2mask").unet
    given = inputs(fused)
    plain = base.unet(**given).sample
    base.load_lora_weights(str(output / "adapter"))
    beside, into = base.unet(**given).sample, fused(**given).sample
    assert torch.allclose(beside, into, atol=1e-2 * float(into.abs().max()))  # the model is saved in halves
    assert (beside - plain).abs().max() > 20 * (beside - into).abs().max()


def test_an_adapters_folder_and_states_hold_adapters_alone(trained):
    output, _ = trained
    assert [path.name for path in (output / "adapter").iterdir()] == ["pytorch_lora_weights.safetensors"]
    state = load_file(States(output / "training" / "state", 2).newest() / "trained.safetensors")
    assert state and all("lora_" in name and value.dtype == torch.float32 for name, value in state.items())
    card = read_card(output / "model", "text2mask")
    assert card.training["lora"]["rank"] == 2


def test_a_resumed_training_of_adapters_ends_with_the_same_weights(trained, tmp_path):
    output, options = trained
    train_generator("text2mask", replace(options, training=replace(options.training, steps=2)), tmp_path)
    (tmp_path / "model" / "seggen.json").unlink()
    train_generator("text2mask", options, tmp_path)
    assert read_card(tmp_path / "model", "text2mask").fingerprint == read_card(output / "model", "text2mask").fingerprint


def test_fresh_adapters_change_nothing(tiny_base):
    base = load_base(str(tiny_base))
    given = inputs(base.unet)
    with torch.no_grad():
        before = base.unet(**given).sample
        objective = make_objective("text2mask", base, lora=LORA)
        assert torch.equal(base.unet(**given).sample, before)
    trained = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    assert trained and all("lora_" in name for name in trained)


def test_adapters_are_for_text2mask_and_layers_that_are_there(tiny_base):
    with pytest.raises(SegGenError, match=r"lora serves Text2Mask alone(.|\n)*adamw8bit"):
        make_objective("mask2img", load_base(str(tiny_base)), lora=LORA)
    with pytest.raises(SegGenError, match=r"'to_w', which the UNet does not have(.|\n)*did you mean"):
        make_objective("text2mask", load_base(str(tiny_base)), lora=LoraOptions(rank=2, targets=("to_q", "to_w")))

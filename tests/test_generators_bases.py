"""Bases: folders, one file of the original layout, other noise schedules; what is not of SDXL's shape is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from original_layout import write_original
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.base_shape import unmet
from seggen_d2.generators.bases import UNKNOWN_LICENCE, base_licence, load_base
from seggen_d2.generators.training.networks import make_objective


@pytest.fixture
def base_copy(tiny_base, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def change(folder: Path, file: str, **keys) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def weights(pipeline) -> dict[str, torch.Tensor]:
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    return {f"{part}.{key}": value for part in parts for key, value in getattr(pipeline, part).state_dict().items()}


@pytest.fixture(scope="module")
def two_widths(tiny_base, tmp_path_factory) -> Path:
    """The tiny base with a wider second text encoder: files of the original layout are told apart by it, as SDXL's."""
    base = load_base(str(tiny_base))
    config = {**base.text_encoder_2.config.to_dict(), "hidden_size": 32, "intermediate_size": 64}
    base.register_modules(text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**config)))
    folder = tmp_path_factory.mktemp("widths")
    base.save_pretrained(folder)
    return folder


def test_a_single_file_is_the_folder_it_was_made_from(two_widths, tmp_path):
    base = load_base(str(two_widths))
    file = write_original(base, tmp_path / "model.safetensors", metadata={"modelspec.license": "MIT"})
    opened = load_base(str(file), config=str(two_widths))
    before, after = weights(base), weights(opened)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert opened.scheduler.config.prediction_type == "epsilon" and base_licence(str(file)) == "MIT"


@pytest.mark.parametrize("extra, metadata", [({"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}, None), ({}, {"modelspec.prediction_type": "v"})])
def test_a_single_file_tells_its_prediction_type(two_widths, tmp_path, extra, metadata):
    file = write_original(load_base(str(two_widths)), tmp_path / "v.safetensors", extra, metadata)
    config = load_base(str(file), config=str(two_widths)).scheduler.config
    assert config.prediction_type == "v_prediction" and config.rescale_betas_zero_snr == ("ztsnr" in extra)


def test_a_single_file_needs_configurations(tiny_base, tmp_path):
    file = write_original(load_base(str(tiny_base)), tmp_path / "model.safetensors")
    with pytest.raises(SegGenError, match=r"needs configurations and tokenizers(.|\n)*base_config: FOLDER"):
        load_base(str(file), config="nobody/nothing")
    with pytest.raises(SegGenError, match="lacks weights of its configurations"):
        load_base(str(file), config=str(tiny_base))


def test_a_single_file_of_another_family_is_refused(tmp_path):
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 9, 3, 3)}, tmp_path / "sd15.safetensors")
    with pytest.raises(SegGenError, match=r"not of SDXL's shape(.|\n)*second text encoder(.|\n)*added time ids"):
        load_base(str(tmp_path / "sd15.safetensors"))


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x02.")
    with pytest.raises(SegGenError, match="pickled checkpoints can run code"):
        load_base(str(tmp_path / "model.ckpt"))
    (tmp_path / "cut.safetensors").write_bytes(b"\x80\x02.")
    with pytest.raises(SegGenError, match="cannot be read(.|\n)*whole .safetensors file"):
        load_base(str(tmp_path / "cut.safetensors"))


def test_pickled_weights_in_a_folder_are_not_opened(base_copy):
    torch.save({}, base_copy / "unet" / "diffusion_pytorch_model.bin")
    (base_copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(SegGenError, match="cannot be opened"):
        load_base(str(base_copy))


def test_a_base_of_one_text_encoder_is_refused(base_copy):
    index = json.loads((base_copy / "model_index.json").read_text())
    kept = {key: value for key, value in index.items() if not key.endswith("_2")}
    (base_copy / "model_index.json").write_text(json.dumps({**kept, "_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(SegGenError, match=r"a StableDiffusionPipeline without a second text encoder \(text_encoder_2\)"):
        load_base(str(base_copy))


@pytest.mark.parametrize("file, keys, missing", [
    ("unet/config.json", {"addition_embed_type": None}, "added time ids"),
    ("unet/config.json", {"in_channels": 9}, "latents alone .4 channels; it takes 9"),
    ("vae/config.json", {"latents_mean": [0.0] * 4}, "scaled by one factor"),
    ("scheduler/scheduler_config.json", {"_class_name": "EDMEulerScheduler"}, "it has EDMEulerScheduler"),
    ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "it has flow"),
])
def test_a_base_of_another_shape_is_told_what_it_lacks(base_copy, file, keys, missing):
    change(base_copy, file, **keys)
    with pytest.raises(SegGenError, match=f"not of SDXL's shape(.|\n)*{missing}"):
        load_base(str(base_copy))


def test_sdxl_lacks_nothing():
    """The keys that decide, as SDXL-base's own configurations have them."""
    assert unmet({"addition_embed_type": "text_time", "in_channels": 4}, {"latent_channels": 4},
                 {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}) == []


def test_the_noise_schedule_is_the_bases(base_copy):
    change(base_copy, "scheduler/scheduler_config.json", prediction_type="v_prediction", rescale_betas_zero_snr=True, beta_end=0.02)
    objective = make_objective("text2mask", load_base(str(base_copy)))
    schedule = objective.noise_schedule
    assert schedule.config.prediction_type == "v_prediction" and schedule.config.beta_end == 0.02
    assert schedule.alphas_cumprod[-1] == 0
    latents, noise, steps = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 3.0), torch.tensor([999])
    assert torch.allclose(objective.target(latents, noise, steps), -latents)  # pure noise: the velocity is minus the picture


def test_licences_are_read_from_the_bases_files(base_copy):
    assert base_licence(str(base_copy)) == UNKNOWN_LICENCE and base_licence("toy") == "Apache-2.0"
    (base_copy / "README.md").write_text("---\nlicense: other\nlicense_name: 'some-licence'\n---\n# A model\n")
    assert base_licence(str(base_copy)) == "some-licence"


def test_halves_alone_open(base_copy):
    """Folders that were fetched in their fp16 variant."""
    load_base(str(base_copy)).save_pretrained(base_copy.parent / "halves", variant="fp16")
    assert load_base(str(base_copy.parent / "halves")).unet.dtype == torch.float32

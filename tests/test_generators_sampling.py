"""The samplers against diffusers' own pipelines from the same noise, and what each option promises."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.options import build
from seggen_d2.generators import bench
from seggen_d2.generators.bases import load_base
from seggen_d2.generators.sampling.prediction import PromptMemory
from seggen_d2.generators.sampling.sampler import Distilled, SampleBatch, Sampler, SamplerOptions, noise
from seggen_d2.generators.sampling.solver import SCHEDULERS, NoiseLevels, Solver

CAPTIONS, SEEDS, SIDE = ["a scene with a tree", "a car", "a scene with two cars"], [3, 1, 2], 32
OPTIONS = SamplerOptions(steps=4, guidance=3.0)


@pytest.fixture(scope="module")
def text2mask(tiny_base):
    return load_base(str(tiny_base))


@pytest.fixture(scope="module")
def mask2img(tiny_base):
    """With a ControlNet whose last layers are no longer zero, so that it matters."""
    torch.manual_seed(0)
    base = load_base(str(tiny_base))
    controlnet = diffusers.ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(16, 32))
    for block in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.3)
    return quiet(diffusers.StableDiffusionXLControlNetPipeline, base, controlnet=controlnet)


def quiet(kind, pipeline, **other):
    """A pipeline of another kind from the same parts."""
    parts = {name: part for name, part in pipeline.components.items() if name not in ("image_encoder", "feature_extractor")}
    made = kind(**{**parts, **other}, add_watermarker=False)
    made.set_progress_bar_config(disable=True)
    return made


def batch_of(pipeline, count: int = 3, **more) -> SampleBatch:
    maps = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)[:count]
    given = {"color_maps": maps} if hasattr(pipeline, "controlnet") else {}
    return SampleBatch(CAPTIONS[:count], SEEDS[:count], [(48, 64, 2, 4, SIDE, SIDE)] * count, SIDE, SIDE, **given, **more)


def one_of(batch: SampleBatch, n: int) -> SampleBatch:
    arrays = {name: getattr(batch, name)[n : n + 1] for name in ("color_maps", "photos") if getattr(batch, name) is not None}
    return replace(batch, captions=[batch.captions[n]], seeds=[batch.seeds[n]], time_ids=[batch.time_ids[n]], **arrays)


def by_diffusers(pipeline, batch: SampleBatch, options: SamplerOptions, **more) -> torch.Tensor:
    """The latents of the pipeline's own call, given embeddings made as ours are (a batch of texts rounds otherwise)."""
    if batch.color_maps is not None:
        maps = torch.from_numpy(batch.color_maps).permute(0, 3, 1, 2).float() / 255
        more = {"control_image" if "strength" in more else "image": maps, "controlnet_conditioning_scale": options.conditioning_scale, **more}
    prompts = PromptMemory(pipeline)
    (embeds, pooled), (no_embeds, no_pooled) = prompts(batch.captions), prompts.no_caption(len(batch))
    start = {} if "strength" in more else {"latents": noise(pipeline, batch.seeds, SIDE, SIDE), "height": SIDE, "width": SIDE}
    return pipeline(prompt_embeds=embeds, pooled_prompt_embeds=pooled, negative_prompt_embeds=no_embeds.clone(),
                    negative_pooled_prompt_embeds=no_pooled.clone(), num_inference_steps=options.steps, guidance_scale=options.guidance,
                    original_size=(48, 64), crops_coords_top_left=(2, 4), target_size=(SIDE, SIDE), output_type="latent", **start, **more).images


def with_scheduler(pipeline, name: str, **settings):
    kind, own = SCHEDULERS[name]
    return quiet(type(pipeline), pipeline, scheduler=kind.from_config(pipeline.scheduler.config, **own, **settings))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["text2mask", "mask2img"])
def test_without_shortcuts_the_result_is_that_of_diffusers(kind, guidance, request):
    pipeline, options = request.getfixturevalue(kind), replace(OPTIONS, guidance=guidance, conditioning_scale=0.7)
    batch = batch_of(pipeline)
    ours, theirs = Sampler(pipeline, options).latents(batch), by_diffusers(pipeline, batch, options)
    assert theirs.std() > 0.1 and torch.equal(ours, theirs)  # bit for bit


@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("name", ["euler", "heun", "dpm++", "unipc"])
def test_each_sampler_is_that_of_diffusers(name, karras, text2mask):
    options = replace(OPTIONS, sampler=name, karras=karras)
    theirs = by_diffusers(with_scheduler(text2mask, name, use_karras_sigmas=karras), batch_of(text2mask), options)
    ours = Sampler(text2mask, options).latents(batch_of(text2mask))
    assert torch.equal(ours, theirs)
    if (name, karras) != ("euler", False):
        assert not torch.allclose(ours, Sampler(text2mask, OPTIONS).latents(batch_of(text2mask)), atol=1e-3)


def test_images_are_those_of_diffusers(mask2img):
    batch = batch_of(mask2img)
    images = Sampler(mask2img, OPTIONS).paint(batch)
    maps = torch.from_numpy(batch.color_maps).permute(0, 3, 1, 2).float() / 255
    theirs = mask2img(CAPTIONS, image=maps, latents=noise(mask2img, SEEDS, SIDE, SIDE), num_inference_steps=4, guidance_scale=3.0,
                      original_size=(48, 64), crops_coords_top_left=(2, 4), target_size=(SIDE, SIDE), output_type="np").images
    assert images.dtype == np.uint8 and np.abs(images - (theirs * 255).round()).max() <= 1


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm++", "unipc"])
def test_prediction_type_is_read_from_the_base(sampler, kind, text2mask):
    """A network that knows all data to be 0.5, in each way of telling it, leads every sampler there."""
    solver = Solver({**text2mask.scheduler.config, "prediction_type": kind}, replace(OPTIONS, sampler=sampler, steps=8))

    def predict(latents, time, sigma):
        signal, deviation = (sigma**2 + 1) ** -0.5, sigma * (sigma**2 + 1) ** -0.5
        drawn = (latents - signal * 0.5) / deviation
        return drawn if kind == "epsilon" else signal * drawn - deviation * 0.5

    latents = solver.run(predict, torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0)), [torch.Generator()] * 2)
    assert torch.allclose(latents, torch.full_like(latents, 0.5), atol=2e-2)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_churn_keeps_the_distribution(sampler, text2mask):
    """With the exact denoiser of standard normal data, samples stay standard normal (Karras et al. 2022, section 4)."""
    options = SamplerOptions(steps=400 if sampler == "euler" else 80, guidance=1, sampler=sampler, karras=True, churn=30)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    start = torch.stack([torch.randn((4, 48, 48), generator=g) for g in generators])
    exact = lambda latents, time, sigma: latents * sigma / (sigma**2 + 1) ** 0.5  # noqa: E731  (x - D(x)) / sigma
    plain = Solver(text2mask.scheduler.config, replace(options, churn=0.0)).run(exact, start, generators)
    churned = Solver(text2mask.scheduler.config, options).run(exact, start, generators)
    assert abs(churned.std() - 1) < 0.05 and abs(churned.mean()) < 0.03
    correlation = [float(torch.corrcoef(torch.stack([start.flatten(), end.flatten()]))[0, 1]) for end in (plain, churned)]
    assert correlation[0] > 0.999 and abs(correlation[1]) < 0.9  # churn forgets the start


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_churn_is_drawn_per_sample(sampler, text2mask):
    painter = Sampler(text2mask, replace(OPTIONS, sampler=sampler, churn=2.0))
    batch = batch_of(text2mask)
    together, alone = painter.latents(batch), painter.latents(one_of(batch, 1))
    assert torch.allclose(together[1], alone[0], rtol=0, atol=1e-3 * float(together.std()))
    assert not torch.allclose(together, Sampler(text2mask, replace(OPTIONS, sampler=sampler)).latents(batch), atol=0.1)
    assert torch.equal(together, Sampler(text2mask, painter.options).latents(batch))


def test_churn_acts_in_its_range_alone(text2mask):
    plain, batch = Sampler(text2mask, OPTIONS).latents(batch_of(text2mask)), batch_of(text2mask)
    assert torch.equal(Sampler(text2mask, replace(OPTIONS, churn=2.0, churn_range=(100.0, 200.0))).latents(batch), plain)


def test_times_and_sigmas_are_inverse(text2mask):
    levels = NoiseLevels(text2mask.scheduler.alphas_cumprod)
    assert [levels.time(levels.sigma(t)) for t in (0, 0.4, 500.25, 999)] == pytest.approx([0, 0.4, 500.25, 999])
    assert levels.time(1e6) == 999 and levels.sigma(999) == pytest.approx(14.61, abs=0.01)


@pytest.mark.parametrize("kind", ["text2mask", "mask2img"])
def test_a_batch_is_its_samples_alone(kind, request):
    pipeline = request.getfixturevalue(kind)
    painter, batch = Sampler(pipeline, OPTIONS), batch_of(pipeline)
    batch = replace(batch, time_ids=[(48, 64, 2, 4, SIDE, SIDE), (100, 70, 0, 0, SIDE, SIDE), (33, 33, 1, 0, SIDE, SIDE)])
    together, alone = painter.paint(batch), [painter.paint(one_of(batch, n))[0] for n in range(3)]
    assert np.abs(together.astype(int) - np.stack(alone)).max() <= 1
    assert np.abs(together - painter.paint(batch_of(pipeline)).astype(int)).max() > 1  # each sample's own time ids matter


def test_guidance_acts_in_its_interval_alone(mask2img, monkeypatch):
    batch, everywhere, none = batch_of(mask2img), SamplerOptions(4, 3.0), SamplerOptions(4, 1.0)
    results = {interval: Sampler(mask2img, replace(everywhere, guidance_interval=interval)).latents(batch)
               for interval in ((), (0.0, 20.0), (50.0, 60.0), (0.5, 5.0))}
    assert torch.equal(results[()], results[0.0, 20.0])
    assert torch.equal(results[50.0, 60.0], Sampler(mask2img, none).latents(batch))
    sizes, forward = [], mask2img.unet.forward
    monkeypatch.setattr(mask2img.unet, "forward", lambda sample, *more, **named: sizes.append(len(sample)) or forward(sample, *more, **named))
    Sampler(mask2img, replace(everywhere, guidance_interval=(0.5, 5.0))).latents(batch)
    sigmas = [float(s) for s in Solver(mask2img.scheduler.config, everywhere).scheduler.sigmas]
    assert set(sizes) == {3, 6} and len(sizes) == 4 and sigmas[0] > 5


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm++", "unipc"])
@pytest.mark.parametrize("kind", ["text2mask", "mask2img"])
def test_strength_starts_from_the_noised_photo_as_diffusers_does(kind, sampler, request):
    pipeline = with_scheduler(request.getfixturevalue(kind), sampler)
    other = diffusers.StableDiffusionXLImg2ImgPipeline if kind == "text2mask" else diffusers.StableDiffusionXLControlNetImg2ImgPipeline
    theirs = quiet(other, pipeline)
    photos = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    batch, options = batch_of(pipeline, photos=photos), replace(OPTIONS, strength=0.5, sampler=sampler)
    painter = Sampler(pipeline, options)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    expected = by_diffusers(theirs, batch, options, strength=0.5, generator=generators, image=painter.decoder.encode(photos))
    assert torch.equal(painter.latents(batch), expected)


def test_little_strength_keeps_the_photo(mask2img):
    photos = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    batch = batch_of(mask2img, photos=photos)
    known = Sampler(mask2img, OPTIONS).decoder.encode(photos)
    gaps = [float((Sampler(mask2img, SamplerOptions(20, 1.0, strength=s)).latents(batch) - known).abs().mean()) for s in (0.05, 0.5, 1.0)]
    assert gaps[0] < gaps[1] < gaps[2]
    with pytest.raises(SegGenError, match="needs photos"):
        Sampler(mask2img, replace(OPTIONS, strength=0.5)).latents(batch_of(mask2img))


def lora_of(unet: torch.nn.Module, style: str) -> dict[str, torch.Tensor]:
    """LoRA weights for every layer of the blocks, by the names that the three methods' files have."""
    draw, state = torch.Generator().manual_seed(0), {}
    for name, module in unet.named_modules():
        if not isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) or not name.startswith(("down_blocks", "mid_block", "up_blocks")):
            continue
        weight, ends = module.weight, [1] * (module.weight.ndim - 2)
        down, up = (torch.randn(size, generator=draw) * 0.1 for size in ((2, *weight.shape[1:]), (weight.shape[0], 2, *ends)))
        if style == "peft":
            state |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
        else:
            flat = f"lora_unet_{name.replace('.', '_')}"
            state |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(1.0)}
    return state


@pytest.mark.parametrize(("form", "style"), [("lcm", "kohya"), ("lightning", "kohya"), ("dmd2", "peft")])
def test_distilled_weights_are_sampled_as_their_authors_do(form, style, tiny_base, tmp_path):
    """LCM: consistency steps over 50 times; Lightning: Euler over trailing times; DMD2: consistency steps at 999, 749, 499, 249."""
    file, settings = tmp_path / f"{form}.safetensors", {"lightning": {"timestep_spacing": "trailing"}}.get(form, {})
    pipeline, theirs = load_base(str(tiny_base)), load_base(str(tiny_base))
    save_file(lora_of(pipeline.unet, style), file)
    theirs.load_lora_weights(str(file))
    kind = diffusers.EulerDiscreteScheduler if form == "lightning" else diffusers.LCMScheduler
    theirs.scheduler = kind.from_config(theirs.scheduler.config, **settings)
    options = SamplerOptions(steps=4, guidance=1.0, distilled=Distilled(str(file), form, licence="of the weights"))
    batch, more = batch_of(pipeline), {"timesteps": [999, 749, 499, 249]} if form == "dmd2" else {}
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    for generator in generators:  # ours go on from the noise that they start with
        torch.randn((4, SIDE // 2, SIDE // 2), generator=generator)
    expected = by_diffusers(theirs, batch, options, generator=generators, **more)
    ours = Sampler(pipeline, options).latents(batch)
    assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
    assert not torch.allclose(ours, Sampler(load_base(str(tiny_base)), replace(options, distilled=Distilled())).latents(batch), atol=0.1)
    assert torch.equal(ours, Sampler(pipeline, options).latents(batch))  # not fused twice
    with pytest.raises(SegGenError, match="holds distilled weights already"):
        Sampler(pipeline, OPTIONS)
    assert options.distilled.facts()["licence"] == "of the weights" and len(options.distilled.facts()["fingerprint"]) == 32


def test_distilled_weights_that_do_not_fit_are_refused(text2mask, tmp_path):
    good = lora_of(text2mask.unet, "peft")
    first = next(iter(good))
    cases = {"1 of .* that do not": {**good, first: good[first][:, :1].contiguous()},
             "down_blocks.9.conv": {**good, "unet.down_blocks.9.conv.lora_A.weight": torch.zeros(2, 3)},
             "text_encoder": {**good, "text_encoder.layer.lora_A.weight": torch.zeros(2, 3)}}
    for n, (words, state) in enumerate(cases.items()):
        save_file(state, tmp_path / f"{n}.safetensors")
        with pytest.raises(SegGenError, match=rf"do not fit the UNet(.|\n)*{words}"):
            Sampler(text2mask, SamplerOptions(4, 1.0, distilled=Distilled(str(tmp_path / f"{n}.safetensors"))))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "0.safetensors").read_bytes()[:1000])
    for name in ("cut", "absent"):
        with pytest.raises(SegGenError, match="cannot be opened"):
            Sampler(text2mask, SamplerOptions(4, 1.0, distilled=Distilled(str(tmp_path / f"{name}.safetensors"))))
    save_file({"lora_unet_down_blocks_0_conv.lora_down.weight": torch.zeros(2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(SegGenError, match="names that are not known"):
        Sampler(text2mask, SamplerOptions(4, 1.0, distilled=Distilled(str(tmp_path / "half.safetensors"))))


def test_licences_of_distilled_weights_are_known_by_name():
    assert "non-commercial" in Distilled("tianweiy/DMD2/dmd2_sdxl_4step_lora.safetensors", "dmd2").facts()["licence"]
    assert Distilled("mine.safetensors").told_licence.startswith("unknown")
    assert not Distilled() and Distilled("a/b/c/d.safetensors").hub_name == ("a/b", "c/d.safetensors")


@pytest.mark.parametrize("shortcut", [{"channels_last": True}, {"decode_batch": 2}, {"compile": True}])
def test_shortcuts_that_round_change_nothing_else(shortcut, mask2img, monkeypatch):
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)  # the benchmark compiles in earnest
    plain, short = (Sampler(mask2img, replace(OPTIONS, **more)).paint(batch_of(mask2img)) for more in ({}, shortcut))
    assert np.abs(plain.astype(int) - short).max() <= 1
    assert compiled == ([mask2img.unet, mask2img.controlnet] if "compile" in shortcut else [])


def test_the_vae_decodes_in_float32_beside_half_precision_networks(tiny_base):
    pipeline = load_base(str(tiny_base), dtype=torch.bfloat16)
    painter = Sampler(pipeline, OPTIONS)
    assert pipeline.vae.dtype == torch.float32 and painter.unet.dtype == torch.bfloat16
    whole = load_base(str(tiny_base)).vae.parameters()  # never rounded to bfloat16 on the way
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(pipeline.vae.parameters(), whole, strict=True))
    latents = painter.latents(batch_of(pipeline))
    assert latents.dtype == torch.float32 and painter.images(latents).shape == (3, SIDE, SIDE, 3)
    with pytest.raises(SegGenError, match="overflows in float16"):
        Sampler(pipeline, replace(OPTIONS, decode_dtype="float16"))


def test_the_vae_sees_as_many_images_as_memory_bears(text2mask, monkeypatch):
    painter, seen, decode = Sampler(text2mask, OPTIONS), [], text2mask.vae.decode
    monkeypatch.setattr(text2mask.vae, "decode", lambda latents, **more: seen.append(len(latents)) or decode(latents, **more))
    latents = torch.zeros((3, 4, SIDE // 2, SIDE // 2))
    painter.images(latents)
    monkeypatch.setattr("seggen_d2.generators.sampling.pixels.PIXELS_AT_ONCE", 2 * SIDE * SIDE)
    painter.images(latents)
    Sampler(text2mask, replace(OPTIONS, decode_batch=1)).images(latents)
    assert seen == [3, 2, 1, 1, 1, 1]


def test_captions_are_encoded_once_and_memory_is_bounded(text2mask, monkeypatch):
    calls, encode = [], text2mask.encode_prompt
    monkeypatch.setattr(text2mask, "encode_prompt", lambda caption, **more: calls.append(caption) or encode(caption, **more))
    prompts = PromptMemory(text2mask, size=2)
    first = prompts(["a", "b", "a"])
    assert calls == ["", "a", "b"] and torch.equal(first[0][0], first[0][2])
    prompts(["a", "c"])  # b goes
    prompts(["a", "b"])
    assert calls == ["", "a", "b", "c", "b"] and len(prompts.kept) == 2
    embeds, pooled = prompts.no_caption(3)
    assert embeds.shape == first[0].shape and not embeds.any() and not pooled.any()  # SDXL's zeros


def test_latents_and_images_may_run_in_two_threads(mask2img):
    from concurrent.futures import ThreadPoolExecutor

    painter, batch = Sampler(mask2img, OPTIONS), batch_of(mask2img)
    with ThreadPoolExecutor(1) as decoding:
        waiting = [decoding.submit(painter.images, painter.latents(batch)) for _ in range(3)]
        assert all(np.array_equal(one.result(), painter.paint(batch)) for one in waiting)


@pytest.mark.parametrize(("values", "words"), [
    ({"sampler": "eulr"}, "did you mean 'euler'"), ({"sampler": "dpm++", "churn": 1.0}, "churn does not go with"),
    ({"guidance_interval": [5, 1]}, "guidance_interval is no interval"), ({"guidance_interval": [1]}, "guidance_interval is no interval"),
    ({"steps": 10, "strength": 0.05}, "leaves no step"), ({"distilled": {"weights": "a.bin"}}, "is no safetensors"),
    ({"distilled": {"weights": "a.safetensors", "format": "turbo"}}, "distilled.format is not known"),
    ({"distilled": {"weights": "a.safetensors"}, "sampler": "heun", "steps": 4, "guidance": 1}, "cannot be chosen with distilled"),
    ({"distilled": {"weights": "a.safetensors"}, "guidance": 1}, "steps with distilled weights is out of range"),
    ({"distilled": {"weights": "a.safetensors"}, "steps": 4}, "guidance with distilled weights is out of range")])
def test_options_that_do_not_go_together_are_refused(values, words):
    with pytest.raises(SegGenError, match=words):
        build(SamplerOptions, values, "sampler.yaml")


def test_options_come_from_yaml():
    options = build(SamplerOptions, {"steps": 4, "guidance": 1, "guidance_interval": [0.3, 5], "distilled": {"weights": "w.safetensors"}}, "x")
    assert options.guidance_interval == (0.3, 5.0) and options.distilled and not SamplerOptions().distilled


def test_what_a_batch_lacks_is_told(text2mask, mask2img):
    with pytest.raises(SegGenError, match="do not go together"):
        Sampler(text2mask, OPTIONS).latents(batch_of(mask2img))
    with pytest.raises(SegGenError, match="multiples of 4"):
        Sampler(text2mask, OPTIONS).latents(SampleBatch(["a"], [1], [(8, 8, 0, 0, 30, 30)], 30, 30))
    config = {**text2mask.scheduler.config, "rescale_betas_zero_snr": True}
    with pytest.raises(SegGenError, match="does not know this base's noise levels"):
        Solver(config, SamplerOptions(sampler="heun"))


def test_the_benchmark_measures_what_is_asked_for(monkeypatch):
    monkeypatch.setattr(bench, "_samplers", lambda size: [size])
    monkeypatch.setenv("SEGGEN_BENCH_ROWS", "samplers")
    monkeypatch.setenv("SEGGEN_BENCH_STEPS", "24")
    assert bench.sample_rows() == [bench.BenchSize(steps=24, rows="samplers")]
    monkeypatch.setenv("SEGGEN_BENCH_ROWS", "sampler")
    with pytest.raises(SegGenError, match="SEGGEN_BENCH_ROWS is not known(.|\n)*did you mean 'samplers'"):
        bench.sample_rows()

"""Trainings from a dataset to a generator: what starts where, what stays apart, alarms, and what a dry run tells."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from coco_samples import write_coco

from seggen_d2.captions import LabelListCaptioner, caption_dataset
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.bases import load_base
from seggen_d2.generators.directory import load_generator, read_card
from seggen_d2.generators.judging.alarms import AlarmOptions, alarm_of, held_out_part
from seggen_d2.generators.sampling.options import SamplerOptions
from seggen_d2.generators.sampling.prediction import PromptMemory
from seggen_d2.generators.training.dry_run import averaging, dry_run, needs_text
from seggen_d2.generators.training.fine_tuning import Work, train_generator
from seggen_d2.generators.training.lora import LoraOptions
from seggen_d2.generators.training.networks import make_objective
from seggen_d2.generators.training.objectives import LossOptions
from seggen_d2.generators.training.optimizers import Average
from seggen_d2.generators.training.states import States
from seggen_d2.segmentation import Categories, default_palette
from seggen_d2.segmentation.palette import palette_like
from seggen_d2.sources import load_dataset

QUICK = SamplerOptions(steps=1, guidance=1.0)


# -- where it starts -------------------------------------------------------------------------------------------------


def test_equal_names_keep_their_colours_and_others_are_far_from_all():
    old = Categories.from_names(["road", "sky", "traffic light", "car"])
    new = Categories.from_names(["car", "boat", "Traffic-Light", "pier", "sky"])
    before, after = default_palette(4), palette_like(new, old, default_palette(4))
    kept = {0: 3, 2: 2, 4: 1}
    assert all(np.array_equal(after.colors[ours], before.colors[theirs]) for ours, theirs in kept.items())
    fresh = [after.colors[1], after.colors[3]]
    assert all(not np.array_equal(color, other) for color in fresh for other in before.all_colors)
    assert after.min_distance() > 60 and np.array_equal(after.edge_color, before.edge_color)
    assert palette_like(old, old, before) == before
    assert len(palette_like(Categories.from_names([f"n{i}" for i in range(133)]), old, before)) == 133


@pytest.mark.parametrize("kind", ["text2mask", "mask2img"])
def test_a_generator_starts_from_another(kind, generators, toy_folder, tiny_base, make_generator_options):
    spec = yaml.safe_load((toy_folder / "dataset.yaml").read_text())
    (toy_folder / "renamed.yaml").write_text(yaml.safe_dump({**spec, "categories": [*spec["categories"][:-1], "zeppelin"]}))
    options = replace(make_generator_options(toy_folder, tiny_base), init=str(generators[kind]), dataset=str(toy_folder / "renamed.yaml"))
    work, before = Work(kind, options), load_generator(generators[kind], kind)
    part = "unet" if kind == "text2mask" else "controlnet"
    assert all(torch.equal(a, b) for a, b in zip(getattr(work.objective, part).parameters(), getattr(before, part).parameters()))
    old = read_card(generators[kind], kind).read_palette("x")
    assert np.array_equal(work.palette.colors[:-1], old.colors[:-1]) and not np.array_equal(work.palette.colors[-1], old.colors[-1])


def test_a_start_that_does_not_fit_is_refused(generators, toy_folder, tiny_base, make_generator_options):
    options = make_generator_options(toy_folder, tiny_base)
    with pytest.raises(SegGenError, match="another kind"):
        Work("text2mask", replace(options, init=str(generators["mask2img"])))
    with pytest.raises(SegGenError, match="init nobody/nothing is not there"):
        Work("text2mask", replace(options, init="nobody/nothing"))
    with pytest.raises(SegGenError, match="text2mask cannot start from(.|\n)*of the shape of the base's"):
        Work("text2mask", replace(options, base="toy", init=str(generators["text2mask"])))


def test_the_saved_base_is_exact_though_it_was_held_in_halves(toy_folder, tiny_base, tmp_path, make_generator_options):
    options = make_generator_options(toy_folder, tiny_base, steps=1, mixed_precision="bf16", gradient_checkpointing=True)
    train_generator("mask2img", options, tmp_path)
    saved, base = load_generator(tmp_path / "model", "mask2img", dtype=torch.float16), load_base(str(tiny_base))
    for part in ("unet", "text_encoder", "vae"):
        assert all(torch.equal(a, b.half()) for a, b in zip(getattr(saved, part).half().parameters(), getattr(base, part).parameters()))
    trained = States(tmp_path / "training" / "state", 2).newest() / "trained.safetensors"
    assert trained.stat().st_size < 1.1 * 4 * sum(p.numel() for p in saved.controlnet.parameters())


def test_captions_left_out_are_in_sampling_what_they_were_in_training(toy_folder, tiny_base, tmp_path, make_generator_options):
    shutil.copytree(tiny_base, tmp_path / "base")
    index = json.loads((tmp_path / "base" / "model_index.json").read_text())
    (tmp_path / "base" / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    for kind in ("text2mask", "mask2img"):
        train_generator(kind, make_generator_options(toy_folder, tmp_path / "base", steps=1), tmp_path / kind)
        empty, pooled = PromptMemory(load_generator(tmp_path / kind / "model", kind)).no_caption(1)
        assert not empty.any() and not pooled.any()


# -- what stays apart ------------------------------------------------------------------------------------------------


def test_images_of_the_validation_set_are_found_by_their_bytes(toy_folder, tiny_base, tmp_path, make_generator_options):
    record = load_dataset(toy_folder / "dataset.yaml").records()[2]
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    shutil.copy(record["file_name"], tmp_path / "images" / "another-name.png")
    shutil.copy(record["sem_seg_file_name"], tmp_path / "masks" / "another-name.png")
    spec = {**yaml.safe_load((toy_folder / "dataset.yaml").read_text()), "name": "val", "images": "images", "masks": "masks", "attributes": ""}
    (tmp_path / "val.yaml").write_text(yaml.safe_dump(spec))
    options = replace(make_generator_options(toy_folder, tiny_base), exclude=(str(tmp_path / "val.yaml"),))
    with pytest.raises(SegGenError, match=r"1 images of .*val.yaml are among those of .*dataset.yaml(.|\n)*another-name.png"):
        Work("text2mask", options)


def test_pictures_held_out_are_not_trained_on(toy_folder):
    source = load_dataset(toy_folder / "dataset.yaml")
    held, _, ids = held_out_part(source, {}, AlarmOptions(every=1, pictures=2), "x")
    assert len(ids) == 2 and {record["image_id"] for record in held.records()} == ids and held.categories == source.categories


# -- alarms ----------------------------------------------------------------------------------------------------------


def test_a_training_is_measured_and_its_best_weights_are_saved(toy_folder, tiny_base, tmp_path, make_generator_options):
    """Adapters in halves: after each measurement the weights are as they were, types and all."""
    options = replace(make_generator_options(toy_folder, tiny_base, steps=2, mixed_precision="bf16"), lora=LoraOptions(rank=2),
                      validation=AlarmOptions(every=1, pictures=2, sampler=QUICK, learnt_by=1))
    train_generator("text2mask", options, tmp_path / "measured")
    lines = [json.loads(line) for line in (tmp_path / "measured" / "training" / "log.jsonl").read_text().splitlines()]
    figures = [line for line in lines if "histogram_distance" in line]
    assert [line["step"] for line in figures] == [1, 2] and {"unsure", "nearest", "copies"} <= figures[0].keys()
    card = read_card(tmp_path / "measured" / "model", "text2mask")
    assert card.training["best"]["step"] in (1, 2) and card.training["data"]["pictures"] == 4
    assert (tmp_path / "measured" / "training" / "best").is_dir()


def test_mask2img_is_judged_by_a_segmenter(toy_folder, tiny_base, tmp_path, make_generator_options, monkeypatch):
    options = replace(make_generator_options(toy_folder, tiny_base), validation=AlarmOptions(every=1, pictures=2, sampler=QUICK, learnt_by=0))
    judged = replace(options, validation=replace(options.validation, segmenter="judge"))
    blind = lambda images: np.zeros(images.shape[:3], np.int64)  # noqa: E731
    monkeypatch.setattr("seggen_d2.generators.training.work.load_segmenter", lambda name, categories, device: blind)
    train_generator("mask2img", judged, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "training" / "log.jsonl").read_text().splitlines()]
    assert any("still ignored" in line.get("alarm", "") for line in lines)  # it sees nothing in any image


def test_without_a_segmenter_the_loss_tells_whether_the_condition_is_used(toy_folder, tiny_base, tmp_path, make_generator_options):
    """A new ControlNet begins and ends in zeros, so that its condition makes no difference at all; with weights there it makes some."""
    options = replace(make_generator_options(toy_folder, tiny_base, learning_rate=1e-12), validation=AlarmOptions(every=2, pictures=3, learnt_by=0))
    train_generator("mask2img", options, tmp_path)
    line = next(line for line in map(json.loads, (tmp_path / "training" / "log.jsonl").read_text().splitlines()) if "gain" in line)
    assert abs(line["gain"]) < 1e-6 and "condition is still ignored" in line["alarm"]
    work = Work("mask2img", options)
    measure = work.validation(work.examples(tmp_path / "cache")).measure
    for layer in (work.objective.controlnet.controlnet_mid_block, work.objective.controlnet.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(layer.weight)
    figures = measure()
    assert figures["loss_held_out"] != figures["loss_shuffled"] and figures["gain"] == 1 - figures["loss_held_out"] / figures["loss_shuffled"]


def test_alarms_tell_what_is_wrong():
    options = AlarmOptions(every=1, learnt_by=100, segmenter="judge")
    ignored, fine = {"miou": 5.0, "miou_shuffled": 5.0, "miou_real": 60.0, "heeded": 0.0}, {"heeded": 0.5}
    assert alarm_of("mask2img", options)(99, ignored) == "" and alarm_of("mask2img", options)(100, fine) == ""
    assert "against others', real photos 60.0" in alarm_of("mask2img", options)(100, ignored)
    unjudged = alarm_of("mask2img", AlarmOptions(every=1, learnt_by=100))
    assert unjudged(100, {"gain": 0.1}) == "" and "still ignored" in unjudged(100, {"gain": 0.0})
    clean = {"unsure": 0.1, "copies": 0.0, "copies_real": 0.0}
    assert alarm_of("text2mask", options)(100, clean) == ""
    assert "palette is not learnt" in alarm_of("text2mask", options)(100, {**clean, "unsure": 0.9})
    assert "copies of training masks" in alarm_of("text2mask", options)(1, {**clean, "copies": 0.5})


# -- tasks and losses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_segments_train_a_generator(task, tiny_base, tmp_path, make_generator_options):
    dataset = write_coco(tmp_path)[task]
    source = load_dataset(dataset)
    caption_dataset(source, LabelListCaptioner(source.categories), tmp_path / "captions.parquet")
    options = replace(make_generator_options(tmp_path, tiny_base, steps=1), dataset=str(dataset), long_captions="cut", edge_width=3, edges="touching")
    train_generator("mask2img", options, tmp_path / "out")
    card = read_card(tmp_path / "out" / "model", "mask2img")
    assert (card.task, card.edge_width, card.edges) == (task, 3, "touching") and len(card.read_palette("x")) == len(source.categories)


def loss_of(objective, batch, seed=0):
    with torch.no_grad():
        return float(objective(batch, torch.Generator().manual_seed(seed)))


def test_min_snr_weighs_as_the_paper_says(tiny_base):
    base = load_base(str(tiny_base))
    steps = torch.arange(0, 1000, 37)
    for kind, weight in (("epsilon", lambda snr, low: low / snr), ("v_prediction", lambda snr, low: low / (snr + 1)), ("sample", lambda snr, low: low)):
        base.scheduler.register_to_config(prediction_type=kind)
        objective = make_objective("text2mask", base, LossOptions(min_snr=5.0))
        alphas = objective.noise_schedule.alphas_cumprod[steps]
        snr = alphas / (1 - alphas)
        assert torch.allclose(objective.weights(steps), weight(snr, snr.clamp(max=5.0)))
    base.scheduler.register_to_config(prediction_type="epsilon")
    assert torch.equal(make_objective("text2mask", base, LossOptions(min_snr=999.0)).weights(torch.tensor([500, 999])), torch.ones(2))


def test_options_of_the_loss_that_are_off_change_no_draw(tiny_base):
    base, draw = load_base(str(tiny_base)), torch.Generator().manual_seed(1)
    batch = {"latent_mean": torch.randn((2, 4, 8, 8), generator=draw), "latent_std": torch.zeros((2, 4, 8, 8)),
             "prompt_embeds": torch.randn((2, 77, 32), generator=draw), "pooled": torch.randn((2, 16), generator=draw),
             "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]] * 2)}
    plain, offset, dropped = (loss_of(make_objective("text2mask", base, options), batch)
                              for options in (LossOptions(), LossOptions(offset_noise=0.1), LossOptions(caption_dropout=1.0)))
    assert plain != offset and plain != dropped
    assert plain == loss_of(make_objective("text2mask", base), batch)


@pytest.mark.parametrize("kind", ["text2mask", "mask2img"])
def test_checkpointing_changes_no_gradient(kind, tiny_base):
    """Gradients of the ControlNet pass through the frozen UNet, and those of the UNet through its own recomputed blocks."""
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        objective, draw = make_objective(kind, load_base(str(tiny_base))), torch.Generator().manual_seed(1)
        if checkpointing:
            objective.unet.enable_gradient_checkpointing()
            _ = kind == "text2mask" or objective.controlnet.enable_gradient_checkpointing()
        batch = {"latent_mean": torch.randn((2, 4, 16, 16), generator=draw), "latent_std": torch.zeros((2, 4, 16, 16)),
                 "prompt_embeds": torch.randn((2, 77, 32), generator=draw), "pooled": torch.randn((2, 16), generator=draw),
                 "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]] * 2), "condition": torch.rand((2, 3, 32, 32), generator=draw)}
        objective(batch, draw).backward()
        gradients.append([p.grad for p in objective.parameters() if p.requires_grad])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients)) and any(g.abs().max() > 0 for g in gradients[1])


# -- dry runs ------------------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_what_a_training_takes(toy_folder, tiny_base, tmp_path, make_generator_options, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    options = make_generator_options(toy_folder, tiny_base, ema_device="cpu")
    needs = dry_run("mask2img", options)
    assert list(tmp_path.iterdir()) == []  # nothing left behind
    train_generator("mask2img", options, tmp_path / "out")
    state = States(tmp_path / "out" / "training" / "state", 2).newest()
    written = sum(path.stat().st_size for path in state.glob("*.safetensors"))
    assert needs.state == pytest.approx(written, rel=0.25) and needs.moments == pytest.approx(2 * needs.gradients, rel=0.01)
    cache = sum(path.stat().st_size for path in (tmp_path / "out" / "cache").rglob("*") if path.is_file())
    assert needs.cache == pytest.approx(cache, rel=0.35)
    model = sum(path.stat().st_size for path in (tmp_path / "out" / "model").rglob("*.safetensors"))
    assert needs.model == pytest.approx(model, rel=0.15)
    assert needs.examples == 12 and needs.step > 0 and needs.activations > 0
    text = needs_text(needs, "mask2img")
    assert "(cpu)" in text and "million trained" in text and "3 states" in text


def test_averages_that_are_seldom_updated_count_on_the_mean(monkeypatch):
    """A second an update: once in ten steps it is a tenth a step, and at each step those that were timed show it."""
    monkeypatch.setattr("seggen_d2.generators.training.dry_run.time", SimpleNamespace(monotonic=iter([5.0, 6.0]).__next__))
    average = Average({"w": torch.nn.Parameter(torch.ones(1))}, 0.9, every=10)
    seconds = [averaging(SimpleNamespace(average=average, options=SimpleNamespace(ema_every=every))) for every in (10, 1)]
    assert seconds == [0.1, 0.0]


def test_adapters_and_checkpointing_spare_memory(toy_folder, tiny_base, make_generator_options):
    whole = dry_run("text2mask", make_generator_options(toy_folder, tiny_base))
    spared = dry_run("text2mask", replace(make_generator_options(toy_folder, tiny_base, gradient_checkpointing=True), lora=LoraOptions(rank=1)))
    assert spared.trained < 0.2 * whole.trained and spared.moments < 0.2 * whole.moments and spared.activations < 0.7 * whole.activations

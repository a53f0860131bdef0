"""What is measured along a generator's training, and the segmenter that judges."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from seggen_d2.captions import read_captions
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.bases import load_base
from seggen_d2.generators.directory import load_generator
from seggen_d2.generators.examples.cache import CacheOptions
from seggen_d2.generators.examples.labelled import build_examples
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.judging import validation as module
from seggen_d2.generators.judging.copies import SIDE, nearest_distances, thumbnail
from seggen_d2.generators.judging.held_out import HeldOut, ValidationOptions
from seggen_d2.generators.judging.segmenter import load_segmenter, match_classes
from seggen_d2.generators.judging.validation import Mask2ImgValidation, Text2MaskValidation
from seggen_d2.generators.sampling.sampler import Distilled, SamplerOptions
from seggen_d2.segmentation import Categories, default_palette
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.segmentation.masks import SemanticMask
from seggen_d2.sources import load_dataset
from seggen_d2.sources.toy import CATEGORIES

OPTIONS = ValidationOptions(pictures=6, batch=4, sampler=SamplerOptions(steps=1, guidance=1.0))
GEOMETRY = Geometry(height=32, width=32)


@pytest.fixture(scope="module")
def held_out(toy_folder):
    source = load_dataset(toy_folder / "dataset.yaml")
    codec = mask_codec("semantic", default_palette(len(source.categories)), source.categories)
    return HeldOut(source, read_captions(toy_folder / "captions.parquet"), GEOMETRY, codec, OPTIONS)


@pytest.fixture(scope="module")
def tiny_segmenter(tmp_path_factory):
    """An untrained Mask2Former of the toy world's classes, saved by the engine: ``(folder, model)``."""
    from seggen_d2.engine.checkpoint import save_network
    from seggen_d2.modeling import build_mask2former

    torch.manual_seed(0)
    options = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}
    model = build_mask2former(len(CATEGORIES), backbone="tiny-resnet", backbone_options=options, class_names=CATEGORIES.names, queries=10,
                              encoder_layers=1, decoder_layers=2, feature_size=32, mask_feature_size=32, heads=2, feedforward_size=32,
                              encoder_feedforward_size=32, points=64)
    folder = tmp_path_factory.mktemp("segmenter") / "model_final"
    save_network(model, folder)
    return folder, model.eval()


def _painter(monkeypatch, paint):
    """Let validations paint by a function of the batch, without networks."""
    from contextlib import contextmanager

    @contextmanager
    def painting(pipeline, options, autocast):
        yield paint

    monkeypatch.setattr(module, "painting", painting)


def _judge(held_out):
    """A segmenter that reads images as colour maps."""
    return lambda images: np.stack([held_out.codec.decode(image).mask.labels() for image in images])


@pytest.mark.parametrize("name, sampler", [("distilled", {"steps": 4, "guidance": 1.0, "distilled": Distilled("lcm.safetensors")}),
                                           ("strength", {"strength": 0.5})])
def test_samplers_that_would_spoil_a_training_are_refused(name, sampler):
    with pytest.raises(SegGenError, match=f"validation: sampler: {name} cannot be used"):
        ValidationOptions(sampler=SamplerOptions(**sampler))


def test_batches_are_of_one_size_and_the_same_each_time(held_out):
    first, again = ([[p.record["image_id"] for p in pairs] for pairs in held_out.batches()] for _ in range(2))
    assert first == again and sorted(sum(first, [])) == sorted(r["image_id"] for r in held_out.source.records())
    mixed = HeldOut(held_out.source, held_out.captions, Geometry(pixels=32 * 32, multiple=8), held_out.codec, OPTIONS)
    assert all(len({pair.view.out for pair in pairs}) == 1 for pairs in mixed.batches())


def test_an_obedient_generator_has_full_marks(held_out, monkeypatch):
    _painter(monkeypatch, lambda batch: batch.color_maps)
    figures = Mask2ImgValidation(held_out, _judge(held_out))(None)
    assert figures["miou"] == pytest.approx(100) and figures["miou_shuffled"] < 60 and figures["miou_real"] < 60


def test_a_generator_that_ignores_its_condition_is_told(held_out, monkeypatch):
    masks = {p.caption: held_out.codec.encode(held_out.mask(p)) for pairs in held_out.batches() for p in pairs}
    photos = {held_out.photo(p).tobytes(): held_out.mask(p).labels() for pairs in held_out.batches() for p in pairs}
    knows = lambda images: np.stack([photos.get(i.tobytes(), held_out.codec.decode(i).mask.labels()) for i in images])  # noqa: E731
    one = next(iter(masks.values()))
    _painter(monkeypatch, lambda batch: np.stack([one] * len(batch)))
    figures = Mask2ImgValidation(held_out, knows)(None)
    assert figures["miou_real"] == pytest.approx(100) and figures["heeded"] < 0.3 and figures["miou"] < 60
    _painter(monkeypatch, lambda batch: batch.color_maps)
    assert Mask2ImgValidation(held_out, knows)(None)["heeded"] == pytest.approx(1)


def test_an_engines_model_judges_a_real_generator_which_stays_as_it_was(held_out, tiny_segmenter, generators):
    segmenter = load_segmenter(tiny_segmenter[0], held_out.source.categories)
    pipeline = load_generator(generators["mask2img"], "mask2img")
    pipeline.vae.to(torch.bfloat16)
    pipeline.unet.train()
    weights = {name: value.clone() for name, value in pipeline.controlnet.state_dict().items()}
    validation = Mask2ImgValidation(held_out, segmenter)
    figures = validation(pipeline)
    assert set(figures) == {"miou", "miou_real", "miou_shuffled", "heeded"} and 0 <= figures["miou"] <= 100
    assert validation(pipeline) == figures
    assert pipeline.vae.dtype == torch.bfloat16 and pipeline.unet.training and not pipeline.vae.training
    assert all(torch.equal(value, weights[name]) for name, value in pipeline.controlnet.state_dict().items())


def test_a_training_in_mixed_precision_is_measured_too(held_out, generators):
    """The UNet frozen in half precision, the ControlNet that is trained in float32."""
    pipeline = load_generator(generators["mask2img"], "mask2img")
    pipeline.unet.to(torch.bfloat16)
    figures = Mask2ImgValidation(held_out, _judge(held_out), autocast=torch.bfloat16)(pipeline)
    assert 0 <= figures["miou"] <= 100 and pipeline.unet.dtype == torch.bfloat16 and pipeline.controlnet.dtype == torch.float32


def test_painting_gives_back_the_very_tensors(held_out, generators):
    """Text encoders and VAE paint in halves, and would have lost digits if they were only cast back."""
    pipeline = load_generator(generators["mask2img"], "mask2img")
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    tensors = [tensor for part in parts for tensor in part.state_dict(keep_vars=True).values()]
    buffers = [buffer for part in parts for buffer in part.buffers()]
    places = [tensor.data_ptr() for tensor in (*tensors, *buffers)]
    with module.painting(pipeline, SamplerOptions(steps=1, channels_last=True, decode_dtype="bfloat16"), torch.bfloat16) as paint:
        assert {weight.dtype for weight in pipeline.text_encoder_2.parameters()} == {torch.bfloat16}
        paint(held_out.to_paint(pairs := next(held_out.batches()), [held_out.mask(pair) for pair in pairs]))
    assert [tensor.data_ptr() for tensor in (*tensors, *(buffer for part in parts for buffer in part.buffers()))] == places
    assert all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())


@pytest.fixture(scope="module")
def examples(held_out, tiny_base, tmp_path_factory):
    palette = default_palette(len(held_out.source.categories))
    return build_examples(held_out.source, held_out.captions, held_out.codec, palette, load_base(str(tiny_base)), GEOMETRY,
                          tmp_path_factory.mktemp("cache"), target="color_map", options=CacheOptions())


def test_the_cache_keeps_the_masks_thumbnails(held_out, examples):
    parts = list(examples.thumbnails(chunk=4))
    assert [part.shape for part in parts] == [(4, SIDE, SIDE), (2, SIDE, SIDE)]
    expected = [thumbnail(held_out.mask(pair)) for pairs in held_out.batches() for pair in pairs]
    assert np.array_equal(np.concatenate(parts), np.stack(expected))


def test_a_generator_that_copies_is_told(held_out, examples, monkeypatch):
    maps = {p.caption: held_out.codec.encode(held_out.mask(p).mirrored()) for pairs in held_out.batches() for p in pairs}
    _painter(monkeypatch, lambda batch: np.stack([maps[caption] for caption in batch.captions]))
    figures = Text2MaskValidation(held_out, examples.thumbnails)(None)
    assert (figures["unsure"], figures["histogram_distance"], figures["copies"], figures["copies_real"]) == (0, 0, 1, 1)
    assert figures["nearest_median"] < 0.03  # mirroring and shrinking by 4/3 round differently


def test_a_generator_of_grey_noise_is_told(held_out, examples, monkeypatch):
    rng = np.random.default_rng(0)
    _painter(monkeypatch, lambda batch: rng.integers(90, 170, (len(batch), 32, 32, 3), dtype=np.uint8))
    figures = Text2MaskValidation(held_out, examples.thumbnails)(None)
    assert figures["unsure"] > 0.5 and figures["histogram_distance"] > 0.3 and figures["copies"] == 0 and figures["nearest"] > 0.3


def test_a_real_text2mask_is_measured(held_out, examples, generators):
    figures = Text2MaskValidation(held_out, examples.thumbnails)(load_generator(generators["text2mask"], "text2mask"))
    assert figures.pop("misfit") == figures["unsure"] + figures["histogram_distance"]
    assert all(0 <= value <= 1 for value in figures.values())


def test_distances_are_shares_of_pixels_and_mirror_images_are_none():
    mask = SemanticMask(np.tril(np.ones((SIDE, SIDE), np.uint8)))
    one, half = thumbnail(mask), np.zeros((SIDE, SIDE), np.uint16)
    half[: SIDE // 2] = 5
    assert nearest_distances(np.stack([one, half]), [one[None, :, ::-1], np.zeros((1, SIDE, SIDE))]).tolist() == [0, 0.5]


def test_a_dataset_of_one_pair_is_too_small(held_out):
    small = type("Small", (), {"name": "one", "records": lambda self: held_out.source.records()[:1]})()
    with pytest.raises(SegGenError, match="one is too small to validate on"):
        HeldOut(small, {}, GEOMETRY, held_out.codec, OPTIONS)


# -- the segmenter ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 64), (30, 50)])
def test_an_engines_model_predicts_what_it_predicts_there(tiny_segmenter, size):
    folder, model = tiny_segmenter
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = [out["sem_seg"].argmax(0).numpy() for out in model([{"image": torch.from_numpy(i).permute(2, 0, 1)} for i in images])]
    assert (load_segmenter(folder, CATEGORIES)(images) == np.stack(expected)).mean() > 0.999


def test_categories_in_another_order_are_matched_by_name(tiny_segmenter):
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    turned = Categories.from_names([name.upper() for name in CATEGORIES.names[::-1]])
    one, other = load_segmenter(tiny_segmenter[0], CATEGORIES)(images), load_segmenter(tiny_segmenter[0], turned)(images)
    assert np.array_equal(one, len(CATEGORIES) - 1 - other)


def test_a_semantic_model_with_a_processor_serves_too(tmp_path):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    names = {0: "background", 1: "Sky, heaven", 2: "road"}
    config = SegformerConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, decoder_hidden_size=16, num_attention_heads=[1] * 4, id2label=names,
                             label2id={name: number for number, name in names.items()})
    SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 48, "width": 64}, "image_mean": [0.5] * 3}))
    segmenter = load_segmenter(tmp_path, Categories.from_names(["road", "heaven"]))
    assert segmenter.short_side == 48 and float(segmenter.mean[0, 0]) == 0.5
    predicted = segmenter(np.zeros((2, 40, 80, 3), np.uint8))
    assert predicted.shape == (2, 40, 80) and predicted.max() <= 1


def test_categories_that_a_segmenter_does_not_know_are_named():
    with pytest.raises(SegGenError, match=r"does not know 1 of the dataset's 2(.|\n)*zebra(.|\n)*sky, road"):
        match_classes(Categories.from_names(["sky", "zebra"]), {0: "sky", 1: "road"}, "x")
    assert match_classes(Categories.from_names(["bed", "crib"]), {0: "crib, bed", 1: "bed", 2: "crib"}, "x") == [1, 2]


def test_what_is_no_segmenter_is_refused(tmp_path, tiny_base, tiny_segmenter):
    shutil.copytree(tiny_segmenter[0], tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(SegGenError, match="cut cannot be opened"):
        load_segmenter(tmp_path / "cut", CATEGORIES)
    with pytest.raises(SegGenError, match="cannot be opened"):
        load_segmenter(tmp_path / "nowhere", CATEGORIES)
    with pytest.raises(SegGenError, match="is no segmenter that can judge images(.|\n)*clip_text_model"):
        load_segmenter(tiny_base / "text_encoder", CATEGORIES)

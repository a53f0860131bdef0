"""Training examples streamed from the cache: what is made once, what a draw sees."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from coco_samples import write_coco
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.bases import load_base
from seggen_d2.generators.directory import read_card
from seggen_d2.generators.examples import cache as cache_module
from seggen_d2.generators.examples import rows as rows_module
from seggen_d2.generators.examples.cache import CacheOptions
from seggen_d2.generators.examples.labelled import BucketOrder, build_examples
from seggen_d2.generators.examples.latents import color_png, encode_pictures, read_color_png, to_bytes
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.images import to_unit
from seggen_d2.generators.training.fine_tuning import train_generator
from seggen_d2.segmentation import default_palette, label_map_png
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_labelled
from seggen_d2.sources.toy import CATEGORIES, toy_scene

GEOMETRY = Geometry(pixels=32 * 32, multiple=8)
EXACT = CacheOptions(precision="float32", batch=2)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Nine toy scenes, five wide and four tall, with two captions each: ``(source, captions)``."""
    root: Path = tmp_path_factory.mktemp("mixed")
    for name in ("images", "masks"):
        (root / name).mkdir()
    for number in range(9):
        scene, part = toy_scene(number, size=60), (slice(40), slice(60)) if number < 5 else (slice(60), slice(40))
        Image.fromarray(scene.image[part]).save(root / "images" / f"scene{number}.png")
        (root / "masks" / f"scene{number}.png").write_bytes(label_map_png(scene.labels[part]))
    keys = {"name": "mixed", "images": "images", "masks": "masks", "categories": list(CATEGORIES.names), "ignore_id": CATEGORIES.ignore_id}
    (root / "dataset.yaml").write_text(yaml.safe_dump(keys))
    source = load_dataset(root / "dataset.yaml")
    return source, {record["image_id"]: (f"a scene {record['image_id']}", "a scene") for record in source.records()}


@pytest.fixture(scope="module")
def pipeline(tiny_base):
    return load_base(str(tiny_base))


@pytest.fixture
def build(mixed, pipeline, tmp_path, monkeypatch):
    """:func:`build_examples` of the mixed scenes, in shards of four; keywords override."""
    monkeypatch.setattr(rows_module, "PER_SHARD", 4)
    source, captions = mixed
    palette = default_palette(len(source.categories))

    def make(target: str = "image", options: CacheOptions = EXACT, folder: Path = tmp_path, **over):
        given = {"captions": captions, "pipeline": pipeline, "geometry": GEOMETRY, **over}
        return build_examples(source, codec=mask_codec("semantic", palette, source.categories), palette=palette,
                              folder=folder, target=target, options=options, **given)

    return make


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.rows"))}


def _equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_a_batch_holds_is_what_was_encoded(build, mixed, pipeline):
    source, examples = mixed[0], build()
    assert len(examples) == 18 and examples.facts["buckets"] == {"24x40": 5, "40x24": 4}
    record = source.records()[2]
    (view,) = GEOMETRY.views(record["height"], record["width"])
    photo, mask = read_labelled(record, source)
    palette = default_palette(len(source.categories))
    picture, condition = view.image(photo), mask_codec("semantic", palette, source.categories).encode(view.mask(mask))
    batch = examples.batch(np.array([2, 2 + 9]))
    for way, (image, color_map) in enumerate(((picture, condition), (picture[:, ::-1], condition[:, ::-1]))):
        mean, std = encode_pictures(pipeline, image[None])
        assert torch.allclose(batch["latent_mean"][way], mean[0], atol=1e-5) and torch.allclose(batch["latent_std"][way], std[0], atol=1e-5)
        assert torch.equal(batch["condition"][way], to_unit(color_map[None])[0])
    assert batch["time_ids"].tolist() == [list(view.time_ids()), list(view.mirrored().time_ids())]
    assert batch["latent_mean"].shape == (2, 4, 12, 20)


def test_text2mask_learns_colour_maps_without_opening_photos(build, mixed, pipeline, monkeypatch):
    monkeypatch.setattr("seggen_d2.sources.masks.read_image", None)
    batch = build("color_map").batch(np.array([0]))
    assert "condition" not in batch and batch["latent_mean"].shape == (1, 4, 12, 20)


def test_a_second_call_makes_nothing_and_a_third_what_was_lost(build, tmp_path, monkeypatch):
    whole = build()
    files, first = _files(tmp_path), whole.batch(np.arange(5))
    monkeypatch.setattr(cache_module, "encode_batch", None)
    assert _equal(build().batch(np.arange(5)), first)
    monkeypatch.undo()
    monkeypatch.setattr(rows_module, "PER_SHARD", 4)
    (whole.latents.store.path(1)).unlink()
    (whole.texts.store.path(0)).unlink()
    assert _equal(build().batch(np.arange(5)), first) and _files(tmp_path) == files


def test_processes_make_their_own_shards(build, tmp_path, monkeypatch):
    whole = build()
    monkeypatch.setattr(rows_module.RowStore, "wait", lambda store: None)
    for index in (1, 0):
        state = type("State", (), {"num_processes": 2, "process_index": index, "is_local_main_process": not index})
        monkeypatch.setattr(cache_module, "PartialState", state)
        try:
            parts = build(folder=tmp_path / "shared")
        except SegGenError as error:
            assert index == 1 and "lacks" in str(error)
            made = {path.name for path in (tmp_path / "shared").glob("latents*/*.rows")}
            assert made == {"00001.rows"}
    assert _equal(parts.batch(np.arange(5)), whole.batch(np.arange(5)))


def test_float16_takes_half_the_space_and_is_near(build, tmp_path):
    exact, half = build(folder=tmp_path / "32").batch(np.arange(5)), build(options=CacheOptions(), folder=tmp_path / "16").batch(np.arange(5))
    for name, value in exact.items():
        assert half[name].dtype == torch.float32 and torch.allclose(half[name], value, atol=5e-3)
    latents = [sum(map(len, _files(tmp_path / name).values())) for name in ("32", "16")]
    assert 0.5 < latents[1] / latents[0] < 0.56


def test_mirror_images_may_be_left_out(build):
    examples = build(options=CacheOptions(precision="float32", mirrored=False))
    assert len(examples) == 9 and set(np.concatenate([examples.numbers(draw, 3, 0) for draw in range(6)])) == set(range(9))


def test_the_vae_works_in_float32_and_stays_as_it_was(build, tiny_base, tmp_path):
    low, plain = load_base(str(tiny_base)), load_base(str(tiny_base))
    low.vae.to(torch.bfloat16)
    plain.vae.to(torch.bfloat16).to(torch.float32)
    both = [build(pipeline=p, folder=tmp_path / str(n), limit=4).batch(np.arange(4))["latent_mean"] for n, p in enumerate((low, plain))]
    assert torch.equal(*both) and low.vae.dtype == torch.bfloat16


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_segments_are_outlined_after_they_were_resized(task, build, pipeline, tmp_path):
    source = load_dataset(write_coco(tmp_path / "coco")[task])
    palette, geometry = default_palette(len(source.categories)), Geometry(height=40, width=56)
    codec, captions = mask_codec(task, palette, source.categories), {str(record["image_id"]): "a train" for record in source.records()}
    given = {"pipeline": pipeline, "geometry": geometry, "folder": tmp_path / "cache", "options": EXACT}
    examples = build_examples(source, captions, codec, palette, target="image", **given)
    record = source.records()[0]
    (view,) = geometry.views(record["height"], record["width"])
    condition = (examples.batch(np.array([0]))["condition"][0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
    assert np.array_equal(condition, codec.encode(view.mask(read_labelled(record, source)[1])))
    assert (condition == palette.edge_color).all(-1).any()
    assert len(build_examples(source, captions, codec, palette, target="image", leave_out=[str(record["image_id"])], **given)) == len(examples) - 2
    maps = build_examples(source, captions, codec, palette, target="color_map", **given)
    assert next(maps.thumbnails()).shape[0] == len(maps) // 2 == len(source.records())


def test_a_training_is_the_same_with_a_cache_that_was_resumed(toy_folder, tiny_base, tmp_path, make_generator_options, monkeypatch):
    monkeypatch.setattr(rows_module, "PER_SHARD", 2)
    options = make_generator_options(toy_folder, tiny_base)
    train_generator("mask2img", options, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole" / "cache", tmp_path / "resumed" / "cache")
    for place, path in enumerate(sorted((tmp_path / "resumed" / "cache").rglob("*.rows"))):
        if place % 2:
            path.unlink()
    train_generator("mask2img", options, tmp_path / "resumed")
    prints = [read_card(tmp_path / name / "model", "mask2img").fingerprint for name in ("whole", "resumed")]
    assert prints[0] == prints[1] and _files(tmp_path / "whole" / "cache") == _files(tmp_path / "resumed" / "cache")


def test_other_weights_captions_or_geometry_are_never_mistaken(build, tiny_base, caplog):
    first = build()
    other = load_base(str(tiny_base))
    with torch.no_grad():
        next(other.vae.encoder.parameters()).add_(1e-3)
    with caplog.at_level(logging.WARNING):
        second = build(pipeline=other)
    assert "other input (vae)" in caplog.text and second.latents.store != first.latents.store and second.texts.store == first.texts.store
    third = build(geometry=Geometry(height=32, width=32))
    assert "(geometry)" in caplog.text and third.latents.store != first.latents.store
    fourth = build(captions={image_id: "a car" for image_id in [f"scene{n}" for n in range(9)]})
    assert "(captions, rows)" in caplog.text and fourth.latents.store == first.latents.store and len(fourth.texts) == 1


def test_a_mask_that_changes_makes_a_new_cache(build, mixed, caplog):
    source, first = mixed[0], build()
    mask = Path(source.records()[0]["sem_seg_file_name"])
    before = mask.read_bytes()
    mask.write_bytes(label_map_png(np.zeros((40, 60), np.uint8)))
    try:
        with caplog.at_level(logging.WARNING):
            assert build().latents.store != first.latents.store
    finally:
        mask.write_bytes(before)
    assert "other input (records)" in caplog.text


def test_each_draw_picks_one_of_an_images_captions(build):
    examples = build()
    assert len(examples.texts) == 10  # nine of their own, and one they share
    picked = [examples.batch(np.array([0]), draw=draw, seed=1)["pooled"][0] for draw in range(12)]
    again = [examples.batch(np.array([0]), draw=draw, seed=1)["pooled"][0] for draw in range(12)]
    assert all(torch.equal(a, b) for a, b in zip(picked, again, strict=True))
    assert len({tuple(p.tolist()) for p in picked}) == 2


def test_held_out_photos_are_left_out(build):
    assert len(build(leave_out=["scene0", "scene8"])) == 14
    with pytest.raises(SegGenError, match="no photos to train on"):
        build(leave_out=[f"scene{n}" for n in range(9)])


def test_a_disk_without_room_is_refused_first(build, tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000})())
    with pytest.raises(SegGenError, match="no room for latents and text embeddings"):
        build()
    assert not _files(tmp_path)


def test_the_space_told_is_the_space_taken(build, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        build()
    told = float(caplog.text.split("still to write")[0].split(": ")[-1].split()[0]) * 1e6
    assert sum(map(len, _files(tmp_path).values())) == pytest.approx(told, rel=0.1)


def test_values_that_do_not_fit_are_told():
    with pytest.raises(SegGenError, match=r"x cannot be stored as float16(.|\n)*1 of 2(.|\n)*float32"):
        to_bytes(torch.tensor([1.0, 1e6]), "float16", "x")


@pytest.mark.parametrize("colors", [1, 200, 4000])
def test_colour_maps_come_back_exactly(colors):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (colors, 3), dtype=np.uint8)[rng.integers(0, colors, (70, 60))]
    planes, mirrored = (read_color_png(color_png(rgb), mirrored=way) for way in (False, True))
    assert np.array_equal(planes.transpose(1, 2, 0), rgb) and np.array_equal(mirrored, planes[:, :, ::-1])
    assert planes.flags.c_contiguous


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_draws_are_of_one_bucket_and_show_each_example_once_before_any_again(batch):
    counts, seen = [23, 7, 2], [[], [], []]
    order = BucketOrder(counts)
    draws = sum(40 * count // batch for count in counts)  # forty epochs
    for draw in range(draws):
        bucket, places = order.places(draw, batch, seed=5)
        assert len(places) == batch
        seen[bucket].extend(places.tolist())
    for count, places in zip(counts, seen, strict=True):
        for start in range(0, len(places) - count + 1, count):
            assert sorted(places[start : start + count]) == list(range(count))
        assert 40 * count - batch < len(places) <= 40 * count


def test_draws_are_a_function_of_seed_and_draw():
    order = BucketOrder([23, 7, 2])
    one, again, other = ([order.places(draw, 4, seed)[1].tolist() for draw in draws] for seed, draws in
                         ((1, range(20)), (1, reversed(range(20))), (2, range(20))))
    assert one == again[::-1] and one != other


def test_fewer_examples_than_a_batch_are_drawn_again():
    order = BucketOrder([2, 1])
    assert sorted({order.places(draw, 8, 0)[0] for draw in range(30)}) == [0, 1]



"""The codec is an exact inverse, palettes are far apart, label maps are never blended."""

from __future__ import annotations

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import (
    Categories,
    Category,
    ColorCodec,
    Palette,
    check_labels,
    check_same_categories,
    check_same_palette,
    choose_palette,
    default_palette,
    histogram,
    label_map_png,
    read_label_map,
    resize_labels,
)


@pytest.fixture(scope="module", params=[8, 11, 133, 150, 3])
def codec(request) -> ColorCodec:
    return ColorCodec(default_palette(request.param), 255)


def random_labels(codec: ColorCodec, seed: int = 0) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, len(codec.palette) + 1, (40, 50))
    labels[labels == len(codec.palette)] = codec.ignore_id
    return labels


def test_decode_inverts_encode(codec):
    labels = random_labels(codec)
    assert (codec.decode(codec.encode(labels)) == labels).all()


def test_decode_inverts_encode_past_255_categories():
    codec = ColorCodec(choose_palette(300, rounds=0), 65535)
    labels = np.arange(300).reshape(15, 20)
    decoded = codec.decode(codec.encode(labels))
    assert decoded.dtype == np.uint16 and (decoded == labels).all()


def test_decode_is_the_nearest_colour(codec):
    rgb = np.random.default_rng(1).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    colors = codec.palette.all_colors.astype(np.int64)
    nearest = ((rgb[:, :, None].astype(np.int64) - colors) ** 2).sum(-1).argmin(-1)
    ids = np.array([*range(len(codec.palette)), codec.ignore_id, codec.ignore_id])
    assert (codec.decode(rgb) == ids[nearest]).all()


def test_a_clean_map_has_no_unsure_pixel(codec):
    rgb = codec.encode(random_labels(codec))
    assert not codec.unsure(rgb).any() and (codec.distance(rgb, codec.decode(rgb)) == 0).all()


def test_noise_below_half_the_smallest_distance_changes_nothing(codec):
    labels = random_labels(codec)
    reach = int(codec.palette.min_distance() / 2 / np.sqrt(3)) - 1
    noisy = codec.encode(labels).astype(int) + np.random.default_rng(2).integers(-reach, reach + 1, (*labels.shape, 3))
    assert (codec.decode(np.clip(noisy, 0, 255).astype(np.uint8)) == labels).all()


def test_encode_names_ids_without_a_colour(codec):
    with pytest.raises(SegGenError, match=r"\[200\] on 3 pixels"):
        codec.encode(np.array([0, 200, 200, 200]))


def test_stored_palettes_are_what_the_chooser_gives():
    for count in (8, 11, 133, 150):
        assert choose_palette(count) == default_palette(count)


def test_palettes_are_far_apart():
    assert default_palette(11).min_distance() > 140
    assert default_palette(150).min_distance() > 45


def test_palette_json_round_trip():
    palette = default_palette(11)
    assert Palette.from_json(palette.to_json(), "here") == palette


def test_palettes_that_differ_are_told_apart():
    a, b = default_palette(8), default_palette(11)
    with pytest.raises(SegGenError, match="8 colours against 11"):
        check_same_palette(a, b, a_is="the dataset", b_is="the bank")


@pytest.mark.parametrize("value", [{}, {"colors": [[0, 0, 300]], "ignore_color": [0, 0, 0], "edge_color": [1, 1, 1]}, 3])
def test_a_damaged_palette_is_refused(value):
    with pytest.raises(SegGenError):
        Palette.from_json(value, "here")


def test_categories_that_differ_are_told_apart():
    a, b = Categories.from_names(["sky", "car"]), Categories((Category("sky"), Category("car", True)), 254)
    with pytest.raises(SegGenError, match=r"id 1: 'car' \(stuff\) against 'car' \(thing\); ignore label: 255 against 254") as error:
        check_same_categories(a, b, a_is="the dataset", b_is="the bank")
    assert "the dataset" in str(error.value) and "the bank" in str(error.value)
    check_same_categories(a, a, a_is="a", b_is="b")


@pytest.mark.parametrize("names,ignore", [([], 255), (["a", "a"], 255), (["a", ""], 255), (["a", "b"], 1), (["a"], 70000)])
def test_impossible_categories_are_refused(names, ignore):
    with pytest.raises(SegGenError):
        Categories.from_names(names, ignore)


@pytest.mark.parametrize("top", [255, 300])
def test_label_map_png_round_trip(top):
    labels = np.random.default_rng(0).integers(0, top + 1, (9, 7))
    labels[0, 0] = top
    assert (read_label_map(label_map_png(labels), "x") == labels).all()


def test_unknown_ids_are_counted():
    with pytest.raises(SegGenError, match="id 7 on 2 pixels"):
        check_labels(np.array([[0, 7], [7, 255]]), Categories.from_names(["a", "b"]), "m.png")


def test_a_cut_mask_and_a_coloured_one_are_refused(tmp_path):
    from PIL import Image

    png = label_map_png(np.random.default_rng(0).integers(0, 9, (64, 64)))
    with pytest.raises(SegGenError, match="cut.png"):
        read_label_map(png[: len(png) // 2], "cut.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "colours.png")
    with pytest.raises(SegGenError, match="colours, not ids"):
        read_label_map(tmp_path / "colours.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(SegGenError, match="is empty"):
        read_label_map(tmp_path / "empty.png")


def test_resizing_labels_invents_nothing_and_inverts_whole_factors():
    labels = np.random.default_rng(0).integers(0, 9, (12, 10))
    assert (resize_labels(resize_labels(labels, 36, 30), 12, 10) == labels).all()
    assert set(np.unique(resize_labels(labels, 7, 23))) <= set(np.unique(labels))


def test_histogram_counts_labelled_pixels():
    categories = Categories.from_names(["a", "b", "c"])
    assert histogram(np.array([[0, 0, 2], [255, 255, 2]]), categories).tolist() == [2, 0, 2]


def test_things_matter_where_segments_do():
    things, stuff = Categories((Category("car", True),)), Categories((Category("car"),))
    check_same_categories(things, stuff, a_is="one", b_is="other", things=False)
    with pytest.raises(SegGenError, match=r"'car' \(thing\) against 'car' \(stuff\)"):
        check_same_categories(things, stuff, a_is="one", b_is="other")

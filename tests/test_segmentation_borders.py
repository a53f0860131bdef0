"""Blends along borders go to one of their two colours, and palettes keep third colours away from frequent borders."""

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, ColorCodec, default_palette
from seggen_d2.segmentation.bench import oracle, wrong_rows, wrong_share
from seggen_d2.segmentation.bench_edges import blurred
from seggen_d2.segmentation.border_palette import border_costs, border_safe, count_borders, expected_wrong
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.segmentation.masks import Segment, SegmentMask, SemanticMask
from seggen_d2.sources.bench_borders import dense_labels
from seggen_d2.sources.borders import dataset_borders, dataset_palette
from seggen_d2.sources.toy import CATEGORIES, toy_scene


def dense(count: int, side: int = 160) -> np.ndarray:
    return dense_labels(count, 0, side, cells=12, things=4)


@pytest.mark.parametrize("count", [2, 11, 150])
def test_clean_maps_come_back_exactly_however_small_their_things_are(count):
    codec = ColorCodec(default_palette(count), 65535)
    for labels in (np.random.default_rng(0).integers(0, count, (40, 50)), dense(count), np.zeros((1, 1), int), np.full((3, 9), 65535)):
        assert (codec.decode_blended(codec.encode(labels)) == labels).all()
        assert not codec.doubtful(codec.encode(labels)).any()


@pytest.mark.parametrize("count, most", [(12, 1 / 2), (150, 1 / 3)])
def test_blur_and_noise_leave_a_part_of_the_wrong_pixels_of_nearest_colours(count, most):
    codec, maps = ColorCodec(default_palette(count)), [dense(count)]
    plain = wrong_share(codec, lambda codec, rgb, _: codec.decode(rgb), maps)
    ours = wrong_share(codec, lambda codec, rgb, _: codec.decode_blended(rgb), maps)
    assert plain > 0.01 and ours <= most * plain and wrong_share(codec, oracle, maps) <= ours


def test_a_blend_goes_to_one_of_its_two_colours_and_a_speck_to_its_surroundings():
    codec = ColorCodec(default_palette(12))
    labels = np.repeat(np.arange(2), 10)[None].repeat(20, 0)
    rgb = codec.encode(labels)
    rgb[:, 9:11] = codec.palette.colors[[2, 3]]  # between the two, others' colours, but for a little
    rgb[:, 9:11] ^= 1
    rgb[5, 3] = codec.palette.colors[4] ^ 2
    assert np.isin(codec.decode(rgb), (2, 3, 4)).sum() == 41
    decoded = codec.decode_blended(rgb)
    assert set(np.unique(decoded)) == {0, 1} and (decoded[:, :9] == 0).all() and (decoded[:, 11:] == 1).all()


def test_doubt_lies_by_borders_and_holds_more_of_the_errors_than_of_the_pixels():
    codec, labels = ColorCodec(default_palette(12)), dense(12)
    rgb = blurred(codec.encode(labels), 1.5, 8, np.random.default_rng(0))
    doubt, wrong = codec.doubtful(rgb), codec.decode_blended(rgb) != labels
    assert 0 < doubt.mean() < 0.2 and wrong[doubt].mean() > 5 * wrong[~doubt].mean()


def test_doubtful_pixels_become_unlabelled():
    pixels = np.array([[True, False, False]])
    assert SemanticMask(np.array([[1, 2, 3]], np.uint8)).without(pixels).ids.tolist() == [[255, 2, 3]]
    segments = SegmentMask(np.array([[1, 2, 2]]), (Segment(1, 0), Segment(2, 0))).without(pixels)
    assert segments.ids.tolist() == [[0, 2, 2]] and [segment.id for segment in segments.segments] == [2]


def test_borders_are_counted_once_for_each_pair_of_neighbours():
    borders = count_borders(np.array([[0, 0, 1], [2, 0, 1]]), 3)
    assert borders.tolist() == [[0, 2, 2], [2, 0, 0], [2, 0, 0]]


def random_borders(count: int, share: float) -> np.ndarray:
    draw = np.random.default_rng(count)
    weights = draw.uniform(0, 1, (count + 2, count + 2)) * (draw.uniform(0, 1, (count + 2, count + 2)) < share)
    return np.triu(weights, 1) + np.triu(weights, 1).T


@pytest.mark.parametrize("count", [8, 133])
def test_a_border_safe_palette_has_the_same_colours_and_fewer_wrong_pixels(count):
    borders = random_borders(count, 0.1)
    even, safe = default_palette(count), border_safe(borders)
    assert {*map(tuple, safe.colors.tolist())} == {*map(tuple, even.colors.tolist())} and safe == border_safe(borders)
    assert expected_wrong(safe, borders) < 0.7 * expected_wrong(even, borders)
    swapped = safe.colors.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert expected_wrong(type(safe)(swapped, safe.ignore_color, safe.edge_color), borders) >= expected_wrong(safe, borders) - 1e-9


def test_without_borders_the_palette_is_the_packages():
    assert border_safe(np.zeros((13, 13))) == default_palette(11)


def test_a_third_colour_on_the_line_costs_most():
    colors = np.array([[60, 60, 60], [120, 120, 120], [180, 180, 180], [60, 200, 60]])
    costs = border_costs(type(default_palette(3))(colors, np.array([0, 0, 0]), np.array([255, 255, 255])))
    assert np.allclose(costs, costs.T) and costs[0, 2] > 5 * costs[1, 3] and costs[0, 2] > 1 > costs[0, 1]


class Scenes:
    """Toy scenes' masks as a dataset."""

    categories = CATEGORIES

    def __init__(self, task: str):
        self.task = task

    def records(self) -> list[int]:
        return [0, 1, 2, 3]


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_a_datasets_palette_follows_its_masks(task, monkeypatch):
    monkeypatch.setattr("seggen_d2.sources.borders.read_mask", lambda record, source: toy_scene(record).mask(source.task))
    borders, palette = dataset_borders(Scenes(task)), dataset_palette(Scenes(task))
    assert borders[:, -1].any() == (task != "semantic")  # every segment touches an outline
    assert expected_wrong(palette, borders) <= expected_wrong(default_palette(8), borders)
    codec = mask_codec(task, palette, CATEGORIES)
    mask = toy_scene(1).mask(task)
    assert task == "instance" or codec.decode(codec.encode(mask)).mask.shape == mask.shape
    assert (dataset_borders(Scenes(task), limit=2) <= borders).all()


def test_the_benchmark_tells_each_way_beside_plain_decoding():
    rows = wrong_rows("few", 12, [dense(12, 96)], "bar")
    assert [row["name"].split(", ", 2)[2] for row in rows[:3]] == ["plain", "by borders", "oracle"] and len(rows) == 6
    assert rows[0]["ratio"] == 1 and all(row["ratio"] == pytest.approx(row["value"] / rows[0]["value"], abs=1e-3) for row in rows[1:3])


def test_without_opencv_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    codec = mask_codec("semantic", default_palette(2), Categories.from_names(["a", "b"]))
    with pytest.raises(SegGenError, match="pip install opencv"):
        codec.decode(np.zeros((4, 4, 3), np.uint8))

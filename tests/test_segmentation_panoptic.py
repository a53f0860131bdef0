"""Segment ids as colours and back."""

import io

import numpy as np
import pytest
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import panoptic


def test_ids_and_colours_are_inverse():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    ids = panoptic.ids_from_rgb(rgb)
    assert ids.dtype == np.int32 and ids.shape == (20, 30)
    assert np.array_equal(ids, rgb.astype(np.int64) @ [1, 256, 65536])
    assert np.array_equal(panoptic.rgb_from_ids(ids), rgb) and panoptic.rgb_from_ids(ids).dtype == np.uint8
    for kind in (np.uint8, np.int16, np.int64, np.uint64):
        small = rng.integers(0, 100, (3, 4)).astype(kind)
        assert np.array_equal(panoptic.ids_from_rgb(panoptic.rgb_from_ids(small)), small)
    ends = np.array([[0, 255, 256, 65535, 65536, panoptic.MAX_SEGMENT_ID]])
    assert np.array_equal(panoptic.ids_from_rgb(panoptic.rgb_from_ids(ends[:, ::-1])), ends[:, ::-1])
    assert panoptic.rgb_from_ids(np.zeros((0, 5), int)).shape == (0, 5, 3)


def test_a_png_brings_the_ids_back(tmp_path):
    ids = np.random.default_rng(1).integers(0, panoptic.MAX_SEGMENT_ID, (7, 9))
    data = panoptic.panoptic_png(ids)
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(panoptic.read_panoptic_png(data), ids)
    assert np.array_equal(panoptic.read_panoptic_png(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), int)])
def test_what_holds_no_colours_is_refused(array):
    with pytest.raises(SegGenError, match="expected: .*uint8"):
        panoptic.ids_from_rgb(array)


@pytest.mark.parametrize("array", [np.full((2, 2), -1), np.full((2, 2), 2**24), np.zeros((2, 2)), np.zeros(4, int)])
def test_what_holds_no_ids_is_refused(array):
    with pytest.raises(SegGenError, match="expected"):
        panoptic.rgb_from_ids(array)


def test_a_png_of_another_kind_is_refused():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "PNG")
    with pytest.raises(SegGenError, match="mask m.png holds no coloured ids\n.*\n.*mode L"):
        panoptic.read_panoptic_png(buffer.getvalue(), "m.png")
    with pytest.raises(SegGenError, match="m.png cannot be read"):
        panoptic.read_panoptic_png(panoptic.panoptic_png(np.ones((64, 64), int))[:60], "m.png")

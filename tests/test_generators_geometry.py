"""Geometry: buckets near the budget, views that cover them without stretching, time ids that tell the crop."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.geometry import OVERLAP, Geometry, View

SIZES = ((480, 640), (640, 480), (512, 683), (1024, 2048), (100, 1000), (3000, 4000), (333, 500), (48, 48), (720, 960))


def test_buckets_keep_to_the_budget_the_multiple_and_the_aspect():
    geometry = Geometry()
    buckets = geometry.buckets()
    assert (768, 768) in buckets and len(set(buckets)) == len(buckets) > 5
    assert {size[::-1] for size in buckets} == set(buckets)
    for height, width in buckets:
        assert height % 64 == width % 64 == 0 and max(height, width) <= 2 * min(height, width)
        assert abs(height * width / geometry.pixels - 1) < 0.06


def test_sdxl_at_its_own_budget_has_its_own_square():
    assert (1024, 1024) in Geometry(pixels=1024**2).buckets() and (832, 1216) in Geometry(pixels=1024**2).buckets()


def test_a_fixed_size_is_one_bucket():
    geometry = Geometry(height=48, width=64)
    assert geometry.buckets() == ((48, 64),) == (geometry.bucket(1000, 10),)


@pytest.mark.parametrize("size", SIZES)
def test_a_photo_covers_its_bucket_and_nothing_is_stretched(size):
    (view,) = Geometry().views(*size)
    assert view.source == size and (view.height == size[0] or view.width == size[1])
    assert abs(view.height - view.width * view.out[0] / view.out[1]) <= 0.5 * max(1, view.out[0] / view.out[1]) + 1e-9
    assert abs((size[0] - view.height) - 2 * view.top) <= 1 and abs((size[1] - view.width) - 2 * view.left) <= 1


@pytest.mark.parametrize("size", [s for s in SIZES if s != (100, 1000)])
def test_the_nearest_aspect_loses_little(size):
    (view,) = Geometry().views(*size)
    assert view.height * view.width > 0.88 * size[0] * size[1]


def test_time_ids_tell_the_crop_in_pixels_of_the_scaled_photo():
    (view,) = Geometry(height=768, width=768).views(500, 1000)  # scaled by 1.536 to 768 x 1536, 384 cropped left and right
    assert view.time_ids() == (500, 1000, 0, 384, 768, 768)
    (view,) = Geometry(height=64, width=64).views(64, 64)
    assert view.time_ids() == (64, 64, 0, 0, 64, 64)


def test_a_mirrored_view_shows_the_mirrored_photo():
    photo = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    for view in Geometry(height=16, width=16, max_shrink=2).views(40, 90):
        assert view.mirrored().mirrored() == view
        assert np.array_equal(view.mirrored().image(photo[:, ::-1]), view.image(photo)[:, ::-1])


@pytest.mark.parametrize("size", [(3000, 4000), (2000, 2000), (1300, 6000)])
def test_large_photos_are_cut_into_overlapping_views_that_show_all(size):
    geometry = Geometry(max_shrink=2)
    views, seen = geometry.views(*size), np.zeros(size, dtype=np.int32)
    assert len(views) > 1 and len({view.out for view in views}) == 1
    for view in views:
        assert (view.height, view.width) == (2 * view.out[0], 2 * view.out[1]) or view.height == size[0] or view.width == size[1]
        seen[view.top : view.top + view.height, view.left : view.left + view.width] += 1
    assert seen.min() == 1 and seen.max() > 1
    rows = sorted({view.top for view in views})
    assert all(a + views[0].height - b >= OVERLAP * views[0].height - 1 for a, b in zip(rows, rows[1:]))


def test_photos_below_the_limit_stay_whole():
    assert Geometry(max_shrink=2).views(1000, 1300) == Geometry().views(1000, 1300)


def test_views_are_the_same_every_time():
    assert Geometry(max_shrink=1.5).views(2345, 3456) == Geometry(max_shrink=1.5).views(2345, 3456)


def test_image_and_mask_of_a_view_show_the_same_place():
    photo = np.zeros((90, 200, 3), dtype=np.uint8)
    photo[30:60, 80:120] = 255
    view = View(10, 50, 60, 100, (120, 200), (90, 200))
    image = view.image(photo)
    assert image.shape == (120, 200, 3)
    assert image[42:98, 62:138].min() > 200 and image[:36].max() < 50 and image[:, :56].max() < 50


def test_bad_geometries_are_refused():
    with pytest.raises(SegGenError, match="one side is fixed"):
        Geometry(height=64)
    with pytest.raises(SegGenError, match="max_shrink"):
        Geometry(max_shrink=0.5)
    with pytest.raises(SegGenError, match="max_aspect"):
        Geometry(max_aspect=0.5)
    with pytest.raises(SegGenError, match=r"another size(.|\n)*10 x 20(.|\n)*10 x 30"):
        View(0, 0, 10, 10, (8, 8), (10, 20)).image(np.zeros((10, 30, 3), dtype=np.uint8))


def test_plans_read_geometries_without_torch():
    code = "import sys, seggen_d2.generators.geometry as g; g.Geometry().views(3, 4); print('torch' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr

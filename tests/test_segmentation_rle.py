"""Run-length masks and outlines against COCO's own tools."""

import sys

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.outlines import LEAST, mask_from_polygons, polygons_from_mask
from seggen_d2.segmentation.rle import decode_mask, encode_mask

coco = pytest.importorskip("pycocotools.mask")


def masks():
    rng = np.random.default_rng(0)
    yield from (np.zeros((5, 7), bool), np.ones((5, 7), bool), np.eye(6, dtype=bool), np.ones((1, 1), bool))
    for density in (0.02, 0.3, 0.5, 0.9):
        yield rng.random((23, 31)) < density
    blobs = np.kron(rng.random((30, 40)) < 0.4, np.ones((25, 33), bool))
    yield from (blobs, ~blobs, blobs[::-1, ::-1])


@pytest.mark.parametrize("mask", masks())
def test_runs_are_cocos_own(mask):
    ours, theirs = encode_mask(mask), coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert ours == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert np.array_equal(decode_mask(ours, "x"), mask) and np.array_equal(decode_mask(theirs, "x"), mask)
    changes = np.flatnonzero(np.diff(mask.ravel("F").astype(int), prepend=0))
    plain = {"size": ours["size"], "counts": np.diff([0, *changes, mask.size]).tolist()}
    assert np.array_equal(decode_mask(plain, "x"), mask)


def filled(mask):
    """``mask`` with its holes: what no 4-connected way joins to the border."""
    cv2 = pytest.importorskip("cv2")
    outside = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).astype(np.uint8), connectivity=4)[1]
    return (outside != outside[0, 0])[1:-1, 1:-1]


@pytest.mark.parametrize("mask", masks())
def test_a_polygon_gives_back_all_but_the_holes(mask):
    polygons = polygons_from_mask(mask)
    assert all(len(p) >= LEAST and len(p) % 2 == 0 for p in polygons) and bool(polygons) == mask.any()
    if polygons:
        assert np.array_equal(mask_from_polygons(polygons, *mask.shape), filled(mask))


@pytest.mark.parametrize("counts", ["", "1", "05", "~~", "é", "PPPPPPPPPPPPPPPP0", [3, -1, 33], [1, "a"], [4.5, 30], [9]])
def test_a_broken_run_is_named(counts):
    with pytest.raises(SegGenError, match="run-length mask of annotation 7 is broken"):
        decode_mask({"size": [5, 7], "counts": counts}, "annotation 7")


@pytest.mark.parametrize("rle", [None, [], {"size": [5, 7]}, {"size": [5], "counts": ""}, {"size": [5, 0], "counts": []}])
def test_what_is_no_run_is_named(rle):
    with pytest.raises(SegGenError, match="annotation 7 is none\n.*size"):
        decode_mask(rle, "annotation 7")


@pytest.mark.parametrize(("module", "name", "package"), [("cv2", "opencv", "opencv-python-headless"), ("pycocotools", "pycocotools", "pycocotools")])
def test_a_package_that_is_absent_is_named(monkeypatch, module, name, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SegGenError, match=f"{name} is needed(.|\n)*pip install {package}"):
        polygons_from_mask(np.eye(3)) if module == "cv2" else mask_from_polygons([[0, 0, 1, 1, 0, 1]], 3, 3)

"""Augmentations: image and labels move together, labels are never blended, draws follow from the generator alone."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import (
    ColorJitter,
    FixedSizePad,
    HorizontalFlip,
    RandomCrop,
    ResizeShortestEdge,
    test_augmentations,
    training_augmentations,
)


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def pair():
    """An image whose red channel is its label map, so that alignment can be read off."""
    labels = generator().integers(0, 7, (30, 40)).astype(np.uint8)
    return np.stack([labels, labels * 3, labels * 5], -1), labels


def aligned(image, labels):
    return np.array_equal(image[..., 0], labels)


def test_flipping_twice_is_no_flip(pair):
    flip = HorizontalFlip(1.0)
    once = flip(*pair, generator())
    assert aligned(*once) and not np.array_equal(once[1], pair[1])
    assert all(np.array_equal(a, b) for a, b in zip(flip(*once, generator()), pair))


def test_a_crop_is_a_window_of_image_and_labels(pair):
    image, labels = RandomCrop(12, 17)(*pair, generator(3))
    assert labels.shape == (12, 17) and aligned(image, labels)
    windows = np.lib.stride_tricks.sliding_window_view(pair[1], (12, 17)).reshape(-1, 12, 17)
    assert (windows == labels).all((1, 2)).any()


def test_a_crop_larger_than_the_image_keeps_it(pair):
    assert np.array_equal(RandomCrop(100, 100)(*pair, generator())[1], pair[1])


def test_a_crop_avoids_windows_of_one_category():
    labels = np.zeros((16, 64), np.uint8)
    labels[:, 56:] = 1
    image = np.stack([labels] * 3, -1)
    shares = [(RandomCrop(16, 16, 0.75)(image, labels, generator(seed))[1] == 1).mean() for seed in range(60)]
    unlimited = [(RandomCrop(16, 16)(image, labels, generator(seed))[1] == 1).mean() for seed in range(60)]
    assert np.mean(np.array(shares) > 0) > 2 * np.mean(np.array(unlimited) > 0)


def test_ignored_pixels_do_not_make_a_crop_varied():
    labels = np.full((8, 8), 255, np.uint8)
    labels[0] = 3
    assert not RandomCrop(8, 8, 0.75)._is_varied(labels)


@pytest.mark.parametrize("length", [15, 30, 61])
def test_resizing_makes_no_new_id_and_keeps_the_shape(pair, length):
    image, labels = ResizeShortestEdge((length,))(*pair, generator())
    assert image.shape[:2] == labels.shape == (length, round(length * 4 / 3))
    assert set(np.unique(labels)) <= set(np.unique(pair[1]))


def test_resizing_respects_the_longest_edge(pair):
    assert max(ResizeShortestEdge((60,), 50)(*pair, generator())[1].shape) == 50


def test_resizing_to_the_same_size_is_the_identity(pair):
    assert aligned(*ResizeShortestEdge((30,))(*pair, generator()))


def test_padding_ignores_what_it_adds(pair):
    image, labels = FixedSizePad(48, 64, ignore_id=200)(*pair, generator())
    assert image.shape == (48, 64, 3) and (image[30:] == 128).all()
    assert np.array_equal(labels[:30, :40], pair[1]) and (labels[30:] == 200).all() and (labels[:, 40:] == 200).all()


def test_colour_jitter_leaves_labels_and_can_leave_the_image(pair):
    assert ColorJitter()(*pair, generator())[1] is pair[1]
    assert np.array_equal(ColorJitter(0, 0, 0, 0)(*pair, generator())[0], pair[0])
    assert not np.array_equal(ColorJitter()(*pair, generator(1))[0], pair[0])


def test_all_steps_together_are_a_function_of_the_seed(pair):
    steps = training_augmentations([24, 36], 100, crop=(28, 28), color_jitter=True, flip=True, max_category_area=0.75)

    def run(seed):
        image, labels, rng = *pair, generator(seed)
        for step in steps:
            image, labels = step(image, labels, rng)
        return image, labels

    assert all(np.array_equal(a, b) for a, b in zip(run(5), run(5)))
    assert run(5)[0].shape == (28, 28, 3)
    assert any(not np.array_equal(run(5)[1], run(seed)[1]) for seed in range(5))


def test_labels_may_be_absent(pair):
    image = pair[0]
    for step in [*test_augmentations(15, 100), RandomCrop(9, 9, 0.5), HorizontalFlip(1.0), FixedSizePad(20, 20)]:
        image, labels = step(image, None, generator())
        assert labels is None
    assert image.shape == (20, 20, 3) and test_augmentations(0, 100) == []


def test_values_out_of_range_are_refused():
    with pytest.raises(SegGenError, match="max_category_area"):
        RandomCrop(8, 8, 1.5)
    with pytest.raises(SegGenError, match="shortest edge"):
        ResizeShortestEdge(())

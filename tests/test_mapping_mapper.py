# ruff: noqa: E402
"""The mapper: targets agree with labels, draws follow (seed, number), and records that do not fit are refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import DatasetMapper, HorizontalFlip, SemanticTargets, training_augmentations
from seggen_d2.segmentation import Categories, label_map_png

CATEGORIES = Categories.from_names(("a", "b", "c"))


@pytest.fixture
def record(tmp_path):
    labels = np.array([[0, 0, 2, 255], [0, 2, 2, 255]], np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*labels.shape, 3), dtype=np.uint8)).save(
        tmp_path / "x.png"
    )
    (tmp_path / "m.png").write_bytes(label_map_png(labels))
    return {"file_name": str(tmp_path / "x.png"), "sem_seg_file_name": str(tmp_path / "m.png")}


def test_segments_are_the_label_map_taken_apart(record):
    sample = DatasetMapper([], SemanticTargets(CATEGORIES))(record)
    assert sample["class_labels"].tolist() == [0, 2]
    assert torch.equal(sample["mask_labels"], torch.stack([sample["sem_seg"] == 0, sample["sem_seg"] == 2]))
    assert not sample["mask_labels"][:, sample["sem_seg"] == 255].any()
    assert sample["image"].dtype == torch.uint8 and sample["image"].shape == (3, 16, 32)
    assert (sample["height"], sample["width"], sample["file_name"]) == (16, 32, record["file_name"])


def test_a_draw_is_a_function_of_seed_and_number(record):
    steps = training_augmentations([12, 16, 20], 99, crop=(16, 16), color_jitter=True, flip=True)

    def make(seed):
        return DatasetMapper(steps, SemanticTargets(CATEGORIES), seed=seed)

    first = make(1)
    first(record, 3)  # what was drawn before does not matter
    assert torch.equal(first(record, 7)["image"], make(1)(record, 7)["image"])
    images = [make(seed)(record, number)["image"] for seed in (1, 2) for number in range(4)]
    assert len({image.numpy().tobytes() for image in images}) > 4


def test_without_a_number_draws_go_on(record):
    mapper = DatasetMapper([HorizontalFlip()], SemanticTargets(CATEGORIES))
    assert len({mapper(record)["image"].numpy().tobytes() for _ in range(20)}) == 2


def test_without_targets_no_label_is_read(record):
    sample = DatasetMapper([])({"file_name": record["file_name"]})
    assert "mask_labels" not in sample and sample["image"].shape == (3, 16, 32)


def test_an_all_ignored_mask_has_no_segments(record, tmp_path):
    (tmp_path / "m.png").write_bytes(label_map_png(np.full((16, 32), 255)))
    assert DatasetMapper([], SemanticTargets(CATEGORIES))(record)["mask_labels"].shape == (0, 16, 32)


@pytest.mark.parametrize(
    ("mask", "words"), [(np.full((16, 32), 7, np.uint8), "id 7 on 512 pixels"), (np.zeros((16, 30), np.uint8), "32x16")]
)
def test_masks_that_do_not_fit_are_refused(record, tmp_path, mask, words):
    (tmp_path / "m.png").write_bytes(label_map_png(mask))
    with pytest.raises(SegGenError, match=words):
        DatasetMapper([], SemanticTargets(CATEGORIES))(record)


def test_a_record_without_a_mask_is_refused(record):
    with pytest.raises(SegGenError, match="has no semantic labels"):
        DatasetMapper([], SemanticTargets(CATEGORIES))({"file_name": record["file_name"]})

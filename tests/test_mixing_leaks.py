"""A bank made from test images is refused."""

import pytest
from bank_samples import write_bank

from seggen_d2.bank import Bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing.leaks import check_leaks
from seggen_d2.mixing.sampling import names_of


@pytest.fixture
def bank(tmp_path):
    write_bank(tmp_path / "bank")  # of "scene 0", "scene 1" and "scene 2"
    bank = Bank(tmp_path / "bank")
    yield bank
    bank.close()


@pytest.mark.parametrize(
    "leak",
    [{"file_name": "/a/scene 1.jpg"}, {"image_id": "scene 2", "file_name": "b.jpg"}, {"image_id": "scene 0"}],
)
def test_a_test_image_among_the_sources_is_refused(bank, leak):
    records = [{"file_name": "x/one.jpg", "sem_seg_file_name": "m"}, {"image_id": 7, "file_name": "y/7.png"}, leak]
    check_leaks([bank], records[:2], "val")
    with pytest.raises(SegGenError, match="made from 1 images of the test set val(.|\n)*scene .(.|\n)*CHECK_SOURCES to False"):
        check_leaks([bank], iter(records), "val")


def test_names_of_the_training_set_cannot_tell(bank, caplog):
    records = [{"file_name": f"test/scene {n}.jpg"} for n in range(4)]
    check_leaks([bank], records, "val", [{"file_name": f"train/scene {n}.jpg"} for n in range(3)])
    assert "3 names of the test set val are also the training set's" in caplog.text
    with pytest.raises(SegGenError, match="made from 1 images"):
        check_leaks([bank], records, "val", [{"file_name": f"train/scene {n}.jpg"} for n in range(2)])


def test_a_number_that_both_sets_have_does_not_hide_a_name(bank):
    """The image_id cannot tell, the file's stem can."""
    test = {"image_id": "scene 0", "file_name": "test/scene 1.jpg"}
    with pytest.raises(SegGenError, match="scene 1"):
        check_leaks([bank], [test], "val", [{"image_id": "scene 0", "file_name": "train/a.jpg"}])


def test_no_bank_is_no_leak():
    check_leaks([], [{"file_name": "a.jpg"}], "val")


def test_records_of_hosts_hold_what_they_hold():
    assert names_of({"file_name": "/x/000000000139.jpg", "image_id": 139}) == ("139", "000000000139", "x/000000000139")
    assert names_of({"file_name": "000000000139.jpg"}) == ("000000000139", "139")
    assert names_of({"file_name": "b.tar.gz"}) == ("b.tar",) and names_of({"file_name": "/d/a/b.png"}) == ("b", "a/b")
    assert names_of({}) == () and names_of({"image_id": 0}) == ("0",)

"""A few of a dataset's labelled images: which they are, and what stays as it was."""

from __future__ import annotations

import pytest
import yaml

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_labelled
from seggen_d2.sources.preparing.few import prepare_few
from seggen_d2.sources.splits import spread_ids
from seggen_d2.sources.toy_folder import write_toy_folder


@pytest.fixture
def toy(tmp_path):
    return write_toy_folder(tmp_path / "all", "train", 9, size=24)


def names(source) -> list[str]:
    return [record["image_id"] for record in source.records()]


@pytest.mark.parametrize("total", [1, 7, 40, 367])
def test_ids_are_spread_evenly(total):
    ids = [str(number) for number in range(total)]
    assert spread_ids(ids, total) == ids and spread_ids(ids, 1) == [str(total // 2)]
    for count in range(1, total + 1):
        places = [int(name) for name in spread_ids(ids, count)]
        gaps = [b - a for a, b in zip(places, places[1:], strict=False)]
        assert len(set(places)) == count and places == sorted(places) and (not gaps or max(gaps) - min(gaps) <= 1)
    for count in (0, total + 1):
        with pytest.raises(SegGenError, match="count is out of range"):
            spread_ids(ids, count)


def test_a_few_stand_in_for_all(toy, tmp_path):
    whole, few = load_dataset(toy), load_dataset(prepare_few(toy, 3, tmp_path / "few").file("dataset"), "semantic")
    assert names(few) == ["train_00001", "train_00004", "train_00007"]
    assert few.name == whole.name and few.categories == whole.categories
    kept = {record["image_id"]: record for record in whole.records()}
    for record in few.records():
        (image, mask), (same, also) = read_labelled(record, few), read_labelled(kept[record["image_id"]], whole)
        assert (image == same).all() and (mask.labels() == also.labels()).all() and record["attributes"] == kept[record["image_id"]]["attributes"]
    assert names(load_dataset(prepare_few(toy, 9, tmp_path / "all-nine").file("dataset"))) == names(whole)


def test_limits_and_lists_hold_and_nothing_is_done_twice(toy, tmp_path):
    (toy.parent / "some.txt").write_text("".join(f"train_{number:05d}\n" for number in (8, 2, 5, 0)))
    toy.write_text(yaml.safe_dump({**yaml.safe_load(toy.read_text()), "files": "some.txt", "limit": 3}))
    for before in ((), ("dataset",)):
        made = prepare_few(toy, 1, tmp_path / "few")
        assert names(load_dataset(made.file("dataset"))) == ["train_00002"] and made.done_before == before
    with pytest.raises(SegGenError, match="4 labelled images(.|\n)*1 to 3, as many as it has"):
        prepare_few(toy, 4, tmp_path / "more")


def test_bad_input_is_told(toy, tmp_path):
    for count in (0, -1, 10, True):
        with pytest.raises(SegGenError, match="cannot be taken(.|\n)*1 to 9"):
            prepare_few(toy, count, tmp_path / "few")
    assert not (tmp_path / "few").exists()
    prepare_few(toy, 2, tmp_path / "few")
    with pytest.raises(SegGenError, match="begun with other options(.|\n)*count: 2"):
        prepare_few(toy, 3, tmp_path / "few")
    assert len(load_dataset(tmp_path / "few/dataset.yaml").records()) == 2
    with pytest.raises(SegGenError, match="holds files of dataset(.|\n)*another folder"):
        prepare_few(toy, 2, toy.parent)
    with pytest.raises(SegGenError, match="is for another task"):
        prepare_few(write_toy_folder(tmp_path / "panoptic", "train", 2, task="panoptic", size=24), 1, tmp_path / "p")

"""The beginning of a bank: the bank that a smaller budget would have made, byte for byte; and what cannot be taken."""

from pathlib import Path

import pytest
from bank_samples import info, sample, write_bank
from coco_samples import write_coco
from tiny_synthesis import contents, tiny_options

from seggen_d2.bank import Bank, BankWriter, Rejection, import_bank, read_info, verify_bank
from seggen_d2.bank.taking import take_bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.sources import load_dataset


def members(root: Path) -> dict[str, bytes]:
    """By name, of all samples; with the rejections."""
    with_name = Bank(root)
    keys = [with_name.key(i) for i in range(len(with_name))]
    found = {f"{key}.{kind}": with_name.read(key, kind, check=True) for key in keys for kind in ("jpg", "png", "json")}
    return found | {rejection.key: rejection.reason.encode() for rejection in with_name.rejections()}


def test_it_is_the_bank_of_the_smaller_budget(generators, toy_folder, tmp_path):
    from seggen_d2.synthesis.local import synthesize

    options = tiny_options(generators, toy_folder)
    synthesize("imgsyn", tiny_options(generators, toy_folder, replicas=2), tmp_path / "x2")
    synthesize("imgsyn", tiny_options(generators, toy_folder, replicas=1), tmp_path / "x1")
    assert options.shard_size == 3
    take_bank(tmp_path / "x2", tmp_path / "taken", replicas=1)
    made, wanted = contents(tmp_path / "taken"), contents(tmp_path / "x1")
    assert {name: data for name, data in made.items() if name != "bank.json"} == {name: data for name, data in wanted.items() if name != "bank.json"}
    assert read_info(tmp_path / "taken").job["taken"] == 6


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 6])
def test_any_number_is_taken_exactly_and_the_bank_is_sound(tmp_path, samples):
    write_bank(tmp_path / "whole")
    take_bank(tmp_path / "whole", tmp_path / "taken", samples=samples)
    whole, taken = members(tmp_path / "whole"), members(tmp_path / "taken")
    assert taken.items() <= whole.items() and len(Bank(tmp_path / "taken")) == samples and not verify_bank(tmp_path / "taken")
    columns = [Bank(tmp_path / name).column("histogram")[:samples].tolist() for name in ("whole", "taken")]
    assert columns[0] == columns[1]


def test_rejected_samples_count_as_they_did_in_the_budget(tmp_path):
    writer = BankWriter(tmp_path / "whole", info())
    writer.write_shard("imgsyn-00000", [sample(0), sample(2)], [Rejection("imgsyn-000000001", "scene 0", "empty")])
    told = take_bank(tmp_path / "whole", tmp_path / "taken", samples=2)
    assert "1 samples, 1 rejected" in told and [r.key for r in Bank(tmp_path / "taken").rejections()] == ["imgsyn-000000001"]


def test_the_same_command_goes_on_and_another_is_refused(tmp_path):
    write_bank(tmp_path / "whole")
    take_bank(tmp_path / "whole", tmp_path / "taken", samples=5)
    before = contents(tmp_path / "taken")
    (tmp_path / "taken/shards/imgsyn-00000.tar").unlink()
    take_bank(tmp_path / "whole", tmp_path / "taken", samples=5)
    assert contents(tmp_path / "taken") == before
    with pytest.raises(SegGenError, match="another job"):
        take_bank(tmp_path / "whole", tmp_path / "taken", samples=4)
    assert contents(tmp_path / "taken") == before


def test_what_cannot_be_taken_is_told(tmp_path):
    write_bank(tmp_path / "whole")
    with pytest.raises(SegGenError, match="has fewer samples"):
        take_bank(tmp_path / "whole", tmp_path / "taken", samples=100)
    with pytest.raises(SegGenError, match="how many real images"):
        take_bank(tmp_path / "whole", tmp_path / "taken", replicas=1)
    for given in ({}, {"samples": 1, "replicas": 1}):
        with pytest.raises(SegGenError, match="told once"):
            take_bank(tmp_path / "whole", tmp_path / "taken", **given)
    for name in ("shards/imgsyn-00000.tar", "index/imgsyn-00000.parquet"):
        (tmp_path / "whole" / name).unlink()
    with pytest.raises(SegGenError, match="lacks a shard before"):
        take_bank(tmp_path / "whole", tmp_path / "taken", samples=2)
    assert not (tmp_path / "taken").exists()


def test_what_was_taken_outlives_its_origin(tmp_path):
    write_bank(tmp_path / "whole")
    take_bank(tmp_path / "whole", tmp_path / "taken", samples=4)
    before = members(tmp_path / "taken")
    for file in (tmp_path / "whole").rglob("*.tar"):
        file.unlink()
    assert members(tmp_path / "taken") == before


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_segments_and_objects_are_taken_along(tmp_path, task):
    import_bank(load_dataset(write_coco(tmp_path / "coco")[task]), tmp_path / "whole")
    take_bank(tmp_path / "whole", tmp_path / "taken", samples=2)
    whole, taken = (members(tmp_path / name) for name in ("whole", "taken"))
    assert taken.items() <= whole.items() and len(taken) == 6 and not verify_bank(tmp_path / "taken")

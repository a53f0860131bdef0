"""What is read is what was written: by key, by path, in forked and spawned workers, as plain folders."""

import concurrent.futures
import logging
import multiprocessing
import os
import pickle
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bank_samples import CATEGORIES, info, labels, sample, write_bank
from clean_forks import clean_forks
from iopath.common.file_io import PathManager

from seggen_d2.bank import (
    Bank,
    BankPathHandler,
    BankWriter,
    bank_path_manager,
    bench,
    descriptors,
    export_folders,
    open_member,
)
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import read_label_map
from seggen_d2.sources import load_dataset, read_sample


@pytest.fixture
def samples_and_bank(tmp_path):
    samples = write_bank(tmp_path / "bank")
    bank = Bank(tmp_path / "bank")
    yield samples, bank
    bank.close()


def paths_and_bytes(samples, bank):
    return [(f"bank://{bank.name}/{s.key}.{kind}", data) for s in samples for kind, data in s.members().items()]


def test_bytes_in_are_bytes_out(samples_and_bank):
    samples, bank = samples_and_bank
    manager = bank_path_manager()
    for sample_ in samples:
        for kind, data in sample_.members().items():
            assert bank.read(sample_.key, kind) == bank.read(sample_.key, kind, check=True) == data
    for path, data in paths_and_bytes(samples, bank):
        assert open_member(path) == data
        with manager.open(path, "rb") as file:
            assert file.read() == data


def test_a_changed_byte_is_told_where_reads_are_checked(samples_and_bank):
    samples, bank = samples_and_bank
    key = samples[0].key
    offset, length, _ = bank.find(key).member("png")
    with open(bank.root / "shards" / f"{bank.shards[0]}.tar", "r+b") as file:
        file.seek(offset + length // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    path = f"bank://{bank.name}/{key}.png"
    assert open_member(path) != samples[0].mask
    checked = pickle.loads(pickle.dumps(Bank(bank.root, bank.name, check=True)))
    with pytest.raises(SegGenError, match=f"member {key}.png .* is damaged"):
        open_member(path)
    checked.close()


def test_records_are_dataset_dicts_whose_files_open(samples_and_bank):
    samples, bank = samples_and_bank
    assert len(bank) == len(samples) and bank.shards == ("imgsyn-00000", "imgsyn-00001")
    for number, sample_ in enumerate(samples):
        record = bank.record(number)
        assert record["image_id"] == bank.key(number) == sample_.key
        assert open_member(record["file_name"]) == sample_.image
        assert np.array_equal(read_label_map(open_member(record["sem_seg_file_name"])), labels(number))
        assert all(
            record[name] == getattr(sample_, name)
            for name in ("source_id", "strategy", "seed", "caption", "height", "width")
        )
    for number in (-1, len(bank)):
        with pytest.raises(IndexError, match="holds 6 samples"):
            bank.record(number)


def test_variants_are_the_rows_of_a_source(samples_and_bank):
    _, bank = samples_and_bank
    assert [bank.variants(f"scene {n}").tolist() for n in range(4)] == [[0, 1], [2, 3], [4, 5], []]


def test_columns_come_in_the_order_of_the_rows(samples_and_bank):
    samples, bank = samples_and_bank
    assert bank.column("key").tolist() == [s.key for s in samples]
    assert bank.column("seed").tolist() == [s.seed for s in samples]
    assert np.array_equal(bank.column("histogram"), np.stack([s.histogram for s in samples]))
    with pytest.raises(SegGenError, match="no column 'sed'.*\n.*\n.*did you mean 'seed'"):
        bank.column("sed")


def test_sidecars_are_joined_by_key(samples_and_bank):
    samples, bank = samples_and_bank
    folder = bank.root / "scores" / "quality"
    folder.mkdir(parents=True)
    for place, part in enumerate((samples[4:], samples[:4])):
        rows = {"key": [s.key for s in part][::-1], "weight": [float(s.seed - 2**62) for s in part][::-1]}
        pq.write_table(pa.table(rows), folder / f"{place}.parquet")
    assert bank.column("scores/quality:weight").tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(SegGenError, match="no column wight"):
        bank.column("scores/quality:wight")
    with pytest.raises(SegGenError, match="no sidecar 'scores/qualty:weight'"):
        bank.column("scores/qualty:weight")
    (folder / "0.parquet").unlink()
    with pytest.raises(SegGenError, match="lacks 2 of 6 samples\n.*\n.*imgsyn-000000004"):
        bank.column("scores/quality:weight")


def test_what_is_not_there_is_named(samples_and_bank):
    _, bank = samples_and_bank
    for path, words in (
        (f"bank://{bank.name}/nothing.jpg", "holds no sample nothing"),
        ("bank://elsewhere/a.jpg", "not open"),
        (f"bank://{bank.name}/imgsyn-000000000.jpeg", "did you mean|use one of"),
        (f"bank://{bank.name}/", "is not known"),
        (str(bank.root / "none.jpg"), "does not exist"),
    ):
        with pytest.raises(SegGenError, match=words):
            open_member(path)


def test_the_handler_answers_as_a_file_system_does(samples_and_bank):
    samples, bank = samples_and_bank
    manager = PathManager()
    manager.register_handler(BankPathHandler())
    path = f"bank://{bank.name}/{samples[0].key}.json"
    with manager.open(path) as file:
        assert file.read() == samples[0].members()["json"].decode()
    assert manager.exists(path) and manager.isfile(path) and not manager.isdir(path)
    assert manager.isdir(f"bank://{bank.name}") and not manager.isfile(f"bank://{bank.name}/none.jpg")
    with pytest.raises(SegGenError, match="for writing"):
        manager.open(path, "wb")
    with pytest.raises(SegGenError, match="no file of its own"):
        manager.get_local_path(path)


def differing(bank, expected):
    """What a worker does that was handed a bank, or a path alone."""
    wrong = [path for path, data in expected if open_member(path) != data]
    return wrong + [path for path, data in expected if bank and bank.read(*path.rpartition("/")[2].split(".")) != data]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_at_once(samples_and_bank, method):
    samples, bank = samples_and_bank
    expected = paths_and_bytes(samples, bank)
    assert not differing(bank, expected)  # the descriptors that forked workers share are open
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        tasks = [pool.submit(differing, bank, expected * 20) for _ in range(4)]
        assert not differing(bank, expected * 20)
        assert not any(task.result() for task in tasks)


def test_threads_read_at_once_with_few_descriptors(samples_and_bank, monkeypatch):
    samples, bank = samples_and_bank
    few = descriptors.functools.lru_cache(maxsize=1)(descriptors.open_descriptor.__wrapped__)
    monkeypatch.setattr(bank, "_reader", few)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(lambda _: differing(bank, paths_and_bytes(samples, bank) * 20), range(8)))


def test_a_pickled_bank_keeps_to_the_shards_that_it_had(samples_and_bank):
    samples, bank = samples_and_bank
    data = pickle.dumps(bank)
    BankWriter(bank.root, info()).write_shard("imgsyn-00000b", [sample(9)])
    assert len(Bank(bank.root)) == 7
    again = pickle.loads(data)
    assert len(again) == 6 and [again.key(n) for n in range(6)] == [s.key for s in samples]
    os.unlink(bank.root / "shards" / "imgsyn-00001.tar")
    with pytest.raises(SegGenError, match="has lost shards .*\n.*imgsyn-00001"):
        pickle.loads(data)


def test_two_folders_of_one_name(tmp_path):
    write_bank(tmp_path / "a" / "bank of mine")
    write_bank(tmp_path / "b" / "bank of mine")
    first, second = (Bank(tmp_path / side / "bank of mine") for side in "ab")
    assert first.name == "bank-of-mine" and second.name.startswith("bank-of-mine-")
    assert open_member(second.record(0)["file_name"]) == open_member(first.record(0)["file_name"])
    with pytest.raises(SegGenError, match="two banks are called bank-of-mine\n.*/a/.*\n.*/b/"):
        Bank(tmp_path / "b" / "bank of mine", name="bank-of-mine")
    first.close()
    assert Bank(tmp_path / "b" / "bank of mine", name="bank-of-mine").name == "bank-of-mine"


def test_a_flipped_bit_is_found_by_name(samples_and_bank):
    samples, bank = samples_and_bank
    row = bank.find(samples[4].key)
    tar = bank.root / "shards" / "imgsyn-00001.tar"
    data = bytearray(tar.read_bytes())
    data[row.png_offset + 20] ^= 1
    tar.write_bytes(data)
    assert bank.verify() == [f"shard imgsyn-00001: member {samples[4].key}.png differs from its checksum"]
    with pytest.raises(SegGenError, match=f"member {samples[4].key}.png of .* is damaged"):
        bank.read(samples[4].key, "png", check=True)


def test_a_shard_lost_under_an_open_bank_is_an_error_and_no_crash(samples_and_bank):
    samples, bank = samples_and_bank
    os.unlink(bank.root / "shards" / "imgsyn-00000.tar")
    os.truncate(bank.root / "shards" / "imgsyn-00001.tar", 700)
    for number, words in ((0, "cannot be read"), (5, "is damaged")):
        with pytest.raises(SegGenError, match=words):
            bank.read(samples[number].key, "jpg")


def tables(root):
    return sorted(path.name for path in (root / ".cache").iterdir())


def test_the_table_follows_the_index(samples_and_bank):
    _, bank = samples_and_bank
    first = tables(bank.root)
    Bank(bank.root)
    assert tables(bank.root) == first
    BankWriter(bank.root, info()).write_shard("imgsyn-00002", [sample(6)])
    assert Bank(bank.root).record(6)["image_id"] == "imgsyn-000000006"
    assert len(tables(bank.root)) == 1 and tables(bank.root) != first


def test_a_shard_made_again_with_other_bytes_is_read_anew(samples_and_bank):
    samples, bank = samples_and_bank
    assert bank.read(samples[0].key, "png") == samples[0].mask
    os.unlink(bank.root / "shards" / "imgsyn-00000.tar")
    other = sample(0, mask=sample(1).mask, caption=samples[0].caption)
    BankWriter(bank.root, info()).write_shard("imgsyn-00000", [other, *samples[1:3]])
    assert Bank(bank.root).read(samples[0].key, "png", check=True) == samples[1].mask


@pytest.mark.parametrize("name", ["rows.bin", "texts.bin", "keys.npy", "sources_rows.npy", "table.json"])
def test_a_damaged_table_is_built_again(samples_and_bank, caplog, name):
    samples, bank = samples_and_bank
    path = bank.root / ".cache" / tables(bank.root)[0] / name
    os.truncate(path, path.stat().st_size // 2)
    with caplog.at_level(logging.WARNING):
        assert Bank(bank.root).read(samples[5].key, "jpg") == samples[5].image
    assert "built again" in caplog.text


def open_and_count(root):
    return len(Bank(root))


def test_two_processes_build_the_table_at_once(tmp_path):
    write_bank(tmp_path / "bank", shards=6)
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=clean_forks()) as pool:
        assert set(pool.map(open_and_count, [tmp_path / "bank"] * 12)) == {18}
    assert len(tables(tmp_path / "bank")) == 1


def test_a_bank_that_cannot_be_written_keeps_its_table_elsewhere(tmp_path, monkeypatch):
    samples = write_bank(tmp_path / "bank")
    (tmp_path / "bank" / ".cache").write_text("a file stands where the folder would be")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    for _ in range(2):
        assert Bank(tmp_path / "bank").read(samples[0].key, "jpg") == samples[0].image
    assert len(list((tmp_path / "temporary").rglob("rows.bin"))) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(SegGenError, match="can be written nowhere"):
        Bank(tmp_path / "bank")


def test_plain_folders_read_as_a_dataset(samples_and_bank, tmp_path):
    samples, bank = samples_and_bank
    source = load_dataset(export_folders(bank, tmp_path / "plain"))
    assert source.categories == CATEGORIES and source.name == bank.name
    records = source.records()
    assert [record["image_id"] for record in records] == [s.key for s in samples]
    for number, record in enumerate(records):
        image, mask = read_sample(record, CATEGORIES)
        assert image.shape == (16, 16, 3) and np.array_equal(mask, labels(number))
        assert open_member(record["file_name"]) == samples[number].image
    write_bank(tmp_path / "larger", shards=3)
    with pytest.raises(SegGenError, match="begun with other options"):
        export_folders(Bank(tmp_path / "larger"), tmp_path / "plain")


def test_the_measures_run():
    rows = bench.bank_read_rows(reads=100, samples=8) + bench.index_rows(samples=2500)
    assert all(set(row) == {"name", "value", "unit", "ratio", "reference"} and row["value"] >= 0 for row in rows)

"""Banks read through a filter: what it leaves alone is the bank's own, what it drops is never drawn, and what does not fit is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest
from bank_samples import labels, write_bank
from filter_samples import FILTER, write_filter

from seggen_d2.bank import Bank, FilteredBank, bank_path_manager, open_member
from seggen_d2.bank.filter_files import METADATA, archive_name, parse_filter, rows_name
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import SwapMapper
from seggen_d2.mixing.filters import through_filter, weights_column
from seggen_d2.segmentation import label_map_png, read_label_map


@pytest.fixture
def bank(tmp_path):
    write_bank(tmp_path / "bank")
    opened = Bank(tmp_path / "bank", check=True)
    yield opened
    opened.close()


def drawn(swap: SwapMapper, count: int = 600) -> list[str]:
    return [swap({"file_name": "scene 1.jpg", "image_id": "scene 1"}, number)["image_id"] for number in range(count)]


def test_a_filter_that_marks_nothing_reads_as_the_bank_bit_for_bit(bank):
    write_filter(bank.root)
    for reading in ("", ":ignore", ":relabel", ":drop"):
        view = FilteredBank(bank, FILTER + reading)
        assert len(view) == len(bank) and [view.record(n) for n in range(len(view))] == [bank.record(n) for n in range(len(bank))]
        for number in range(len(bank)):
            key = bank.key(number)
            assert all(open_member(f"bank://{view.name}/{key}.{kind}") == bank.read(key, kind) for kind in ("jpg", "png", "json"))
        assert view.variants("scene 1").tolist() == bank.variants("scene 1").tolist() and (view.column("seed") == bank.column("seed")).all()


def test_corrected_masks_reach_whoever_reads_the_records_path(bank):
    wrong = np.where(labels(2) == 1, 255, labels(2)).astype(np.uint8)
    write_filter(bank.root, {2: wrong})
    before = {path: path.read_bytes() for folder in ("shards", "index") for path in (bank.root / folder).iterdir()}
    for reading, wanted in (("ignore", wrong), ("relabel", wrong[::-1])):
        view = FilteredBank(bank, f"{FILTER}:{reading}")
        record = view.record(2)
        assert record == {**bank.record(2), "sem_seg_file_name": f"bank://{view.name}/{bank.key(2)}.png"}
        with bank_path_manager().open(record["sem_seg_file_name"], "rb") as file:
            assert (read_label_map(file.read()) == wanted).all()
        assert [view.record(n) for n in (0, 1, 3, 4, 5)] == [bank.record(n) for n in (0, 1, 3, 4, 5)]
        assert open_member(f"bank://{view.name}/{bank.key(2)}.jpg") == bank.read(bank.key(2), "jpg")
    plain = FilteredBank(bank, f"{FILTER}:drop")
    assert [plain.record(n) for n in range(6)] == [bank.record(n) for n in range(6)]
    assert (read_label_map(open_member(bank.record(2)["sem_seg_file_name"])) == labels(2)).all()
    assert before == {path: path.read_bytes() for path in before}


def test_dropped_samples_are_never_drawn_by_any_sampling(bank):
    write_filter(bank.root, dropped=(0, 2, 4), weights=[1, 2, 3, 4, 5, 6])
    kept = {bank.key(number) for number in (1, 3, 5)}
    view = through_filter([bank], FILTER)
    assert len(view[0]) == 3 and view[0].key(0) == bank.key(1) and view[0].variants("scene 1").tolist() == [1]
    for sampling, wanted in (("uniform", kept), ("weighted", kept), ("paired", {bank.key(3)})):
        swap = SwapMapper(lambda record, number=None: record, view, 1.0, sampling=sampling, sample_weights=weights_column(sampling, "", FILTER))
        assert {*drawn(swap)} == wanted
    keys = drawn(SwapMapper(lambda record, number=None: record, view, 1.0, sampling="weighted", sample_weights=weights_column("weighted", "", FILTER)), 3000)
    assert keys.count(bank.key(5)) / 3000 == pytest.approx(6 / 12, abs=0.04)
    with pytest.raises(IndexError, match="keeps 3 samples"):
        view[0].record(3)


def test_the_weights_column_is_the_named_one_else_the_filters():
    assert weights_column("weighted", "", "scores/noise:relabel") == "scores/noise:weight"
    assert weights_column("weighted", "scores/quality:miou", "scores/noise") == "scores/quality:miou"
    assert weights_column("uniform", "", "scores/noise") is None is weights_column("weighted", "", "")


def test_a_spawned_worker_reads_the_same(bank):
    write_filter(bank.root, {1: labels(3)}, dropped=(0,))
    view = FilteredBank(bank, FILTER)
    other = pickle.loads(pickle.dumps(view))
    assert [other.record(n) for n in range(len(other))] == [view.record(n) for n in range(len(view))]
    assert open_member(other.record(0)["sem_seg_file_name"]) == label_map_png(labels(3))
    other.close()
    with pytest.raises(SegGenError, match="not open"):
        open_member(f"bank://{view.name}/{bank.key(1)}.png")


def test_what_does_not_fit_the_bank_is_refused(bank, tmp_path):
    write_filter(bank.root)
    with pytest.raises(SegGenError, match=r"no filter scores/nois(.|\n)*did you mean 'scores/noise'"):
        FilteredBank(bank, "scores/nois")
    write_bank(tmp_path / "shorter", each=2)
    write_bank(tmp_path / "more", shards=3, each=3)
    for other, match in (("shorter", r"scores of all 2 samples(.|\n)*scores of 3"), ("more", "none of imgsyn-00002")):
        (tmp_path / other / "scores/noise").mkdir(parents=True)
        for path in (bank.root / FILTER).iterdir():
            (tmp_path / other / FILTER / path.name).write_bytes(path.read_bytes())
        with pytest.raises(SegGenError, match=match):
            FilteredBank(Bank(tmp_path / other), FILTER)
    write_filter(bank.root, dropped=tuple(range(6)))
    with pytest.raises(SegGenError, match="keeps no sample"):
        FilteredBank(bank, FILTER)


def test_scores_of_other_samples_and_archives_cut_short_are_refused(bank, tmp_path):
    write_filter(bank.root, {4: labels(0)})
    archive = bank.root / archive_name(FILTER, "ignore", bank.shards[1])
    whole = archive.read_bytes()
    archive.write_bytes(whole[:512])
    with pytest.raises(SegGenError, match=r"ignore-imgsyn-00001.tar does not fit(.|\n)*512 bytes"):
        FilteredBank(bank, FILTER)
    archive.write_bytes(whole[:560] + b"?" + whole[561:])
    view = FilteredBank(bank, FILTER)
    with pytest.raises(SegGenError, match=r"imgsyn-000000004.png of (.|\n)*is damaged"):
        open_member(view.record(4)["sem_seg_file_name"])
    name = rows_name(FILTER, bank.shards[0])
    table = pq.read_table(bank.root / name)
    pq.write_table(table.replace_schema_metadata({METADATA: b'{"samples": "0123456789abcdef"}'}), bank.root / name)
    with pytest.raises(SegGenError, match=r"scores of other samples \(0123456789abcdef\)"):
        FilteredBank(bank, FILTER)


@pytest.mark.parametrize(("text", "found"), [("scores/a", ("scores/a", "ignore")), ("scores/a-b:relabel", ("scores/a-b", "relabel"))])
def test_a_filters_name_tells_its_reading(text, found):
    assert parse_filter(text) == found


@pytest.mark.parametrize("text", ["a", "scores/", "scores/a:erase", "scores/a/b", "scores/../a"])
def test_other_names_are_refused(text):
    with pytest.raises(SegGenError, match="filter"):
        parse_filter(text)




def test_a_bank_at_a_url_is_read_through_its_filter_there(bank, tmp_path, monkeypatch, request):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("SEGGEN_CACHE", str(tmp_path / "cache"))
    write_filter(bank.root, {2: labels(0)}, dropped=(0,))
    files = fsspec.filesystem("memory")
    for path in (path for path in bank.root.rglob("*") if path.is_file() and ".cache" not in path.parts):
        files.pipe_file(f"/{request.node.name}/{path.relative_to(bank.root)}", path.read_bytes())
    view = FilteredBank(Bank(f"memory://{request.node.name}", name="there", check=True), FILTER)
    assert len(view) == 5 and open_member(view.record(1)["sem_seg_file_name"]) == label_map_png(labels(0))
    view.close()

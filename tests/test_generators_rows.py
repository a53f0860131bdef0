"""Rows on disk: whole shards, checksums, nothing stale."""

from __future__ import annotations

import logging
import threading

import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.examples import rows as module
from seggen_d2.generators.examples.rows import RowStore, check_space, open_store

FACTS = {"records": "a", "precision": "float16"}
ROWS = [bytes([number]) * (number + 1) for number in range(10)]


@pytest.fixture
def store(tmp_path, monkeypatch) -> RowStore:
    """Ten rows in shards of four."""
    monkeypatch.setattr(module, "PER_SHARD", 4)
    store = open_store(tmp_path, "latents", FACTS, 10)
    for shard in range(3):
        store.write(shard, [ROWS[number] for number in store.rows_of(shard)])
    return store


def test_rows_come_back(store):
    rows = store.open()
    assert len(rows) == 10 and [rows[number] for number in range(10)] == ROWS and store.missing() == []


def test_a_shard_that_is_missing_or_cut_is_made_anew(store, caplog):
    store.path(0).unlink()
    store.path(2).write_bytes(store.path(2).read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert store.missing() == [0, 2] and store.share_missing() == pytest.approx(2 / 3)
    assert "00002.rows does not fit its index" in caplog.text
    with pytest.raises(SegGenError, match=r"lacks 1 of 3 shards(.|\n)*00000.rows"):
        store.open()
    before = store.path(1).stat().st_mtime_ns
    for shard in store.missing():
        store.write(shard, [ROWS[number] for number in store.rows_of(shard)])
    assert [store.open()[number] for number in range(10)] == ROWS and store.path(1).stat().st_mtime_ns == before


def test_a_flipped_bit_is_told(store):
    data = bytearray(store.path(1).read_bytes())
    data[3] ^= 1
    store.path(1).write_bytes(data)
    rows = store.open()
    assert rows[5] == ROWS[5]
    with pytest.raises(SegGenError, match=r"00001.rows is damaged at row 0(.|\n)*remove this file"):
        rows[4]


def test_a_shard_that_goes_away_is_told(store):
    rows = store.open()
    store.path(1).unlink()
    with pytest.raises(SegGenError, match="00001.rows cannot be read"):
        rows[4]


def test_a_write_that_fails_leaves_no_half_shard(store):
    store.path(0).unlink()
    with pytest.raises(TypeError):
        store.write(0, [*ROWS[:3], None])
    assert store.missing() == [0] and not list(store.folder.glob("*.part"))


def test_other_input_makes_another_store_and_says_why(store, tmp_path, caplog):
    assert open_store(tmp_path, "latents", dict(FACTS), 10) == store
    with caplog.at_level(logging.WARNING):
        other = open_store(tmp_path, "latents", {**FACTS, "records": "b"}, 10)
    assert other.folder != store.folder and other.missing() == [0, 1, 2] and store.missing() == []
    assert str(store.folder) in caplog.text and "other input (records)" in caplog.text


def test_a_disk_without_room_is_told_before_work_begins(tmp_path, monkeypatch, caplog):
    with caplog.at_level(logging.INFO):
        check_space(tmp_path / "not" / "yet", 10**6, "latents")
    assert "1.00 MB still to write" in caplog.text
    monkeypatch.setattr(module.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 5 * 10**9})())
    with pytest.raises(SegGenError, match=r"no room for latents(.|\n)*9.00 GB free(.|\n)*5.00 GB"):
        check_space(tmp_path, 9 * 10**9, "latents")


def test_the_benchmarks_cache_is_drawn_from(tmp_path):
    from seggen_d2.generators.bench_cache import draw_batches, write_cache

    assert write_cache(tmp_path, 6) > 6 * 30_000
    assert set(draw_batches(tmp_path, 6, 2)) == {"peak_mb", "batch_ms"}


def test_waiting_ends_when_others_have_made_their_shards(store):
    store.path(1).write_bytes(b"cut")
    other = threading.Timer(0.5, lambda: store.write(1, [ROWS[number] for number in store.rows_of(1)]))
    other.start()
    store.wait(seconds=0.1)
    other.join()
    assert store.open()[4] == ROWS[4]

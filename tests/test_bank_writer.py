"""Shards exist whole or not at all, equal samples give equal bytes, and finished shards are the resume state."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bank_samples import info, labels, sample, write_bank

from seggen_d2.bank import Bank, BankWriter, verify_bank
from seggen_d2.foundation import files
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.panoptic import panoptic_png


def tree(root: Path) -> dict[str, bytes]:
    """All of a bank but the derived table."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def test_the_bytes_depend_on_the_samples_alone(tmp_path):
    samples = write_bank(tmp_path / "a", shards=3)
    writer = BankWriter(tmp_path / "b", info())
    for place in (2, 0, 1):
        rejections = Bank(tmp_path / "a").rejections() if place == 2 else []
        writer.write_shard(f"imgsyn-{place:05d}", samples[place * 3 : place * 3 + 3], rejections)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_finished_shard_is_never_written_again(tmp_path):
    write_bank(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    write_bank(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_shard_whose_samples_were_all_rejected_is_a_shard(tmp_path):
    writer = BankWriter(tmp_path, info())
    writer.write_shard("masksyn-00000", [])
    assert writer.is_finished("masksyn-00000") and len(Bank(tmp_path)) == 0 and verify_bank(tmp_path) == []


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda root: os.truncate(root / "shards/imgsyn-00001.tar", 5000), "has 5000 bytes where its index says 20480"),
        (
            lambda root: os.truncate(root / "index/imgsyn-00001.parquet", 100),
            "index/imgsyn-00001.parquet cannot be read",
        ),
        (lambda root: os.truncate(root / "index/imgsyn-00001.parquet", 0), "index/imgsyn-00001.parquet cannot be read"),
        (
            lambda root: (root / "index/imgsyn-00001.parquet").write_bytes(b"x" * 3000),
            "index/imgsyn-00001.parquet cannot be read",
        ),
        (lambda root: os.unlink(root / "shards/imgsyn-00001.tar"), "shards/imgsyn-00001.tar is missing"),
        (lambda root: os.unlink(root / "index/imgsyn-00001.parquet"), "index/imgsyn-00001.parquet is missing"),
    ],
)
def test_a_shard_cut_short_is_named_left_out_and_made_again(tmp_path, caplog, damage, words):
    write_bank(tmp_path)
    whole = tree(tmp_path)
    Bank(tmp_path).close()  # its table is stale from here on
    damage(tmp_path)
    assert verify_bank(tmp_path)[0].startswith("shard imgsyn-00001: ") and words in verify_bank(tmp_path)[0]
    with caplog.at_level(logging.WARNING):
        assert len(Bank(tmp_path)) == 3
        writer = BankWriter(tmp_path, info())
        assert writer.is_finished("imgsyn-00000") and not writer.is_finished("imgsyn-00001")
    assert "shard imgsyn-00001 of bank" in caplog.messages[-1] and words in caplog.messages[-1]
    write_bank(tmp_path)
    assert tree(tmp_path) == whole and len(Bank(tmp_path)) == 6


def test_a_shard_never_begun_is_no_warning(tmp_path, caplog):
    assert not BankWriter(tmp_path, info()).is_finished("imgsyn-00007") and not caplog.messages


@pytest.mark.parametrize("full_at", ["index", "shards"])
def test_a_full_disk_is_said_and_loses_nothing(tmp_path, monkeypatch, full_at):
    write_bank(tmp_path / "bank", shards=1)
    before = tree(tmp_path / "bank")
    real = os.fsync

    def fsync(descriptor):
        if f"/{full_at}/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor)

    writer = BankWriter(tmp_path / "bank", info())
    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(SegGenError, match="no space left while writing .*imgsyn-00001"):
        writer.write_shard("imgsyn-00001", [sample(n) for n in (3, 4, 5)])
    monkeypatch.undo()
    after = tree(tmp_path / "bank")
    assert all(after[name] == data for name, data in before.items())
    assert not writer.is_finished("imgsyn-00001") and not any(name.endswith(".part") for name in after)
    writer.write_shard("imgsyn-00001", [sample(n) for n in (3, 4, 5)])
    assert writer.is_finished("imgsyn-00001")


def test_interrupted_while_writing(tmp_path, monkeypatch):
    writer = BankWriter(tmp_path, info())

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("seggen_d2.bank.writer.tar_blocks", stop)
    with pytest.raises(KeyboardInterrupt):
        writer.write_shard("imgsyn-00000", [sample(0)])
    assert not list(tmp_path.rglob("*.tar")) and not list(tmp_path.rglob("*.part"))


def test_killed_while_writing_the_same_command_gives_the_same_bank(tmp_path):
    """The writer is killed for good at several moments; going on from what is left gives the same bytes."""
    code = "import sys, pathlib, bank_samples as b; print(1, flush=True); b.write_bank(pathlib.Path(sys.argv[1]), 20)"
    for round_, wait in enumerate((0.03, 0.1, 0.25)):
        root = tmp_path / f"killed-{round_}"
        process = subprocess.Popen(
            [sys.executable, "-c", code, root],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if (root / "bank.json").exists():
            assert not [line for line in verify_bank(root) if "is missing" not in line]
        write_bank(root, shards=20)
    write_bank(tmp_path / "whole", shards=20)
    assert all(tree(tmp_path / f"killed-{round_}") == tree(tmp_path / "whole") for round_ in range(3))


def test_what_a_killed_writer_left_is_swept_away(tmp_path):
    for name in (".bank.json.1-aa.part", "shards/.imgsyn-00000.tar.1-aa.part", "index/.imgsyn-00000.parquet.1-aa.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (1, 1))
    write_bank(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"height": 8}, "the image of sample imgsyn-000000000 of shard s does not fit"),
        (
            {"mask": sample(0).image},
            "the mask of sample imgsyn-000000000 of shard s does not fit its record\n  expected: PNG",
        ),
        ({"mask": panoptic_png(labels(0))}, "the mask of sample imgsyn-000000000 of shard s holds no grey ids"),
        ({"image": b"no image"}, "the image of sample imgsyn-000000000 of shard s cannot be read"),
        ({"mask": b""}, "the mask of .* cannot be read"),
        ({"histogram": np.array([200, 50, 7])}, "histogram .* does not fit\n  expected: 3 pixel counts, at most 256"),
        ({"histogram": np.array([200, 50])}, "histogram .* does not fit"),
        ({"histogram": np.array([-1, 5, 5])}, "histogram .* does not fit"),
        ({"histogram": np.array([0.5, 5, 5])}, "histogram .* does not fit"),
        ({"seed": -1}, "seed .* out of range"),
        ({"seed": 2**63}, "seed .* out of range"),
        ({"caption": "a\0b"}, "caption .* NUL"),
        ({"key": "a.b"}, "cannot be used as a name"),
        ({"key": "../b"}, "cannot be used as a name"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(tmp_path, change, words):
    writer = BankWriter(tmp_path, info())
    with pytest.raises(SegGenError, match=words):
        writer.write_shard("s", [sample(0, **change)])
    assert not list(tmp_path.rglob("s.*"))


def test_repeated_keys_are_refused_in_a_shard_and_across_shards(tmp_path):
    writer = BankWriter(tmp_path, info())
    with pytest.raises(SegGenError, match="appears twice"):
        writer.write_shard("a", [sample(0), sample(0)])
    writer.write_shard("a", [sample(0)])
    writer.write_shard("b", [sample(1), sample(0)])
    with pytest.raises(SegGenError, match="two samples of bank .* have the key imgsyn-000000000\n.*\n.*shards a, b"):
        Bank(tmp_path)

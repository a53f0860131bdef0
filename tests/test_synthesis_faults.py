"""Real faults of a synthesis: kill -9 at any moment, two commands on one bank, bytes that flip, a full disk."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clean_forks import clean_forks
from tiny_synthesis import contents, tiny_options

from seggen_d2.bank import Bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.sampling.sampler import SamplerOptions
from seggen_d2.synthesis import local
from seggen_d2.synthesis.estimate import estimate
from seggen_d2.synthesis.finishing import Finisher
from seggen_d2.synthesis.job import Job
from seggen_d2.synthesis.local import synthesize
from seggen_d2.synthesis.painter import Painter
from seggen_d2.synthesis.shards import run_shards

KILLS = 20


@pytest.fixture(scope="module")
def options(generators, toy_folder):
    return tiny_options(generators, toy_folder)


@pytest.fixture(scope="module")
def whole(options, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "bank"
    synthesize("masksyn", options, folder)
    return folder


def work(strategy: str, options, bank: Path) -> None:
    logging.disable()
    run_shards(Job(strategy, options), bank)


def begin(strategy: str, options, bank: Path) -> multiprocessing.process.BaseProcess:
    """A process that makes the bank; its imports are done, so that its life is all work."""
    process = clean_forks().Process(target=work, args=(strategy, options, bank))
    process.start()
    return process


def shards(bank: Path) -> int:
    return len(list(bank.glob("shards/*.tar")))


def kill_after(process: multiprocessing.process.BaseProcess, seconds: float) -> bool:
    """kill -9; False where the process had ended well by then."""
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_killed_at_twenty_moments_gives_the_bank_of_an_uninterrupted_run(options, tmp_path):
    """Each command goes on where the last was killed: any moment of its start, or of its work from the first shard that it made.
    Where one gets to the end, the next begins anew."""
    long, draw, bank = replace(options, replicas=6), random.Random(0), tmp_path / "bank"
    synthesize("imgsyn", long, tmp_path / "whole")
    kills, made, whole = 0, 0, contents(tmp_path / "whole")
    while kills < KILLS or made < 12:  # a bank's worth of shards comes from commands that were killed
        before, process = shards(bank), begin("imgsyn", long, bank)
        while kills % 2 and process.is_alive() and shards(bank) == before:
            time.sleep(0.002)
        killed = kill_after(process, draw.uniform(0.0, 0.3 if kills % 2 else 0.7))
        kills, made = kills + killed, made + shards(bank) - before
        if not killed:
            assert contents(bank) == whole
            shutil.rmtree(bank)
    synthesize("imgsyn", long, bank)
    assert contents(bank) == whole and not list(bank.rglob("*.part"))


def test_two_commands_of_one_job_on_one_bank(options, whole, tmp_path):
    processes = [begin("masksyn", options, tmp_path / "bank") for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert contents(tmp_path / "bank") == contents(whole)


def test_a_command_of_another_job_is_refused_by_name_while_the_first_is_at_work(options, whole, tmp_path):
    process = begin("masksyn", options, tmp_path / "bank")
    while not (tmp_path / "bank/bank.json").exists():
        assert process.is_alive()
        time.sleep(0.002)
    with pytest.raises(SegGenError, match="made with another job: job.seed: 1 against 0"):
        synthesize("masksyn", replace(options, seed=1), tmp_path / "bank")
    process.join()
    assert process.exitcode == 0
    assert contents(tmp_path / "bank") == contents(whole)


def test_a_local_worker_that_is_killed_is_told_and_the_same_command_goes_on(options, tmp_path, monkeypatch):
    long, bank, killed = replace(options, replicas=4, images=SamplerOptions(4)), tmp_path / "bank", []
    clean_forks()
    monkeypatch.setattr(local, "START", "forkserver")  # that spawned ones work is another test's

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            workers = multiprocessing.active_children()
            if list(bank.glob("shards/*.tar")) and workers:
                killed.append(workers[0].pid)
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.002)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(SegGenError, match=r"shards of .* are not finished(.|\n)*worker \d was killed by signal 9"):
        synthesize("imgsyn", long, bank, workers=2)
    killer.join()
    synthesize("imgsyn", long, bank)
    synthesize("imgsyn", long, tmp_path / "whole")
    assert contents(bank) == contents(tmp_path / "whole")


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_is_found_named_and_made_again_by_the_same_command(options, whole, tmp_path, caplog):
    bank = tmp_path / "bank"
    shutil.copytree(whole, bank)
    flip(bank / "shards/masksyn-00002.tar", 700)  # in the first image; its length stays
    key = Bank(whole).record(6)["file_name"].rpartition("/")[2]
    with caplog.at_level("WARNING"):
        synthesize("masksyn", options, bank, verify=False)
        assert "masksyn-00002" not in caplog.text and contents(bank) != contents(whole)
        synthesize("masksyn", options, bank)
    assert "masksyn-00002" in caplog.text and f"member {key} differs from its checksum" in caplog.text
    assert contents(bank) == contents(whole)


def test_a_full_disk_stops_the_command_and_the_same_one_goes_on(options, whole, tmp_path, monkeypatch):
    """The disk is full when the second shard's archive is due."""
    bank, sync = tmp_path / "bank", os.fsync

    def full(descriptor: int) -> None:
        if (bank / "index/masksyn-00001.parquet").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SegGenError, match="no space left while writing .*masksyn-00001") as told:
            synthesize("masksyn", options, bank)
    assert "same command again; finished files are kept" in str(told.value)
    assert [path.name for path in bank.glob("shards/*")] == ["masksyn-00000.tar"] and len(Bank(bank)) == 3
    synthesize("masksyn", options, bank)
    assert contents(bank) == contents(whole)


@pytest.mark.parametrize("step", ["latents", "samples"])
def test_a_gpu_s_want_of_memory_is_told_and_finished_shards_stay(options, whole, tmp_path, monkeypatch, step):
    """``samples`` runs in another thread."""
    real, bank, calls = getattr(Painter, step), tmp_path / "bank", []

    def small(painter, batch):
        calls.append(batch)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")
        return real(painter, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Painter, step, small)
        with pytest.raises(SegGenError, match="does not fit the GPU's memory\n.*batches of 2\n.*2.00 GiB.\n.*smaller batch"):
            synthesize("masksyn", options, bank)
        calls.clear()
        with pytest.raises(SegGenError, match="does not fit the GPU's memory"):
            estimate("masksyn", options)
    assert shards(bank) < 2
    synthesize("masksyn", options, bank)
    assert contents(bank) == contents(whole)


def test_the_thread_behind_the_networks_keeps_the_order_and_stops_at_a_failure():
    done = []

    def note(number: int) -> None:
        if number == 3:
            raise OSError("three")
        done.append(number)

    with pytest.raises(OSError, match="three"), Finisher(depth=2) as finisher:
        for number in range(10):
            finisher.hand_over(note, number)
    assert done == [0, 1, 2]
    with Finisher() as finisher:
        for number in range(4, 8):
            finisher.hand_over(note, number)
    assert done == [0, 1, 2, 4, 5, 6, 7]

"""Ray over the same plan: the same bytes, also where an actor was killed; addresses that do not answer are told quickly."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny_synthesis import contents, tiny_options

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.sampling.sampler import SamplerOptions
from seggen_d2.synthesis import ray_executor
from seggen_d2.synthesis.local import synthesize
from seggen_d2.synthesis.ray_executor import ShardActor, check_address, synthesize_with_ray

pytest.importorskip("ray")


def actors() -> list[psutil.Process]:
    """Processes of this one's Ray that make shards."""
    return [p for p in psutil.Process().children(recursive=True) if "ShardActor" in " ".join(_words(p))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill_one(bank: Path, killed: list[int], deadline: float) -> None:
    """kill -9 an actor as soon as a shard is there."""
    while time.monotonic() < deadline and not killed:
        if any(bank.glob("shards/*.tar")):
            for actor in actors()[:1]:
                os.kill(actor.pid, signal.SIGKILL)
                killed.append(actor.pid)
        time.sleep(0.01)


def test_an_actor_killed_in_the_middle_leaves_the_bytes_as_they_are(generators, toy_folder, tmp_path):
    options = tiny_options(generators, toy_folder, replicas=6, images=SamplerOptions(4))
    synthesize("imgsyn", options, tmp_path / "local")
    killed: list[int] = []
    killer = threading.Thread(target=kill_one, args=(tmp_path / "bank", killed, time.monotonic() + 350))
    killer.start()
    synthesize_with_ray("imgsyn", options, str(tmp_path / "bank"), workers=2)
    seen = len(list((tmp_path / "bank").glob("shards/*.tar")))
    killer.join()
    assert killed, "the job ended before an actor could be killed"
    assert seen == 12 and contents(tmp_path / "bank") == contents(tmp_path / "local")


@pytest.fixture
def cluster():
    """The address of a cluster of one CPU."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8})
    yield made.address
    made.shutdown()


def test_an_actor_that_dies_again_and_again_ends_the_command_not_the_cluster(generators, toy_folder, tmp_path, monkeypatch, cluster):
    """As it does where one shard is too large for the memory; Ray by itself would never give up."""
    deaths = str(tmp_path / "deaths")

    class Dying:  # local: it goes to the actors by value
        def __init__(self, *arguments):
            pass

        def __call__(self, batch):
            with open(deaths, "a") as file:
                file.write(".")
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ray_executor, "ShardActor", Dying)
    monkeypatch.setattr(ray_executor, "RETRIES", 1)
    with pytest.raises(SegGenError, match="died 2 times at the same shards(.|\n)*finished shards are kept"):
        synthesize_with_ray("imgsyn", tiny_options(generators, toy_folder, shard_size=100), str(tmp_path / "bank"), address=cluster)
    check_address(cluster)
    assert Path(deaths).read_text() == ".."


def test_an_address_that_does_not_answer_is_told_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(SegGenError, match=f"no Ray answers at {address}"):
            check_address(address)
    assert time.monotonic() - began < 6


@pytest.mark.parametrize("address", ["cluster", "host:", "host:ray", "ray://host:10001"])
def test_an_address_that_is_none_is_told(address):
    with pytest.raises(SegGenError, match="no address of a Ray cluster"):
        check_address(address)


def test_another_server_at_the_address_is_told(monkeypatch):
    monkeypatch.setattr(ray_executor, "HEALTH_SECONDS", 2.0)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(SegGenError, match="something listens there"):
            check_address(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()


def test_without_ray_the_extra_is_named(generators, toy_folder, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SegGenError, match=r"pip install 'seggen_d2\[ray\]'"):
        synthesize_with_ray("imgsyn", tiny_options(generators, toy_folder), str(tmp_path / "bank"))
    assert not (tmp_path / "bank").exists()


def test_an_actor_hands_errors_back_as_values(generators, toy_folder, tmp_path):
    """Ray would wrap them in tracebacks, and start the actor anew."""
    options = tiny_options(generators, toy_folder)
    gone = ShardActor("imgsyn", replace(options, mask2img=str(tmp_path / "gone")), "", str(tmp_path / "bank"), True, os.getcwd())
    told = gone({"shard": np.array([0, 1])})
    assert told["samples"].tolist() == [0, 0] and all("holds no generator" in error and socket.gethostname() in error for error in told["error"])
    sound = ShardActor("imgsyn", options, "", str(tmp_path / "bank"), True, str(tmp_path / "a folder of the driver's alone"))
    told = sound({"shard": np.array([3, 1])})
    assert told["samples"].tolist() == [3, 3] and not any(told["error"])
    assert sorted(path.stem for path in (tmp_path / "bank/shards").iterdir()) == ["imgsyn-00001", "imgsyn-00003"]

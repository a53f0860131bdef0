"""Banks on object stores: written, resumed, read and trained from as banks on disk, against a local S3-like server."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bank_samples import info, sample, write_bank

from seggen_d2.bank import Bank, BankWriter, export_folders, open_member, read_info, verify_bank
from seggen_d2.bank import __main__ as bank_command
from seggen_d2.bank.cache import cache_of
from seggen_d2.bank.store import is_url, join, locate, open_store
from seggen_d2.foundation.errors import SegGenError

HERE = Path(__file__).parent
fsspec = pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def server():
    """A server that speaks S3; the environment leads s3fs to it."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "someone",
                            "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("bucket")
        yield running
    running.stop()


@pytest.fixture
def s3(server, request) -> str:
    return f"s3://bucket/{request.node.name.replace('[', '-').rstrip(']')}/bank"


@pytest.fixture
def memory(request) -> str:
    return f"memory://{request.node.name}"


def objects(url: str) -> dict[str, bytes]:
    """Everything below ``url``, by its name there."""
    files, top = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {path.removeprefix(top).strip("/"): files.cat_file(path) for path in files.find(top)}


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".cache" not in p.parts}


def put(url: str, name: str, data: bytes) -> None:
    files, top = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{top}/{name}", data)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def run_python(code: str, *arguments: object) -> subprocess.Popen:
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": paths})


def differing(bank: Bank, count: int) -> list[str]:
    """Keys whose members are not what was written, by the bank and by its paths."""
    wrong = []
    for number in range(count):
        made = sample(number)
        wrong += [made.key for kind, data in made.members().items() if bank.read(made.key, kind, check=True) != data]
        wrong += [made.key for path in (bank.record(number)["file_name"],) if open_member(path) != made.image]
    return wrong


def test_a_store_holds_the_bytes_of_a_bank_on_disk(memory, tmp_path):
    write_bank(tmp_path / "local")
    write_bank(memory)
    assert objects(memory) == tree(tmp_path / "local")
    bank = Bank(memory, name="away")
    assert not differing(bank, 6) and bank.root == memory and bank.verify() == []
    assert bank.column("seed").tolist() == [2**62 + n for n in range(6)] and bank.rejections()[0].key == "imgsyn-999"
    assert bank.variants("scene 1").tolist() == [2, 3]
    folder = export_folders(bank, tmp_path / "plain").parent
    assert (folder / "images" / "imgsyn-000000004.jpg").read_bytes() == sample(4).image
    assert read_info(memory).licences == {"mask2img": "Apache-2.0"}
    bank.close()


def test_an_index_is_fetched_once_and_anew_when_it_changed(memory, monkeypatch, cache):
    write_bank(memory)
    fetched = []
    store = open_store(memory)
    kind = type(store)
    real = kind._download
    monkeypatch.setattr(kind, "_download", lambda self, parts: fetched.extend(name for name, *_ in parts) or real(self, parts))
    for _ in range(2):
        bank = Bank(memory)
        bank.column("height")
        bank.rejections()
    assert sorted(fetched) == [f"index/imgsyn-{n:05d}.parquet" for n in range(2)]
    assert len([*cache_of(memory).rglob("*.parquet")]) == 2 and str(cache_of(memory)).startswith(str(cache))
    BankWriter(memory, info()).write_shard("imgsyn-00002", [sample(6)])
    again = Bank(memory)
    assert len(again) == 7 and again.read(sample(6).key, "jpg") == sample(6).image
    assert fetched[2:] == ["index/imgsyn-00002.parquet"]
    again.close()


def test_a_sample_s_members_cost_one_request(memory, monkeypatch):
    write_bank(memory)
    bank = Bank(memory, check=True)
    asked = []
    files = type(bank.store.connected())
    real = files.cat_file
    monkeypatch.setattr(files, "cat_file", lambda self, path, start=None, end=None: asked.append(path) or real(self, path, start, end))
    monkeypatch.setattr("seggen_d2.bank.remote._AHEAD", 2600)  # these samples are small
    for number in (5, 0, 3):
        made = sample(number)
        before = len(asked)
        assert {kind: bank.read(made.key, kind) for kind in made.members()} == made.members()
        assert len(asked) == before + 1
    bank.close()


def test_the_engine_finds_banks_below_a_url(memory):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from types import SimpleNamespace

    from seggen_d2.engine.from_config import bank_folders

    keys = SimpleNamespace(BANKS=["mine", "s3://other/bank", str(HERE)], BANK_ROOT=memory)
    assert bank_folders(SimpleNamespace(SEGGEN=keys)) == [f"{memory}/mine", "s3://other/bank", str(HERE)]


def test_file_urls_are_folders(tmp_path):
    url = f"file://{tmp_path}/bank"
    write_bank(url)
    bank = Bank(url)
    assert bank.root == (tmp_path / "bank").resolve() and not differing(bank, 6)
    assert not is_url(url) and is_url("s3://bucket/bank") and not is_url("banks/a") and not is_url(tmp_path)
    assert join("s3://bucket/banks/", "a") == "s3://bucket/banks/a" and join(tmp_path, "a") == str(tmp_path / "a")
    bank.close()


def test_what_is_no_place_is_told(monkeypatch):
    with pytest.raises(SegGenError, match="s3:/bucket/bank is no folder, and no URL either"):
        locate(Path("s3://bucket/bank"))
    with pytest.raises(SegGenError, match="of a kind that fsspec does not know"):
        Bank("nosuch://bucket/bank")
    with pytest.raises(SegGenError, match="bank description memory://nothing/bank.json does not exist"):
        Bank("memory://nothing")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(SegGenError, match=r'needs a package that is not installed(.|\n)*pip install "seggen_d2\[s3\]"'):
        Bank("s3://bucket/bank")


def test_sidecars_are_read_from_a_store(memory, tmp_path):
    samples = write_bank(memory)
    pq.write_table(pa.table({"key": [s.key for s in samples][::-1], "weight": [5.0, 4, 3, 2, 1, 0]}), tmp_path / "w.parquet")
    put(memory, "scores/quality/0.parquet", (tmp_path / "w.parquet").read_bytes())
    bank = Bank(memory)
    assert bank.column("scores/quality:weight").tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(SegGenError, match="no sidecar 'scores/qualty:weight'(.|\n)*scores/quality:COLUMN"):
        bank.column("scores/qualty:weight")
    bank.close()


@pytest.mark.parametrize("name, place", [("shards/imgsyn-00000.tar", 700), ("index/imgsyn-00000.parquet", 300)])
def test_damage_in_a_store_is_found_and_made_anew(memory, name, place, capsys):
    write_bank(memory)
    whole = objects(memory)
    put(memory, name, flipped(whole[name], place))
    with pytest.raises(SystemExit) as ended:
        sys.argv = ["bank", "verify", memory]
        bank_command.main()
    said = capsys.readouterr().out
    assert ended.value.code == 1 and said.startswith("shard imgsyn-00000: ") and "imgsyn-00001" not in said
    writer = BankWriter(memory, info())
    assert not writer.is_finished("imgsyn-00000", check=True) and writer.is_finished("imgsyn-00001", check=True)
    assert writer.finished(["imgsyn-00000", "imgsyn-00001", "other"], check=True) == {"imgsyn-00001"}
    write_bank(memory)
    assert objects(memory) == whole and verify_bank(memory) == []


def test_bank_json_is_created_by_one_process_alone(s3):
    write_bank(s3, shards=1)
    store = open_store(s3)
    before = objects(s3)["bank.json"]
    store.create("bank.json", b"another's")
    assert objects(s3)["bank.json"] == before
    with pytest.raises(SegGenError, match="another job"):
        BankWriter(s3, info(job={"seed": 7}))


def test_a_store_that_falters_while_bank_json_is_created_leaves_another_s(memory, monkeypatch):
    """Another process was first, and this one's request is lost; where there is none yet, it is asked again."""
    store = open_store(memory)
    files, real = store.connected(), store.connected().pipe_file

    def falter(address, data, mode="overwrite"):
        if mode == "create":
            raise OSError("503 Slow Down")
        real(address, data)

    monkeypatch.setattr(files, "pipe_file", falter)
    store.create("bank.json", b"mine")
    store.create("bank.json", b"another's")
    assert store.read("bank.json") == b"mine"


def test_s3_reads_in_forked_workers_and_threads(s3):
    write_bank(s3)
    bank = Bank(s3, check=True)
    assert not differing(bank, 6)  # connected before the fork
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        assert not any(task.result() for task in [pool.submit(differing, bank, 6) for _ in range(4)])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(lambda _: differing(bank, 6), range(4)))
    assert not differing(pickle.loads(pickle.dumps(bank)), 6)
    bank.close()


def test_s3_is_written_by_two_processes_and_after_a_kill(s3, tmp_path):
    """Two writers of one job, both killed for good; the same command then gives the bytes of a bank on disk."""
    code = "import sys, bank_samples as b; print(1, flush=True); b.write_bank(sys.argv[1], 40)"
    writers = [run_python(code, s3) for _ in range(2)]
    for writer in writers:
        writer.stdout.readline()
    deadline = time.monotonic() + 60
    while not any(name.endswith("3.tar") for name in open_store(s3).listing("shards")) and time.monotonic() < deadline:
        time.sleep(0.02)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    written = open_store(s3).listing("shards")
    assert written and all("is missing" in line for line in verify_bank(s3))
    write_bank(s3, 40)
    write_bank(tmp_path / "whole", 40)
    assert objects(s3) == tree(tmp_path / "whole") and len(written) < 40


def test_s3_that_does_not_answer_or_has_no_bucket_is_told(s3, monkeypatch, caplog):
    with pytest.raises(SegGenError, match="s3://none/bank/bank.json cannot be written(.|\n)*check the URL"):
        BankWriter("s3://none/bank", info())
    write_bank(s3, shards=1)
    bank = Bank(s3)
    put(s3, "shards/imgsyn-00000.tar", b"short")
    with pytest.raises(SegGenError, match="is damaged|cannot be read"):
        bank.read(sample(2).key, "jpg")
    bank.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_training_from_s3_with_workers(s3, tmp_path, method):
    """A few steps of the engine's own loader and model, every sample a synthetic one from the store."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from toy_world import write_bank as write_toy_bank
    from toy_world import write_world

    from seggen_d2.engine.config import load_config
    from seggen_d2.engine.from_config import experiment
    from seggen_d2.engine.loader import train_loader
    from seggen_d2.mixing import NumberedSampler

    write_toy_bank(s3, range(10, 14), sources=["scene0", "scene1"])
    run = experiment(load_config(write_world(tmp_path), ["SEGGEN.BANKS", f"['{s3}']"])[0])
    assert [bank.root for bank in run.banks] == [s3]
    loader = train_loader(run.records, run.mapper_at(1.0), NumberedSampler(len(run.records)), batch_size=2, workers=2 if method == "fork" else 1)
    loader.multiprocessing_context = method
    assert loader.multiprocessing_context.get_start_method() == method
    optimizer = torch.optim.SGD(run.model.parameters(), lr=1e-3)
    run.model.train()
    for _, batch in zip(range(3), loader, strict=False):
        assert all(part["is_synthetic"] for part in batch["samples"])
        loss = sum(run.model(batch["samples"]).values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert torch.isfinite(loss)
    run.banks[0].close()

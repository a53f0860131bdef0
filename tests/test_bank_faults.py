"""What happens to banks: full disks, damage, two jobs at once, files of strangers. Each fault is a real one."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from bank_samples import CATEGORIES, info, sample, write_bank
from clean_forks import clean_forks
from PIL import Image

from seggen_d2.bank import Bank, BankWriter, Rejection, export_folders, import_bank, read_info, verify_bank
from seggen_d2.bank.format import KINDS, tar_blocks
from seggen_d2.bank.index import index_bytes, index_rows, read_columns, read_facts
from seggen_d2.bank.store import LocalStore
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.pictures import MOST_PIXELS
from seggen_d2.segmentation import label_map_png, read_label_map
from seggen_d2.sources import FolderSource, read_image

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE), str(HERE.parent)])


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".cache" not in p.parts}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


# ---------------------------------------------------------------------------------------------------- full disks

_FILL = """
import os, pathlib, subprocess, sys
import bank_samples as b
from seggen_d2.bank import verify_bank
from seggen_d2.foundation.errors import SegGenError
root = pathlib.Path(sys.argv[1])
for filler in sys.argv[2:]:
    if filler != "0":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(root)], check=True)
        (root / "filler").write_bytes(bytes(int(filler)))
    try:
        b.write_bank(root / "bank", 30)
        print("it fitted")
    except SegGenError as error:
        print(error.problem)
    print(len(list(root.rglob("*.tar"))), len(list(root.rglob("*.part"))))
    print([line for line in verify_bank(root / "bank") if "shards/" not in line or "missing" not in line])
    if filler != "0":
        subprocess.run(["mount", "-o", "remount,size=8m", str(root)], check=True)
        b.write_bank(root / "bank", 30)
        print(verify_bank(root / "bank"), len(list(root.rglob("*.tar"))))
"""


def unshare() -> list[str]:
    """A command that gives its argument a mount table of its own."""
    for way in (["unshare", "-m"], ["unshare", "-rm"]):
        if shutil.which("unshare") and subprocess.run([*way, "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"], capture_output=True).returncode == 0:
            return way
    pytest.skip("this machine lets the test mount no file system: neither as root nor in a namespace of its own")


def test_a_disk_that_fills_up_loses_nothing_and_is_gone_on_with(tmp_path):
    fillers = ("100000", "108300", "116500")  # another write each meets the end
    run = subprocess.run([*unshare(), sys.executable, "-c", _FILL, tmp_path, *fillers], capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": PATHS})
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    for problem, counts, damaged, after in zip(*[iter(lines)] * 4, strict=True):
        tars, asides = map(int, counts.split())
        assert problem.startswith("no space left while writing ") and 5 < tars < 30 and asides == 0
        assert damaged == "[]" and after == "[] 30"
    assert len(lines) == 12 and {"index" in lines[0], "index" in lines[4], "index" in lines[8]} == {True, False}


def test_a_limit_on_file_sizes_is_a_full_disk_too(tmp_path):
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000))" + _FILL
    run = subprocess.run([sys.executable, "-c", code, tmp_path, "0"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": PATHS})
    assert run.returncode == 0, run.stderr
    problem, counts, damaged = run.stdout.splitlines()
    assert "no space left while writing " in problem and problem.endswith("imgsyn-00000.tar") and counts == "0 0" and damaged == "[]"


# ---------------------------------------------------------------------------------------------------- damage


def test_a_byte_flipped_anywhere_in_an_archive_is_found(tmp_path):
    write_bank(tmp_path)
    tar = tmp_path / "shards/imgsyn-00001.tar"
    row = Bank(tmp_path).find(sample(4).key)
    draw = np.random.default_rng(0)
    places = {row.png_offset + 3, row.png_offset - 100, tar.stat().st_size - 1, *draw.integers(0, tar.stat().st_size, 100).tolist()}
    for place in places:
        flip(tar, place)
        found = verify_bank(tmp_path)
        assert len(found) == 1 and found[0].startswith("shard imgsyn-00001: "), place
        inside = row.png_offset <= place < row.png_offset + row.png_length
        assert (f"member {sample(4).key}.png differs from its checksum" in found[0]) == inside
        flip(tar, place)
    assert verify_bank(tmp_path) == []


def test_a_byte_flipped_in_an_index_is_found_or_changes_nothing(tmp_path):
    write_bank(tmp_path)
    index = tmp_path / "index/imgsyn-00001.parquet"
    rows, facts = read_columns(index), read_facts(index)
    found = 0
    for place in np.random.default_rng(0).integers(0, index.stat().st_size, 120).tolist():
        flip(index, place)
        told = verify_bank(tmp_path)
        assert told or (read_columns(index).equals(rows) and read_facts(index) == facts), place
        found += bool(told)
        flip(index, place)
    assert found > 40  # the rest lie in the footer's statistics and names of versions, which nothing reads


def test_the_command_names_what_is_damaged_and_the_exit_code_tells(tmp_path):
    write_bank(tmp_path / "bank")
    os.truncate(tmp_path / "bank/shards/imgsyn-00000.tar", 5000)
    flip(tmp_path / "bank/shards/imgsyn-00001.tar", 600)
    run = subprocess.run([sys.executable, "-m", "seggen_d2.bank", "verify", "bank"], cwd=tmp_path, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": PATHS})
    assert run.returncode == 1 and run.stdout.splitlines() == [
        "shard imgsyn-00000: shards/imgsyn-00000.tar has 5000 bytes where its index says 20480",
        "shard imgsyn-00001: member imgsyn-000000003.jpg differs from its checksum",
        "bank: 2 damaged; give the command that made the bank again: damaged shards are made anew",
    ]


@pytest.fixture
def folder(tmp_path) -> FolderSource:
    """Six images and masks of 16 x 16 pixels."""
    for number in range(6):
        made = sample(number)
        for name, data in ((f"images/{number}.jpg", made.image), (f"masks/{number}.png", made.mask)):
            (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "own" / name).write_bytes(data)
    return FolderSource("own", tmp_path / "own/images", tmp_path / "own/masks", CATEGORIES)


@pytest.mark.parametrize("damage", [lambda tar: os.truncate(tar, 700), lambda tar: flip(tar, 700)])
def test_the_command_that_made_a_bank_makes_its_damaged_shard_anew(folder, tmp_path, damage, caplog):
    from seggen_d2.bank import ImportOptions

    options = ImportOptions(shard_size=2)
    import_bank(folder, tmp_path / "bank", options)
    whole = tree(tmp_path / "bank")
    damage(tmp_path / "bank/shards/imgsyn-00001.tar")
    untouched = (tmp_path / "bank/shards/imgsyn-00000.tar").stat().st_mtime_ns
    import_bank(folder, tmp_path / "bank", options)
    assert tree(tmp_path / "bank") == whole and "shard imgsyn-00001 " in caplog.text and "shard imgsyn-00000 " not in caplog.text
    assert (tmp_path / "bank/shards/imgsyn-00000.tar").stat().st_mtime_ns == untouched


def test_a_look_up_table_of_objects_is_not_unpickled(tmp_path, caplog):
    samples = write_bank(tmp_path)
    Bank(tmp_path).close()
    table = next((tmp_path / ".cache").iterdir())
    with open(table / "keys.npy", "r+b") as file:
        header = file.read(128).replace(b"'<u8'", b"'|O' ")
        file.seek(0)
        file.write(header)
    with caplog.at_level(logging.WARNING):
        assert Bank(tmp_path).read(samples[0].key, "jpg") == samples[0].image
    assert "damaged; it is built again" in caplog.text


# ---------------------------------------------------------------------------------------------------- two jobs


def _begin(root: Path, seed: int, barrier, queue) -> None:
    barrier.wait()
    try:
        BankWriter(root, info(job={"seed": seed})).write_shard(f"imgsyn-{seed:05d}", [sample(seed)])
        queue.put((seed, ""))
    except SegGenError as error:
        queue.put((seed, error.problem))


def test_of_two_jobs_on_one_folder_one_gets_it(tmp_path):
    context = clean_forks()
    for turn in range(6):
        root, barrier, queue = tmp_path / str(turn), context.Barrier(4, timeout=60), context.Queue()
        jobs = [context.Process(target=_begin, args=(root, seed, barrier, queue)) for seed in range(4)]
        for job in jobs:
            job.start()
        told = dict(queue.get(timeout=30) for _ in jobs)
        for job in jobs:
            job.join()
        (winner,) = [seed for seed, problem in told.items() if not problem]
        assert all("was made with another job: job.seed" in problem for seed, problem in told.items() if seed != winner)
        assert read_info(root).job == {"seed": winner} and Bank(root, name=f"turn{turn}").key(0) == sample(winner).key
        assert len(list(root.rglob("*.tar"))) == 1 and not list(root.rglob("*.part"))


def _write(root: Path, barrier) -> None:
    barrier.wait()
    write_bank(root, 10)


def test_a_writer_whose_temporary_file_was_swept_takes_the_bank_of_the_first(tmp_path, monkeypatch):
    """Another process of the job is done with bank.json while this one is about to sync its own."""
    real = Path.write_bytes

    def first(path, data):
        real(path, data)
        if path.suffix == ".part" and "bank.json" in path.name:
            monkeypatch.undo()
            real(tmp_path / "bank.json", data)
            path.unlink()

    monkeypatch.setattr(Path, "write_bytes", first)
    assert not BankWriter(tmp_path, info()).is_finished("imgsyn-00000")
    assert read_info(tmp_path) == info()


def test_a_bank_that_another_process_begins_meanwhile_is_no_folder_of_orphans(tmp_path, monkeypatch):
    real = LocalStore.listing

    def listing(store, folder):
        monkeypatch.undo()
        write_bank(tmp_path)
        return real(store, folder)

    monkeypatch.setattr(LocalStore, "listing", listing)
    assert BankWriter(tmp_path, info()).is_finished("imgsyn-00000")
    (tmp_path / "bank.json").unlink()
    with pytest.raises(SegGenError, match="holds shards but no bank.json"):
        BankWriter(tmp_path, info())


def test_a_summary_counts_whole_shards_and_names_the_others(tmp_path):
    write_bank(tmp_path, shards=4)
    (tmp_path / "shards/imgsyn-00001.tar").unlink()
    os.truncate(tmp_path / "index/imgsyn-00002.parquet", 100)
    run = subprocess.run([sys.executable, "-m", "seggen_d2.bank", "summary", tmp_path], capture_output=True, text=True, check=True)
    assert "semantic: 6 samples" in run.stdout and "mask2img: licence Apache-2.0" in run.stdout
    assert "shard imgsyn-00001 is left out" in run.stdout and "shard imgsyn-00002 is left out" in run.stdout


def test_two_models_of_one_kind_keep_their_licences():
    made = info(generators=({"kind": "mask2img", "licence": "A"}, {"kind": "distilled", "of": "mask2img", "licence": "B"},
                            {"kind": "distilled", "of": "text2mask", "licence": "C"}, {"kind": "mask2img", "licence": ""}))
    assert made.licences == {"mask2img": "A", "distilled of mask2img": "B", "distilled of text2mask": "C", "mask2img (3)": "not stated"}


def test_two_processes_of_one_job_on_the_same_shards_leave_its_bytes(tmp_path):
    context = clean_forks()
    barrier = context.Barrier(3, timeout=60)
    jobs = [context.Process(target=_write, args=(tmp_path / "bank", barrier)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    write_bank(tmp_path / "alone", 10)
    assert [job.exitcode for job in jobs] == [0, 0, 0] and tree(tmp_path / "bank") == tree(tmp_path / "alone")


# ---------------------------------------------------------------------------------------------------- training


@pytest.fixture
def world(tmp_path):
    """A world of toys whose bank has one sample that decodes, one with a flipped byte, one image and one mask cut short."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from toy_world import write_world

    from seggen_d2.sources.toy import toy_scene

    config = write_world(tmp_path)
    bank = Bank(tmp_path / "bank")
    row = bank.find("imgsyn-000000001")
    parts = {n: {kind: bank.read(f"imgsyn-{n:09d}", kind) for kind in ("jpg", "png")} for n in range(4)}
    facts = [bank.record(n) for n in range(4)]
    bank.close()
    cut = {2: {"jpg": parts[2]["jpg"][:-100]}, 3: {"png": parts[3]["png"][:-40]}}  # the writer reads headers alone
    from seggen_d2.bank import Sample
    from seggen_d2.segmentation import Categories, histogram

    shutil.rmtree(tmp_path / "bank/shards")
    categories = Categories.from_names(read_info(tmp_path / "bank").categories.names)
    samples = []
    for n, fact in enumerate(facts):
        data = {**parts[n], **cut.get(n, {})}
        counts = histogram(toy_scene(fact["seed"], size=32).labels, categories)
        samples.append(Sample(fact["image_id"], data["jpg"], data["png"], fact["source_id"], "imgsyn", fact["seed"], "", 32, 32, counts))
    BankWriter(tmp_path / "bank", read_info(tmp_path / "bank")).write_shard("imgsyn-00000", samples)
    flip(tmp_path / "bank/shards/imgsyn-00000.tar", row.png_offset + row.png_length // 2)
    return config


def test_training_goes_on_without_the_samples_that_cannot_be_decoded(world, tmp_path, caplog):
    from seggen_d2.engine import command
    from seggen_d2.engine.config import load_config

    pairs = ["SEGGEN.P_AUG", "1.0", "SOLVER.MAX_ITER", "8", "SOLVER.CHECKPOINT_PERIOD", "8"]
    with caplog.at_level(logging.WARNING):
        command.train_net(load_config(world, pairs)[0])
    assert json.loads((tmp_path / "out/metrics_final.json").read_text())["iterations"] == 8
    told = [message for message in caplog.messages if "synthetic sample not used, the real one is" in message]
    named = [key for message in told for key in ("imgsyn-000000001", "imgsyn-000000002", "imgsyn-000000003") if key in message.partition(":")[0]]
    assert len(named) == len({*named}) == len(told) >= 2, told  # each at most once
    assert {"imgsyn-000000001"} <= {*named} and any("differs" in m or "is damaged" in m for m in told)


def test_workers_hand_out_the_real_sample_and_mark_it(world):
    from seggen_d2.engine.config import load_config
    from seggen_d2.engine.from_config import experiment
    from seggen_d2.engine.loader import train_loader
    from seggen_d2.mixing import NumberedSampler

    run = experiment(load_config(world)[0])
    loader = train_loader(run.records, run.mapper_at(1.0), NumberedSampler(len(run.records)), batch_size=4, workers=2)
    samples = [part for _, batch in zip(range(12), loader, strict=False) for part in batch["samples"]]
    failed = [part for part in samples if part.get("swap_failed")]
    assert 0.5 < len(failed) / len(samples) < 0.95 and not any(part["is_synthetic"] for part in failed)
    assert all(part["is_synthetic"] for part in samples if not part.get("swap_failed"))
    assert {tuple(part["image"].shape) for part in samples} == {(3, 32, 32)}


# ---------------------------------------------------------------------------------------------------- strangers' files


def strange_bank(root: Path, *, key: str = "imgsyn-000000000", names: dict[str, str] | None = None, link: bool = False) -> None:
    """A bank with an index that calls its sample ``key``, and an archive whose members are called as ``names`` tells."""
    BankWriter(root, info())
    made = sample(0)
    members = made.members()
    rows, length = index_rows([made], [members])
    rows = rows.set_column(0, rows.schema.field(0), pa.array([key]))
    for folder in ("index", "shards"):
        (root / folder).mkdir()
    (root / "index/imgsyn-00000.parquet").write_bytes(index_bytes(rows, length, [Rejection("a", "b", "c")]))
    tar = bytearray(b"".join(tar_blocks([((names or {}).get(kind, f"{made.key}.{kind}"), members[kind]) for kind in KINDS])))
    if link:
        tar[156:157] = b"2"  # the first member's type: a symbolic link
        tar[157 : 157 + 11] = b"/etc/passwd"
        tar[148:156] = b" " * 8
        tar[148:156] = b"%06o\0 " % sum(tar[:512])
    (root / "shards/imgsyn-00000.tar").write_bytes(tar)


@pytest.mark.parametrize("key", ["../../evil", "/evil", "a/b", "a.b", "..", "", "x" * 91])
def test_a_key_that_leads_out_of_its_folder_opens_no_bank(tmp_path, key):
    strange_bank(tmp_path / "bank", key=key)
    with pytest.raises(SegGenError, match="imgsyn-00000 of bank .* holds a key that is no name"):
        export_folders(Bank(tmp_path / "bank"), tmp_path / "plain")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bank"]


@pytest.mark.parametrize("change", [{"names": {"jpg": "../../../evil.jpg"}}, {"names": {"png": "/evil.png"}}, {"link": True}])
def test_names_and_links_in_an_archive_lead_nowhere_and_are_told(tmp_path, change):
    """Members are found by the index's offsets; what an archive calls them is never a path."""
    strange_bank(tmp_path / "bank", **change)
    assert verify_bank(tmp_path / "bank")[0].startswith("shard imgsyn-00000: the header or padding of member imgsyn-000000000.")
    bank = Bank(tmp_path / "bank")
    folder = export_folders(bank, tmp_path / "plain").parent
    assert (folder / "images/imgsyn-000000000.jpg").read_bytes() == sample(0).image
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bank", "plain"]
    assert not [p for p in tmp_path.rglob("*evil*")]
    with tarfile.open(tmp_path / "bank/shards/imgsyn-00000.tar") as tar:  # the archive is what this test takes it for
        assert [m for m in tar.getmembers() if m.issym() or "evil" in m.name]
    bank.close()


def test_nothing_here_extracts_an_archive():
    """Archives are read by offset or listed; what unpacks one would have to check its names first."""
    unpacks = re.compile(r"\.extract(all)?\(|unpack_archive\(")
    files = [path for folder in ("seggen_d2", "tools", "datasets") for path in (HERE.parent / folder).rglob("*.py")]
    assert len(files) > 100 and not [path for path in files if unpacks.search(path.read_text())]


def bomb(height: int, width: int) -> bytes:
    """A PNG of a few bytes that claims a size."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_an_image_over_the_stated_size_is_refused_unread(monkeypatch, tmp_path, folder):
    for read in (read_image, read_label_map):
        with pytest.raises(SegGenError, match=f"a.png is too large to be decoded\n  expected: at most {MOST_PIXELS} pixels(.|\n)*SEGGEN_MAX_PIXELS"):
            read(bomb(30_000, 30_000), "a.png")
        with pytest.warns(Image.DecompressionBombWarning), pytest.raises(SegGenError, match="cannot be read"):
            read(bomb(13_000, 13_000), "a.png")  # below the limit: it is read, and turns out to be cut short
    (tmp_path / "own/images/3.jpg").unlink()
    (tmp_path / "own/images/3.png").write_bytes(bomb(30_000, 30_000))
    with pytest.raises(SegGenError, match="images/3.png is too large to be decoded"):
        import_bank(folder, tmp_path / "bank")


def test_the_size_is_configurable_both_ways(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    small = label_map_png(np.zeros((20, 30), np.uint8))
    monkeypatch.setenv("SEGGEN_MAX_PIXELS", "599")
    with pytest.raises(SegGenError, match=r"at most 599 pixels\n  found:    20 x 30 \(H x W\), 600 pixels"):
        read_label_map(small, "a.png")
    monkeypatch.setenv("SEGGEN_MAX_PIXELS", "600")
    assert read_label_map(small, "a.png").shape == (20, 30)
    monkeypatch.setenv("SEGGEN_MAX_PIXELS", "1000000000")
    with pytest.raises(SegGenError, match="cannot be read"):
        read_label_map(bomb(30_000, 30_000), "a.png")
    for wrong in ("many", "0", "-5"):
        monkeypatch.setenv("SEGGEN_MAX_PIXELS", wrong)
        with pytest.raises(SegGenError, match="SEGGEN_MAX_PIXELS"):
            read_label_map(small, "a.png")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"format_version": 2}, "format_version 2\n  to do:    a newer version wrote it: read it with seggen_d2 newer than "),
        ({"format_version": 3, "read_by": "seggen_d2 0.9"}, "a newer version wrote it: read it with seggen_d2 0.9 "),
        ({"format_version": 0}, "format_version 0\n  to do:    bring the bank's own file back"),
        ({"format_version": "x"}, "format_version 'x'\n  to do:    bring the bank's own file back"),
    ],
)
def test_a_bank_of_a_newer_format_says_which_version_reads_it(tmp_path, change, words):
    write_bank(tmp_path)
    path = tmp_path / "bank.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    before = tree(tmp_path)
    for use in (Bank, verify_bank, lambda root: BankWriter(root, info())):
        with pytest.raises(SegGenError) as caught:
            use(tmp_path)
        assert words in str(caught.value), caught.value
    assert tree(tmp_path) == before


# ---------------------------------------------------------------------------------------------------- offline

_NO_NETWORK = '''
import os, socket
def refuse(name):
    real = getattr(socket.socket, name)
    def call(self, address, *rest):
        if self.family == socket.AF_UNIX or (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1", "localhost")):
            return real(self, address, *rest)
        open(os.environ["NETWORK_LOG"], "a").write(f"{name} {address}\\n")
        raise OSError(f"no network: {address}")
    return call
for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, refuse(name))
real_lookup = socket.getaddrinfo
def look_up(host, *rest, **more):
    if host not in (None, "localhost", "127.0.0.1", "::1", socket.gethostname()):
        open(os.environ["NETWORK_LOG"], "a").write(f"look up {host}\\n")
        raise OSError(f"no network: {host}")
    return real_lookup(host, *rest, **more)
socket.getaddrinfo = look_up
import socket as again
try:
    again.create_connection(("192.0.2.1", 80), timeout=1)
except OSError:
    os.remove(os.environ["NETWORK_LOG"])
else:
    raise SystemExit("the network is not blocked")
import runpy, sys
for line in open(sys.argv[1]).read().splitlines():
    sys.argv = line.split("\\t")
    runpy.run_path(sys.argv[0], run_name="__main__")
'''


def test_tools_reach_for_no_network_once_models_are_on_disk(generators, tiny_base, make_generator_options, toy_folder, tmp_path):
    """Captions to evaluation, tool after tool in one process that may not connect, and with no switch of the hub's set.

    The longest of these tests: it imports both wings and trains two networks for a step or two.
    """
    pytest.importorskip("transformers")
    from toy_world import write_world

    (tmp_path / "synthesis.yaml").write_text(yaml.safe_dump({
        "dataset": str(toy_folder / "dataset.yaml"), "captions": str(tmp_path / "captions/captions.parquet"), "replicas": 1, "batch": 2,
        "text2mask": str(generators["text2mask"]), "mask2img": str(generators["mask2img"]), "masks": {"steps": 1}, "images": {"steps": 1},
        "quality": {"max_unsure": 1.0, "min_labelled": 0.0, "min_categories": 0, "min_named": 0.0},
    }))
    (tmp_path / "training.yaml").write_text(json.dumps(asdict(make_generator_options(toy_folder, tiny_base))))  # JSON is YAML
    config, bank = write_world(tmp_path / "world"), tmp_path / "masksyn"
    commands = [
        ["tools/make_captions.py", "--dataset", toy_folder / "dataset.yaml", "--output", tmp_path / "captions"],
        ["tools/train_generator.py", "--kind", "mask2img", "--config-file", tmp_path / "training.yaml", "--output", tmp_path / "mask2img"],
        ["tools/synthesize.py", "--config-file", tmp_path / "synthesis.yaml", "--strategy", "masksyn", "--output", bank],
        ["tools/inspect_bank.py", bank, "--output", tmp_path / "bank.html"],
        ["tools/export_bank.py", bank, "--format", "ade20k", "--output", tmp_path / "plain"],
        ["tools/train_net.py", "--config-file", config, "SOLVER.MAX_ITER", "1", "TEST.SAVE_PREDICTIONS", "True"],
        ["tools/evaluate.py", "--predictions", tmp_path / "world/out/predictions/toy_test", "--dataset", tmp_path / "world/test/dataset.yaml"],
    ]
    (tmp_path / "commands").write_text("\n".join("\t".join(map(str, command)) for command in commands))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "HUGGINGFACE"))}
    environment |= {"PYTHONPATH": PATHS, "NETWORK_LOG": str(tmp_path / "network.log"), "HF_HOME": str(tmp_path / "empty")}
    run = subprocess.run([sys.executable, "-c", _NO_NETWORK, tmp_path / "commands"], cwd=HERE.parent, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert not (tmp_path / "network.log").exists(), (tmp_path / "network.log").read_text()
    assert len(Bank(bank)) == 6 and (tmp_path / "bank.html").exists() and "mIoU" in run.stdout


def test_members_read_as_what_they_are_not(tmp_path):
    """A mask that is a JPEG, and an image that is none, are refused by name whoever wrote them."""
    jpeg = io.BytesIO()
    Image.new("L", (16, 16)).save(jpeg, "JPEG")
    with pytest.raises(SegGenError, match="mask m.png is compressed with loss"):
        read_label_map(jpeg.getvalue(), "m.png")
    with pytest.raises(SegGenError, match="image i.jpg cannot be read"):
        read_image(b"GIF89a nothing", "i.jpg")

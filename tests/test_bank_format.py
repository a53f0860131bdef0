"""The golden bank of version 1, the bytes of a shard, and what bank.json refuses."""

import io
import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from bank_samples import CATEGORIES, GENERATORS, GOLDEN, PALETTE, info, labels, sample, write_bank
from PIL import Image

from seggen_d2.bank import Bank, BankWriter, Rejection, Sample, read_info
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Palette, read_label_map

JPG_CRC32 = [3271536537, 1964133229, 2092594611]  # of the golden bank's images


@pytest.fixture
def golden(tmp_path):
    bank = Bank(shutil.copytree(GOLDEN, tmp_path / "bank_v1"), name="golden")
    yield bank
    bank.close()


def test_the_golden_bank_opens_and_holds_what_it_always_held(golden):
    assert len(golden) == 3 and golden.verify() == []
    assert golden.info.categories == CATEGORIES and golden.info.palette == PALETTE
    assert golden.info.generators == GENERATORS and golden.info.job == {"strategy": "imgsyn", "seed": 0, "samples": 6}
    assert golden.record(1) == {
        "file_name": "bank://golden/imgsyn-000000001.jpg",
        "sem_seg_file_name": "bank://golden/imgsyn-000000001.png",
        "height": 16,
        "width": 16,
        "image_id": "imgsyn-000000001",
        "source_id": "scene 0",
        "strategy": "imgsyn",
        "seed": 2**62 + 1,
        "caption": "a road with 1 cars, “and” a café",
    }
    assert golden.column("histogram").tolist() == [[64, 64, 64]] * 3
    assert golden.rejections() == [Rejection("imgsyn-999", "scene 9", "the mask holds one category")]
    for number in range(3):
        assert np.array_equal(read_label_map(golden.read(golden.key(number), "png")), labels(number))
        with Image.open(io.BytesIO(golden.read(golden.key(number), "jpg"))) as image:
            assert image.format == "JPEG" and image.size == (16, 16)
    assert golden.column("jpg_crc32").tolist() == JPG_CRC32


def test_the_samples_of_the_golden_bank_written_today_read_equally(golden, tmp_path):
    samples = [
        Sample(
            key=r["image_id"],
            image=golden.read(r["image_id"], "jpg"),
            mask=golden.read(r["image_id"], "png"),
            histogram=golden.column("histogram")[number],
            **{k: r[k] for k in ("source_id", "strategy", "seed", "caption", "height", "width")},
        )
        for number, r in enumerate(map(golden.record, range(len(golden))))
    ]
    BankWriter(tmp_path / "today", golden.info).write_shard("imgsyn-00000", samples, golden.rejections())
    today = Bank(tmp_path / "today", name="today")
    for name in ("bank.json", "shards/imgsyn-00000.tar"):
        assert (today.root / name).read_bytes() == (GOLDEN / name).read_bytes()
    assert all(
        np.array_equal(today.column(name), golden.column(name))
        for name in ("key", "caption", "png_offset", "json_crc32")
    )
    assert today.rejections() == golden.rejections()
    today.close()


def test_a_shard_is_a_tar_that_any_program_reads(tmp_path):
    samples = write_bank(tmp_path)
    with tarfile.open(tmp_path / "shards" / "imgsyn-00001.tar") as tar:
        members = tar.getmembers()
        assert [m.name for m in members] == [f"{s.key}.{kind}" for s in samples[3:] for kind in ("jpg", "png", "json")]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode, m.isfile()) for m in members} == {(0, 0, 0, "", 0o644, True)}
        assert tar.extractfile(members[0]).read() == samples[3].image
        assert json.load(tar.extractfile(members[2])) == {
            "key": samples[3].key,
            "source_id": "scene 1",
            "strategy": "imgsyn",
            "seed": 2**62 + 3,
            "caption": samples[3].caption,
            "height": 16,
            "width": 16,
        }


def test_tarfile_lays_the_members_out_alike(tmp_path):
    write_bank(tmp_path, shards=1)
    path = tmp_path / "shards" / "imgsyn-00000.tar"
    theirs = io.BytesIO()
    with tarfile.open(path) as tar, tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as copy:
        for member in tar.getmembers():
            copy.addfile(member, tar.extractfile(member))
    assert len(theirs.getvalue()) == path.stat().st_size


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"job": {"strategy": "imgsyn", "seed": 1, "samples": 6}},
            ["another job", "job.seed: 1 against 0", "another folder"],
        ),
        ({"job": {"strategy": "imgsyn", "seed": 0}}, ['job.samples: "nothing" against 6']),
        ({"task": "panoptic"}, ["another task", '"panoptic" against "semantic"']),
        (
            {"generators": ({**GENERATORS[0], "fingerprint": "f" * 16},)},
            ["another generator", "generators.0.fingerprint"],
        ),
        ({"categories": Categories.from_names(["sky", "road", "bus"])}, ["'bus' (stuff) against 'car' (thing)"]),
        (
            {"palette": Palette(PALETTE.colors[::-1], PALETTE.ignore_color, PALETTE.edge_color)},
            ["palettes", "id 0: (0, 0, 255) against (255, 0, 0)"],
        ),
    ],
)
def test_a_bank_of_another_kind_is_refused_and_left_as_it_was(tmp_path, change, words):
    write_bank(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SegGenError) as caught:
        BankWriter(tmp_path, info(**change))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "this command" in message and "the bank" in message
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_tuples_and_lists_are_one_job(tmp_path):
    BankWriter(tmp_path, info(job={"size": (16, 16)}))
    BankWriter(tmp_path, info(job={"size": [16, 16]}))
    assert read_info(tmp_path).job == {"size": [16, 16]}


def test_another_format_version_is_refused(tmp_path):
    write_bank(tmp_path)
    path = tmp_path / "bank.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2}))
    for open_it in (lambda: Bank(tmp_path), lambda: BankWriter(tmp_path, info())):
        with pytest.raises(SegGenError, match="expected: format_version 1\n  found:    format_version 2"):
            open_it()


@pytest.mark.parametrize("keep, words", [(0, "is empty"), (40, "is not JSON")])
def test_a_truncated_description_is_named(tmp_path, keep, words):
    write_bank(tmp_path)
    path = tmp_path / "bank.json"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SegGenError, match=f"bank.json {words}"):
        Bank(tmp_path)


def test_a_description_that_lacks_a_key_and_a_folder_without_one(tmp_path):
    write_bank(tmp_path / "bank")
    path = tmp_path / "bank" / "bank.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps({key: value[key] for key in value if key != "job"}))
    with pytest.raises(SegGenError, match="bank.json lacks job"):
        Bank(tmp_path / "bank")
    path.unlink()
    with pytest.raises(SegGenError, match="does not exist"):
        Bank(tmp_path / "bank")
    with pytest.raises(SegGenError, match="holds shards but no bank.json"):
        BankWriter(tmp_path / "bank", info())


def test_reading_imports_no_framework_and_no_pyarrow(tmp_path):
    samples = write_bank(tmp_path / "bank")
    Bank(tmp_path / "bank", name="warm").close()
    code = (
        "import sys; from seggen_d2.bank import Bank; b = Bank(sys.argv[1]); b.record(0); b.read(sys.argv[2], 'jpg');"
        "print([m for m in ('torch', 'transformers', 'diffusers', 'cv2', 'pyarrow') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "bank", samples[0].key], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_a_sample_round_trips_through_its_members():
    members = sample(4).members()
    assert list(members) == ["jpg", "png", "json"] and json.loads(members["json"])["caption"] == sample(4).caption

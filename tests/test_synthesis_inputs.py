"""What a bank is made from: photos of all shapes, several captions, the photos themselves; where it goes; what it tells of its models."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_synthesis import contents, tiny_options

from seggen_d2.bank import Bank, open_member, read_info
from seggen_d2.bank.store import open_store
from seggen_d2.captions import Edits, read_captions, write_captions
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.sampling.sampler import SamplerOptions
from seggen_d2.segmentation import read_label_map
from seggen_d2.sources import load_dataset, read_image
from seggen_d2.synthesis.job import Job
from seggen_d2.synthesis.local import synthesize
from seggen_d2.synthesis.options import SynthesisOptions

SIZES = {"wide": (24, 48), "square": (40, 40), "tall": (60, 24), "wide2": (30, 60)}
BUCKETS = Geometry(pixels=32 * 32, multiple=16, max_aspect=4.0)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """A dataset of photos of four sizes, with two captions each."""
    folder, draw = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    for name, size in SIZES.items():
        for part, shape, high in (("images", (*size, 3), 256), ("masks", size, 3)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(draw.integers(0, high, shape, dtype=np.uint8)).save(folder / part / f"{name}.png")
    write_captions(folder / "captions.parquet", {name: ("a scene", f"a {name} sky") for name in SIZES},
                   {"captioner": "blip2", "model": "some/blip2", "licence": "MIT"})
    return folder


@pytest.fixture(scope="module")
def options(shapes, generators, toy_folder, tmp_path_factory) -> SynthesisOptions:
    """The toy's Mask2Img, its card rewritten to aspect buckets, on that dataset."""
    folder = tmp_path_factory.mktemp("buckets") / "mask2img"
    shutil.copytree(generators["mask2img"], folder)
    card = json.loads((folder / "seggen.json").read_text())
    (folder / "seggen.json").write_text(json.dumps({**card, "geometry": asdict(BUCKETS)}))
    toy = yaml.safe_load((toy_folder / "dataset.yaml").read_text())
    spec = {"name": "shapes", "images": "images", "masks": "masks", "categories": toy["categories"], "ignore_id": toy["ignore_id"]}
    (shapes / "dataset.yaml").write_text(yaml.safe_dump(spec))
    return replace(tiny_options(generators, toy_folder, replicas=4, shard_size=6), dataset=str(shapes / "dataset.yaml"),
                   captions=str(shapes / "captions.parquet"), mask2img=str(folder), text2mask="")


@pytest.fixture(scope="module")
def bank(options, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bank") / "bank"
    synthesize("imgsyn", options, folder)
    return folder


def test_samples_keep_the_photos_aspect_and_masks_have_their_images_size(options, bank):
    records = {record["source_id"]: record for record in load_dataset(options.dataset).records()}
    opened, found = Bank(bank), set()
    for record in (opened.record(i) for i in range(len(opened))):
        view = BUCKETS.views(*SIZES[record["source_id"]])[0]
        image, labels = read_image(open_member(record["file_name"])), read_label_map(open_member(record["sem_seg_file_name"]))
        assert image.shape[:2] == labels.shape == (record["height"], record["width"]) == view.out
        human = read_label_map(records[record["source_id"]]["sem_seg_file_name"])
        rows, columns = ((np.arange(out) * 2 + 1) * window // (2 * out) + start for out, window, start in
                         ((view.out[0], view.height, view.top), (view.out[1], view.width, view.left)))
        assert (labels == human[np.ix_(rows, columns)]).all()
        found.add(view.out)
    assert len(opened) == 16 and len(found) == 3


def test_archives_keep_the_plan_s_order_whatever_the_batches(options, bank):
    names = [Bank(bank).record(i)["file_name"].rpartition("/")[2] for i in range(16)]
    plan = Job("imgsyn", options).plan
    assert names == [f"{plan.sample(i).key}.jpg" for i in range(16)]
    assert [spec.key for n in range(plan.shard_count) for batch in plan.batches(n) for spec in batch] != sorted(name[:-4] for name in names)


def test_replicas_take_a_photo_s_captions_in_turn(bank):
    opened = Bank(bank)
    captions = [record["caption"] for record in map(opened.record, range(16)) if record["source_id"] == "tall"]
    assert captions == ["a scene", "a tall sky"] * 2


def _made_from(strategy: str, options: SynthesisOptions) -> list[tuple[str, str]]:
    plan = Job(strategy, options).plan
    return [(plan.sample(i).source_id, plan.sample(i).caption) for i in range(len(plan))]


def test_samples_are_made_from_edits_where_there_are_any(options, generators, toy_folder, tmp_path):
    edits = Edits({"tall": (("a red sky", 0), ("a blue sky", 1), ("a grey sky", 0))}, {}, {"redraws": 3})
    write_captions(tmp_path / "c.parquet", {name: ("a scene", f"a {name} sky") for name in SIZES}, {}, edits)
    found = _made_from("imgsyn", replace(options, captions=str(tmp_path / "c.parquet")))
    assert [caption for name, caption in found if name == "tall"] == ["a red sky", "a blue sky", "a grey sky", "a red sky"]
    assert [caption for name, caption in found if name == "wide"] == ["a scene", "a wide sky"] * 2
    assert Job("imgsyn", replace(options, captions=str(tmp_path / "c.parquet"))).info().job["edits"] == {"redraws": 3}

    toy = tiny_options(generators, toy_folder, replicas=2)
    captions = read_captions(toy.captions)
    write_captions(tmp_path / "toy.parquet", captions, {}, Edits({name: ((f"a {name}", 0),) for name in captions}))
    assert {caption for _, caption in _made_from("masksyn", replace(toy, captions=str(tmp_path / "toy.parquet")))} == {f"a {name}" for name in captions}


def test_captions_of_rare_categories_make_more_masks_and_no_human_mask_more_often(generators, toy_folder, tmp_path):
    toy = tiny_options(generators, toy_folder, replicas=4)
    captions = read_captions(toy.captions)
    rare = next(iter(captions))
    write_captions(tmp_path / "c.parquet", captions, {}, Edits(weights={rare: 3.0}))
    weighted = replace(toy, captions=str(tmp_path / "c.parquet"))
    for strategy, times in (("masksyn", 9), ("imgsyn", 4)):
        found = [name for name, _ in _made_from(strategy, weighted)]
        assert len(found) == 24 and found.count(rare) == times
    assert "weights" not in Job("imgsyn", weighted).info().job and "weights" in Job("masksyn", weighted).info().job


def test_the_bank_names_its_models_and_their_licences(bank, options):
    card = json.loads((Path(options.mask2img) / "seggen.json").read_text())
    painter, captioner = read_info(bank).generators
    assert painter == {"kind": "mask2img", **{key: card[key] for key in ("fingerprint", "licence", "base")}}
    assert captioner == {"kind": "captioner", "captioner": "blip2", "model": "some/blip2", "licence": "MIT"}


def test_strength_starts_from_the_photo(options, bank, tmp_path):
    """The closer to the photo the less of the schedule is run."""
    records = {record["source_id"]: record for record in load_dataset(options.dataset).records()}
    distances = []
    for strength in (1.0, 0.1):
        folder = tmp_path / str(strength)
        synthesize("imgsyn", replace(options, replicas=1, images=SamplerOptions(10, strength=strength)), folder)
        opened = Bank(folder)
        pairs = [(read_image(open_member(r["file_name"])), read_image(records[r["source_id"]]["file_name"])) for r in map(opened.record, range(4))]
        distances.append(np.mean([abs(image - BUCKETS.views(*photo.shape[:2])[0].image(photo).astype(float)).mean() for image, photo in pairs]))
    assert distances[1] < distances[0]


def test_a_bank_knows_what_decides_its_samples_and_no_more(options, shapes, tmp_path):
    """Captions, sizes, masks; photos where samples start from them. Not where they lie, nor the device."""
    root = tmp_path / "elsewhere"
    shutil.copytree(shapes, root)
    moved = replace(options, dataset=str(root / "dataset.yaml"), captions=str(root / "captions.parquet"), device="cpu")
    noised = replace(moved, images=SamplerOptions(10, strength=0.5))
    first = Job("imgsyn", moved).info(), Job("imgsyn", noised).info().job["masks"]
    assert first[0] == Job("imgsyn", options).info()

    Image.fromarray(np.zeros((60, 24, 3), np.uint8)).save(root / "images/tall.png")
    assert Job("imgsyn", moved).info() == first[0] and Job("imgsyn", noised).info().job["masks"] != first[1]
    Image.fromarray(np.zeros((60, 24), np.uint8)).save(root / "masks/tall.png")
    assert _changed(first[0], Job("imgsyn", moved).info()) == {"masks"}
    Image.fromarray(np.zeros((62, 24, 3), np.uint8)).save(root / "images/tall.png")
    assert _changed(first[0], Job("imgsyn", moved).info()) == {"masks", "sizes"}
    write_captions(root / "captions.parquet", {name: ("a scene", "another") for name in SIZES})
    assert _changed(first[0], Job("imgsyn", moved).info()) == {"masks", "sizes", "captions"}


def _changed(one, other) -> set[str]:
    return {key for key in one.job.keys() | other.job.keys() if one.job.get(key) != other.job.get(key)}


def test_strength_is_refused_for_masksyn(options):
    with pytest.raises(SegGenError, match="strength is for ImgSyn"):
        Job("masksyn", replace(options, images=SamplerOptions(10, strength=0.5)))


def test_a_bank_in_an_object_store_has_the_same_bytes(options, bank):
    url = "memory://banks/imgsyn"
    synthesize("imgsyn", options, url)
    store = open_store(url)
    assert {name: store.open(name).read() for name in contents(bank)} == contents(bank)


def test_the_thread_behind_the_networks_leaves_the_bytes_as_they_are(options, bank, tmp_path, monkeypatch):
    """The same with everything in one thread."""
    from seggen_d2.synthesis.finishing import Finisher

    monkeypatch.setattr(Finisher, "hand_over", lambda self, work, *args: work(*args))
    synthesize("imgsyn", options, tmp_path / "bank")
    assert contents(tmp_path / "bank") == contents(bank)

# ruff: noqa: E402
"""Banks labelled by a segmenter: its own predictions, shard by shard, and nothing else changed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from PIL import Image
from test_modeling_mask2former import SMALL
from tiny_synthesis import contents

from seggen_d2.bank import Bank, BankInfo, BankWriter, Sample
from seggen_d2.bank.inspect.pictures import sample_mask
from seggen_d2.bank.mask_members import NO_LABEL, NO_OBJECT, mask_members
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.mixing import SwapMapper
from seggen_d2.mixing.leaks import check_leaks
from seggen_d2.modeling import Outputs, build_mask2former, load_mask2former
from seggen_d2.modeling.checkpoint import save_network
from seggen_d2.scoring.annotation import AnnotationOptions, label_bank
from seggen_d2.segmentation import Categories, Category, default_palette
from seggen_d2.segmentation.masks import InstanceMask, SegmentMask, SemanticMask
from seggen_d2.segmentation.rle import decode_mask

NAMES = {"sky": False, "road": False, "car": True}
SIZES = ((32, 48), (24, 32), (32, 48), (24, 32), (32, 32))  # of the five samples, in shards of three
BASE = {"kind": "base", "fingerprint": "0", "licence": "MIT"}


def categories(task: str) -> Categories:
    return Categories(tuple(Category(name, isthing or task == "instance") for name, isthing in NAMES.items()))


def empty(task: str, size: tuple[int, int]):
    return {"semantic": SemanticMask(np.full(size, 255, np.uint8)), "panoptic": SegmentMask(np.zeros(size), ()), "instance": InstanceMask(size, ())}[task]


def write_unlabelled(folder: Path, task: str) -> Path:
    """Five pictures of three colours, as tools/synthesize.py would write them."""
    draw, samples = np.random.default_rng(0), []
    for number, size in enumerate(SIZES):
        jpeg, pixels = io.BytesIO(), np.repeat(draw.integers(0, 256, (size[0] // 8, 1, 3), dtype=np.uint8), 8, 0)
        Image.fromarray(np.broadcast_to(pixels, (*size, 3))).save(jpeg, "JPEG")
        samples.append(Sample(f"unlabelled-{number:09d}", jpeg.getvalue(), source_id=f"scene{number % 2}", strategy="unlabelled", seed=number,
                              caption=f"scene {number}", height=size[0], width=size[1], **mask_members(empty(task, size), categories(task))))
    writer = BankWriter(folder, BankInfo(task, categories(task), default_palette(3), (BASE,), {"strategy": "unlabelled", "seed": 0}))
    for shard in range(2):
        writer.write_shard(f"unlabelled-{shard:05d}", samples[3 * shard : 3 * shard + 3])
    return folder


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Path:
    """A run whose model is sure of itself, though it never learned anything."""
    torch.manual_seed(0)
    model = build_mask2former(3, **SMALL, class_names=list(NAMES), test_size=(40, 64))
    with torch.no_grad():
        model.network.class_predictor.weight.normal_(0, 6)
        model.network.class_predictor.bias[-1] = -100  # "no object" is never said
    folder = tmp_path_factory.mktemp("run")
    save_network(model, folder / "model_final")
    return folder


@pytest.fixture(scope="module", params=["semantic", "panoptic", "instance"])
def bank(request, tmp_path_factory) -> Path:
    return write_unlabelled(tmp_path_factory.mktemp(request.param) / "unlabelled", request.param)


@pytest.fixture(scope="module")
def semantic(tmp_path_factory) -> Path:
    return write_unlabelled(tmp_path_factory.mktemp("one") / "unlabelled", "semantic")


def old_key(key: str) -> str:
    return key.replace("annotator-", "unlabelled-")


def predicted(segmenter: Path, bank: Bank, key: str) -> dict:
    """What the model itself gives for an image, brought to its test size."""
    task = bank.info.task
    outputs = Outputs(**{kind: kind == task for kind in ("semantic", "panoptic", "instance")}, is_thing=tuple(c.isthing for c in bank.info.categories.items))
    model = load_mask2former(segmenter, outputs=outputs)
    image = Image.open(io.BytesIO(bank.read(key, "jpg")))
    scale = 40 / min(image.size)
    resized = np.asarray(image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR))
    with torch.no_grad():
        return model([{"image": torch.tensor(resized).permute(2, 0, 1), "height": image.height, "width": image.width}])[0]


def test_labels_are_the_segmenter_s_own_predictions(bank, segmenter, tmp_path):
    label_bank(bank, segmenter, tmp_path / "annotator", AnnotationOptions(batch=2, confidence=0.0))
    opened, source = Bank(tmp_path / "annotator"), Bank(bank)
    assert len(opened) > 1 and not opened.verify()
    for rejection in opened.rejections():  # an untrained segmenter may find no segment that is mostly its own
        assert predicted(segmenter, source, old_key(rejection.key))["panoptic_seg"][1] == [] and rejection.reason == NO_LABEL
    for record in map(opened.record, range(len(opened))):
        found, mask = predicted(segmenter, source, old_key(record["image_id"])), sample_mask(opened, record)
        if mask.task == "semantic":
            assert np.mean(mask.labels() == found["sem_seg"].argmax(0).numpy()) > 0.999  # the window's arithmetic may round otherwise
        elif opened.info.task == "panoptic":
            ids, segments = found["panoptic_seg"]
            assert np.mean(mask.ids == ids.numpy()) > 0.999
            assert {s["id"]: s["category_id"] for s in record["segments_info"]} == {s["id"]: s["category_id"] for s in segments}
        else:
            shown = [one.numpy().sum() for one in found["instances"]["masks"] if one.any()]
            assert np.allclose(sorted(decode_mask(part["rle"], "").sum() for part in record["annotations"]), sorted(shown), atol=2)


def test_all_but_the_labels_is_as_it_was(bank, segmenter, tmp_path):
    label_bank(bank, segmenter, tmp_path / "annotator", AnnotationOptions(confidence=0.0))
    opened, source = Bank(tmp_path / "annotator"), Bank(bank)
    assert opened.shards == ("annotator-00000", "annotator-00001")
    assert len(opened) + len(opened.rejections()) == 5
    for new in map(opened.record, range(len(opened))):
        old = next(record for record in map(source.record, range(5)) if record["image_id"] == old_key(new["image_id"]))
        assert new["strategy"] == "annotator"
        assert all(new[name] == old[name] for name in ("source_id", "seed", "caption", "height", "width"))
        assert opened.read(new["image_id"], "jpg") == source.read(old["image_id"], "jpg")
    *others, model = opened.info.generators
    assert others == [BASE] and model["kind"] == "segmenter" and len(model["fingerprint"]) == 32
    assert opened.info.job["seed"] == 0 and opened.info.job["strategy"] == "annotator"
    with pytest.raises(SegGenError, match="made from 1 images of the test set val"):
        check_leaks([opened], [{"image_id": opened.record(0)["source_id"]}], "val")
    SwapMapper(lambda record: record, opened, 1.0)


def test_stopped_and_begun_again_and_as_an_array_the_bytes_are_equal(semantic, segmenter, tmp_path):
    label_bank(semantic, segmenter, tmp_path / "whole")
    told = label_bank(semantic, segmenter, tmp_path / "array", array=(1, 2))
    assert "task 1 of 2" in told and not (tmp_path / "array/labels.json").exists()
    label_bank(semantic, segmenter, tmp_path / "array", array=(0, 2))
    assert contents(tmp_path / "array") == contents(tmp_path / "whole")
    tar = tmp_path / "array/shards/annotator-00001.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    label_bank(semantic, segmenter, tmp_path / "array")
    assert contents(tmp_path / "array") == contents(tmp_path / "whole")


def test_unsure_pixels_are_ignored_and_counted(semantic, segmenter, tmp_path):
    label_bank(semantic, segmenter, tmp_path / "all")
    scores = [predicted(segmenter, Bank(semantic), f"unlabelled-{n:09d}")["sem_seg"].numpy() for n in range(5)]
    shares = [score.max(0) / score.sum(0) for score in scores]
    level = float(np.quantile(shares[0], 0.5))
    label_bank(semantic, segmenter, tmp_path / "sure", AnnotationOptions(confidence=level))
    every, sure = Bank(tmp_path / "all"), Bank(tmp_path / "sure")
    ignored, numbers = [], [int(sure.key(row)[-9:]) for row in range(len(sure))]
    assert 0 in numbers
    for row, number in enumerate(numbers):
        one, other = (sample_mask(each, each.record(place)).labels() for each, place in ((every, number), (sure, row)))
        assert (other[other != 255] == one[other != 255]).all() and np.mean((other == 255) == (shares[number] < level)) > 0.99
        ignored.append((other == 255).ravel())
    assert 0.4 < ignored[numbers.index(0)].mean() < 0.6
    facts = read_json(tmp_path / "sure/labels.json")
    assert facts["ignored"] == pytest.approx(np.concatenate(ignored).mean(), abs=1e-6) and facts["samples"] == len(numbers)
    assert facts["confidence"] == level and facts["segmenter"] == str(segmenter) and read_json(tmp_path / "all/labels.json")["ignored"] == 0


def test_images_without_a_sure_object_are_rejected(segmenter, tmp_path):
    bank = write_unlabelled(tmp_path / "unlabelled", "instance")
    label_bank(bank, segmenter, tmp_path / "annotator", AnnotationOptions(confidence=1.0))
    opened = Bank(tmp_path / "annotator")
    assert len(opened) == 0 and {rejection.reason for rejection in opened.rejections()} == {NO_OBJECT}
    assert [rejection.key for rejection in opened.rejections()] == [f"annotator-{n:09d}" for n in range(5)]


def test_what_does_not_fit_is_told(semantic, segmenter, tmp_path):
    label_bank(semantic, segmenter, tmp_path / "annotator")
    before = contents(tmp_path / "annotator")
    for name, names in (("other", ["sky", "road", "bus"]), ("second", list(NAMES))):
        torch.manual_seed(1)
        save_network(build_mask2former(3, **SMALL, class_names=names), tmp_path / name / "model_final")
    for bank, model, output, options, words in (
            (semantic, tmp_path / "other", "new", {}, "'bus' against 'car'|'car' against 'bus'"),
            (semantic, tmp_path / "second", "annotator", {}, r"another generator(.|\n)*fingerprint"),
            (semantic, segmenter, "annotator", {"confidence": 0.5}, r"another job(.|\n)*confidence"),
            (tmp_path / "annotator", segmenter, "new", {}, "labelled already"),
            (tmp_path / "gone", segmenter, "new", {}, "does not exist"),
            (semantic, tmp_path / "gone", "new", {}, "no model at")):
        with pytest.raises(SegGenError, match=words):
            label_bank(bank, model, tmp_path / output, AnnotationOptions(**options))
    with pytest.raises(SegGenError, match="confidence"):
        AnnotationOptions(confidence=1.5)
    assert contents(tmp_path / "annotator") == before and not (tmp_path / "new").exists()

# ruff: noqa: E402
"""What scores are made of, against plain loops: nearest vectors, layouts, sparse sums, histograms, features, names in sentences."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.naming import Naming, read_synonyms

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")
from PIL import Image

from seggen_d2.scoring import layouts as layouts_module
from seggen_d2.scoring.alignment import sparse, total
from seggen_d2.scoring.feature_models import load_image_model, side_of
from seggen_d2.scoring.layouts import compared, mean_iou, nearest_layouts
from seggen_d2.scoring.nearest import among_themselves, evenly, nearest
from seggen_d2.scoring.photos import lists, matrix, thumbnails
from seggen_d2.scoring.samples import Real
from seggen_d2.sources import load_dataset
from seggen_d2.sources.toy_folder import write_toy_folder


def test_names_are_found_in_the_plural_by_synonyms_and_the_longest_first():
    categories = Categories.from_names(["person", "tree", "palm tree", "building, edifice", "bus", "sky-other-merged", "shelf", "lorry"])
    naming = Naming(categories, {"person": ["man", "traffic warden"]})
    assert naming.named("Two  People on shelves") == [0, 6]
    assert naming.named("a man, a Traffic Warden") == [0] and naming.named("two men") == [0]
    assert naming.named("palm trees") == [2] and naming.named("a palm tree beside a tree") == [1, 2]
    assert naming.named("edifices and buses under the sky, lorries") == [3, 4, 5, 7]
    assert naming.named("a busy personal street") == []
    with pytest.raises(SegGenError, match="synonyms are of no category(.|\\n)*did you mean 'tree'"):
        Naming(categories, {"trees": ["oak"]})


def test_synonyms_are_read_from_yaml(tmp_path):
    (tmp_path / "words.yaml").write_text("person: [man, woman]\n")
    assert read_synonyms(tmp_path / "words.yaml") == {"person": ["man", "woman"]}
    (tmp_path / "words.yaml").write_text("person: man\n")
    with pytest.raises(SegGenError, match="synonyms of 'person' are no list"):
        read_synonyms(tmp_path / "words.yaml")


def test_nearest_vectors_are_those_of_a_plain_search(monkeypatch):
    draw = np.random.default_rng(0)
    queries, base, excluded = draw.normal(size=(40, 6)), draw.normal(size=(30, 6)), draw.integers(-1, 30, 40)
    monkeypatch.setattr("seggen_d2.scoring.nearest.BLOCK", 100)
    places, far = nearest(queries, base, excluded)
    plain = np.linalg.norm(queries[:, None].astype(np.float32) - base.astype(np.float32), axis=2)
    plain[np.arange(40)[excluded >= 0], excluded[excluded >= 0]] = np.inf
    assert places.tolist() == plain.argmin(1).tolist() and np.allclose(far, plain.min(1), atol=1e-5)
    assert nearest(base, base)[1].tolist() == [0.0] * 30 and among_themselves(base, 10).min() > 0
    assert nearest(queries, base[:1], np.zeros(40, int))[0].tolist() == [-1] * 40 and np.isnan(nearest(queries, base[:0])[1]).all()
    assert evenly(10, 3).tolist() == [0, 3, 6] and evenly(2, 5).tolist() == [0, 1] and evenly(0, 5).tolist() == []


def test_layouts_are_compared_as_by_a_plain_loop(monkeypatch):
    draw = np.random.default_rng(1)
    rows, base = draw.integers(0, 4, (7, 50)), draw.integers(0, 5, (9, 50))
    plain = np.array([[_plain_iou(a, b) for b in base] for a in rows])
    assert np.allclose(mean_iou(rows, base, 5), plain, atol=1e-6)
    assert np.allclose(np.diag(mean_iou(base, base, 5)), 1)
    monkeypatch.setattr(layouts_module, "ROWS", 3)
    monkeypatch.setattr(layouts_module, "COLUMNS", 4)
    places, best = nearest_layouts(rows, base, 4, np.full(7, -1))
    assert places.tolist() == plain.argmax(1).tolist() and np.allclose(best, plain.max(1), atol=1e-6)
    others, second = nearest_layouts(rows, base, 4, places)
    plain[np.arange(7), places] = -1
    assert others.tolist() == plain.argmax(1).tolist() and np.allclose(second, plain.max(1), atol=1e-6)
    assert nearest_layouts(rows[:1], base[:1], 4, np.zeros(1, int))[0].tolist() == [-1]


def _plain_iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = [((a == c) & (b == c)).sum() / ((a == c) | (b == c)).sum() for c in {*a.tolist(), *b.tolist()}]
    return float(np.mean(shared))


def test_sparse_sums_add_up():
    sums = np.random.default_rng(2).integers(0, 2, (5, 7, 3)) * 1.5
    classes, values = sparse(sums)
    table = pa.concat_tables([pa.table({"k_classes": classes[:2], "k_sums": values[:2]}), pa.table({"k_classes": classes[2:], "k_sums": values[2:]})])
    assert np.array_equal(total(table, "k", np.zeros((7, 3))), sums.sum(0))
    assert np.array_equal(total(table.slice(0, 0), "k", np.zeros((7, 3))), np.zeros((7, 3)))


def test_vectors_come_back_from_a_table():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(matrix(pa.concat_tables([pa.table({"v": lists(rows[:1])}), pa.table({"v": lists(rows[1:])})])["v"]), rows)


def test_histograms_apart_are_as_far_as_can_be():
    same, apart = compared(np.array([2, 2]), np.array([5, 5]), "ab"), compared(np.array([4, 0]), np.array([0, 4]), "ab")
    assert same["total_variation"] == same["jensen_shannon"] == 0 and apart["total_variation"] == apart["jensen_shannon"] == 1
    assert apart["classes"]["a"] == {"bank": 100, "real": 0, "ratio": None} and compared(np.zeros(2), np.ones(2), "ab")["total_variation"] is None


def picture(path, seed, size=(40, 30)):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return {"file_name": str(path)}


def test_thumbnails_do_not_tell_brightness_and_contrast_apart(tmp_path):
    one = np.random.default_rng(0).integers(60, 100, (32, 32, 3), dtype=np.uint8)
    for name, image in (("a.png", one), ("b.png", 2 * one + 20), ("flat.png", np.full_like(one, 9))):
        Image.fromarray(image).save(tmp_path / name)
    a, b, flat = thumbnails([{"file_name": str(tmp_path / name)} for name in ("a.png", "b.png", "flat.png")])
    assert np.linalg.norm(a) == pytest.approx(1) and np.linalg.norm(a - b) < 0.3 and not flat.any()


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip"])
def test_image_models_of_transformers_give_vectors(kind, tmp_path):
    import transformers

    torch.manual_seed(0)
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 28, "patch_size": 14}
    if kind == "clip":
        text = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        model = transformers.CLIPModel(transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=8))
    elif kind == "vit":
        model = transformers.ViTModel(transformers.ViTConfig(**vision))
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**vision))
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"crop_size": {"height": 28, "width": 28}, "image_mean": [0.5, 0.5, 0.5]}')
    features = load_image_model(tmp_path)
    records = [picture(tmp_path / f"{seed}.png", seed) for seed in range(2)]
    found = features(records)
    assert features.side == 28 and found.shape == (2, 16) and np.isfinite(found).all() and not np.allclose(*found)
    assert np.allclose(features(records[:1])[0], found[0], atol=1e-5)


def test_other_models_are_refused(tmp_path):
    import transformers

    with pytest.raises(SegGenError, match="cannot be opened"):
        load_image_model(tmp_path / "absent")
    config = transformers.BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(SegGenError, match="takes no images"):
        load_image_model(tmp_path)
    assert side_of({}) == 224 and side_of({"size": {"shortest_edge": 256}, "crop_size": 224}) == 224 and side_of({"size": {"shortest_edge": 256}}) == 256


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_real_data_whose_labels_were_corrected_are_other_data(task, tmp_path):
    file = write_toy_folder(tmp_path, "train", 3, size=32, task=task)
    before = Real(load_dataset(file)).print
    assert before == Real(load_dataset(file)).print
    source = load_dataset(file)
    if task == "semantic":
        Image.new("L", (32, 32), 1).save(source.records()[0]["sem_seg_file_name"])
    else:
        values = json.loads(source.json.read_text())
        values["annotations"] = values["annotations"][:-1] + [{**values["annotations"][-1], **_other_class(values["annotations"][-1])}]
        source.json.write_text(json.dumps(values))
    assert Real(load_dataset(file)).print != before


def _other_class(annotation: dict) -> dict:
    """Of an object, or of a panoptic entry's first segment."""
    if "segments_info" not in annotation:
        return {"category_id": 5 if annotation["category_id"] != 5 else 6}
    first, *others = annotation["segments_info"]
    return {"segments_info": [{**first, "category_id": 1 if first["category_id"] != 1 else 2}, *others]}

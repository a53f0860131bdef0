"""Tables of captions, the label-list captioner, and captions of a whole dataset by one process or several."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from seggen_d2.captions import (
    CaptionRequest,
    LabelListCaptioner,
    Share,
    caption_dataset,
    list_caption,
    read_caption_facts,
    read_captions,
    read_captions_of,
    write_captions,
)
from seggen_d2.captions import dataset as dataset_module
from seggen_d2.captions.label_list import list_names
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Category, label_map_png
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Segment, SegmentMask, SemanticMask
from seggen_d2.sources import load_dataset

FACTS = {"captioner": "test", "model": "m", "licence": "l"}


@pytest.fixture()
def folder(tmp_path):
    """Five photos of 6 x 8 pixels with masks, and their dataset YAML."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(5):
        Image.fromarray(np.full((6, 8, 3), 40 * i, np.uint8)).save(tmp_path / "images" / f"{i}.jpg")
        (tmp_path / "masks" / f"{i}.png").write_bytes(label_map_png(np.full((6, 8), i % 2)))
    spec = {"name": "mine", "images": "images", "masks": "masks", "categories": ["road", {"name": "car", "isthing": True}]}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path


class Recorder:
    """Two captions an image, and a note of every batch; it stops after so many."""

    name, facts = "test", FACTS

    def __init__(self, stop_after: int = 99):
        self.batches, self.stop_after = [], stop_after

    def __call__(self, batch):
        if len(self.batches) == self.stop_after:
            raise KeyboardInterrupt
        self.batches.append([request.image_id for request in batch])
        return [(f"one {request.image_id}", f"two {request.image_id}") for request in batch]


def test_a_table_keeps_several_captions_in_order_and_what_made_them(tmp_path):
    captions = {"b": ("x", "y", "x"), "a": ("z",)}
    write_captions(tmp_path / "c.parquet", captions, FACTS)
    assert read_captions(tmp_path / "c.parquet") == captions and list(read_captions(tmp_path / "c.parquet")) == ["b", "a"]
    assert read_caption_facts(tmp_path / "c.parquet") == FACTS
    assert pq.read_schema(tmp_path / "c.parquet").names == ["image_id", "number", "caption"]


def test_a_table_without_numbers_has_one_caption_an_image(tmp_path):
    pq.write_table(pa.table({"image_id": [139, 285], "caption": ["a bear", "a room"]}), tmp_path / "c.parquet")
    assert read_captions(tmp_path / "c.parquet") == {"139": ("a bear",), "285": ("a room",)}
    assert read_caption_facts(tmp_path / "c.parquet") == {"captioner": "", "model": "", "licence": ""}


def test_two_captions_of_one_number_are_refused(tmp_path):
    pq.write_table(pa.table({"image_id": ["a", "a"], "caption": ["x", "y"]}), tmp_path / "c.parquet")
    with pytest.raises(SegGenError, match="two captions of one number"):
        read_captions(tmp_path / "c.parquet")


@pytest.mark.parametrize("captions", [{"a": ()}, {"a": ("x", " ")}, {"a": ""}, {"a": None}])
def test_an_image_without_words_is_refused(tmp_path, captions):
    with pytest.raises(SegGenError, match=r"1 are empty(.|\n)*a"):
        write_captions(tmp_path / "c.parquet", captions)
    assert not (tmp_path / "c.parquet").exists()


def test_bad_tables_are_refused(tmp_path):
    with pytest.raises(SegGenError, match="do not exist"):
        read_captions(tmp_path / "none.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(SegGenError, match="cannot be read"):
        read_captions(tmp_path / "cut.parquet")
    pq.write_table(pa.table({"id": ["a"], "caption": ["x"]}), tmp_path / "other.parquet")
    with pytest.raises(SegGenError, match="lack a column"):
        read_captions(tmp_path / "other.parquet")


def test_images_without_captions_are_named(folder):
    write_captions(folder / "c.parquet", {"0": "x", "1": "x", "2": "x", "3": "x"})
    with pytest.raises(SegGenError, match=r"lack 1 images of mine(.|\n)*4"):
        read_captions_of(load_dataset(folder / "dataset.yaml"), folder / "c.parquet", "mine")


def test_only_images_without_captions_are_captioned(folder):
    write_captions(folder / "c.parquet", {"0": "done before", "3": ("x", "y")}, FACTS)
    captioner = Recorder()
    captions = caption_dataset(load_dataset(folder / "dataset.yaml"), captioner, folder / "c.parquet", batch=2)
    assert captioner.batches == [["1", "2"], ["4"]] and list(captions) == ["0", "1", "2", "3", "4"]
    assert captions["0"] == ("done before",) and captions["3"] == ("x", "y") and captions["4"] == ("one 4", "two 4")
    assert captions == read_captions(folder / "c.parquet") and read_caption_facts(folder / "c.parquet") == FACTS


def test_a_stopped_run_goes_on_with_the_same_batches(folder, monkeypatch):
    monkeypatch.setattr(dataset_module, "CHUNK", 2)
    source, whole = load_dataset(folder / "dataset.yaml"), Recorder()
    with pytest.raises(KeyboardInterrupt):
        caption_dataset(source, Recorder(stop_after=2), folder / "c.parquet", batch=2)
    rest = Recorder()
    captions = caption_dataset(source, rest, folder / "c.parquet", batch=2)
    assert captions == caption_dataset(source, whole, folder / "other.parquet", batch=2)
    assert rest.batches == whole.batches[2:] and not (folder / "c.parquet.parts").exists()
    assert (folder / "c.parquet").read_bytes() == (folder / "other.parquet").read_bytes()


def test_chunks_of_a_dataset_that_changed_are_made_again(folder, monkeypatch, caplog):
    monkeypatch.setattr(dataset_module, "CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        caption_dataset(load_dataset(folder / "dataset.yaml"), Recorder(stop_after=2), folder / "c.parquet", batch=2)
    (folder / "images" / "1.jpg").unlink()
    assert list(caption_dataset(load_dataset(folder / "dataset.yaml"), Recorder(), folder / "c.parquet", batch=2)) == ["0", "2", "3", "4"]
    assert "made again" in caplog.text


def test_a_damaged_chunk_is_made_again(folder, monkeypatch, caplog):
    monkeypatch.setattr(dataset_module, "CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        caption_dataset(load_dataset(folder / "dataset.yaml"), Recorder(stop_after=2), folder / "c.parquet", batch=2)
    (folder / "c.parquet.parts" / "chunk-000000.parquet").write_bytes(b"PAR1 cut")
    rest = Recorder()
    assert len(caption_dataset(load_dataset(folder / "dataset.yaml"), rest, folder / "c.parquet", batch=2)) == 5
    assert rest.batches == [["0", "1"], ["4"]] and "chunk-000000.parquet cannot be read; they are made again" in caplog.text


def test_processes_share_the_chunks_and_make_one_table(folder, monkeypatch):
    monkeypatch.setattr(dataset_module, "CHUNK", 2)
    source, meeting, captioners, tables = load_dataset(folder / "dataset.yaml"), threading.Barrier(2), [Recorder(), Recorder()], [None, None]

    def work(index):
        share = Share(index, 2, meeting.wait)
        tables[index] = caption_dataset(source, captioners[index], folder / "c.parquet", batch=2, share=share)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert [captioner.batches for captioner in captioners] == [[["0", "1"], ["4"]], [["2", "3"]]]
    assert tables[0] == tables[1] == caption_dataset(source, Recorder(), folder / "alone.parquet", batch=2)


def test_another_captioner_does_not_go_on(folder):
    write_captions(folder / "c.parquet", {"0": "x"}, {**FACTS, "model": "another"})
    with pytest.raises(SegGenError, match="another captioner"):
        caption_dataset(load_dataset(folder / "dataset.yaml"), Recorder(), folder / "c.parquet")


def test_the_caption_names_what_is_there():
    categories = Categories((Category("road"), Category("car", True), Category("sky")))
    labels = np.zeros((10, 20), dtype=np.uint8)
    labels[:4] = 2
    labels[6:8, 2:5] = labels[6:8, 10:14] = 1
    request = CaptionRequest(np.zeros((10, 20, 3), np.uint8), SemanticMask(labels), {"scene": "at dusk", "categories": {"sky": "orange"}})
    assert LabelListCaptioner(categories, scene="a street")([request]) == [("a street at dusk with a road, an orange sky and two cars",)]


@pytest.mark.parametrize(("crowd", "words"), [(False, "a scene with two cars and a sky"), (True, "a scene with many cars and a sky")])
def test_segments_and_objects_count_though_they_touch(crowd, words):
    categories = Categories((Category("car", True), Category("sky")))
    ids = np.ones((10, 20), np.int32)
    ids[2:, :8], ids[2:, 8:] = 2, 3
    panoptic = SegmentMask(ids, (Segment(1, 1), Segment(2, 0, crowd), Segment(3, 0)))
    objects = tuple(InstanceObject(ids == n, category, n == 2 and crowd) for n, category in ((1, 1), (2, 0), (3, 0)))
    for mask in (panoptic, InstanceMask((10, 20), objects)):
        assert LabelListCaptioner(categories)([CaptionRequest(np.zeros((10, 20, 3), np.uint8), mask)]) == [(words,)]


def test_drawn_orders_name_the_same_and_belong_to_the_image():
    categories = Categories.from_names([f"c{i}" for i in range(8)])
    requests = [CaptionRequest(np.zeros((8, 8, 3), np.uint8), SemanticMask(np.arange(64, dtype=np.uint8).reshape(8, 8) % 8), image_id=name) for name in "ab"]
    first, second = LabelListCaptioner(categories, orders=4)(requests)
    assert first[0] == LabelListCaptioner(categories)(requests)[0][0] and len({*first}) == len({*second}) == 4 and first[0] == second[0]
    assert first[1:] != second[1:] and LabelListCaptioner(categories, orders=4)(requests[1:]) == [second]
    assert all(sorted(text.replace(" and ", ", ").replace("with ", ", ").split(", ")) == sorted(["a scene ", *(f"a c{i}" for i in range(8))]) for text in first)


def test_a_list_of_nothing_is_still_a_caption():
    assert list_caption("a scene", {}, {}) == "a scene"


def test_names_of_coco_are_said_as_people_say_them():
    assert list_names({"tree-merged": 1, "sky-other-merged": 1, "door-stuff": 2, "wall-brick": 1}, {}) == "a tree, a sky, two doors and a wall-brick"

"""The page of a bank: what it holds, and what it does in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path

import chromium as browsers
import coco_samples as coco
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from bank_samples import CATEGORIES, info, labels, sample, write_bank
from PIL import Image

from seggen_d2.bank import Bank, BankWriter, Rejection, import_bank
from seggen_d2.bank.inspect import InspectOptions, inspect_bank
from seggen_d2.bank.inspect.document import content_policy, embedded
from seggen_d2.bank.inspect.pictures import id_picture
from seggen_d2.bank.inspect.real import real_frequencies
from seggen_d2.bank.inspect.survey import survey_bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Category, histogram, label_map_png
from seggen_d2.segmentation.masks import Segment, SegmentMask, SemanticMask
from seggen_d2.sources import load_dataset


def read_page(path: Path) -> dict:
    """The data that a page holds."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL).group(1))


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def plain(number: int, key: str, strategy: str, ids) -> object:
    """A sample of one mask."""
    ids = np.broadcast_to(ids, (16, 16))
    return sample(number, key=key, strategy=strategy, mask=label_map_png(ids), histogram=histogram(ids, CATEGORIES))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A semantic bank of two strategies with scores and rejections, its dataset, and the page of both."""
    root = tmp_path_factory.mktemp("inspect")
    rejections = [Rejection("masksyn-7", "scene 9", "21% of its pixels are unsure, over 20%"), Rejection("masksyn-8", "scene 9", "<b>odd</b>")]
    writer = BankWriter(root / "bank", info())
    made = [sample(n) for n in range(4)]
    writer.write_shard("imgsyn-00000", made)
    writer.write_shard("masksyn-00000", [plain(4, "masksyn-000000000", "masksyn", 1), plain(5, "masksyn-000000001", "masksyn", 0)], rejections)
    (root / "bank" / "scores" / "alignment").mkdir(parents=True)
    keys = [*(s.key for s in made), "masksyn-000000000", "masksyn-000000001"]
    pq.write_table(pa.table({"key": keys, "miou": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "word": ["x"] * 6}), root / "bank" / "scores" / "alignment" / "0.parquet")
    for name in ("images", "masks"):
        (root / name).mkdir()
    for n in range(2):
        Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(root / "images" / f"scene {n}.jpg")
        (root / "masks" / f"scene {n}.png").write_bytes(label_map_png(np.full((16, 16), n)))
    spec = {"name": "scenes", "images": "images", "masks": "masks", "categories": CATEGORIES.to_json()["items"]}
    (root / "dataset.yaml").write_text(yaml.safe_dump(spec))
    inspect_bank(Bank(root / "bank"), root / "bank.html", dataset=root / "dataset.yaml")
    return root


def test_the_page_tells_the_bank(world):
    text, data = (world / "bank.html").read_text(), read_page(world / "bank.html")
    assert [s["key"] for s in data["samples"]][:4] == [sample(n).key for n in range(4)] and data["names"] == ["sky", "road", "car"]
    assert set(data["reals"]) == {"scene 0", "scene 1"} and data["scores"] == ["labelled", "classes", "alignment: miou"]
    assert data["samples"][1]["scores"] == {"labelled": 0.75, "classes": 3, "alignment: miou": 0.2}
    assert "mask2img (Apache-2.0)" in text and "…% of its pixels" not in text and "… of its pixels are unsure, over …" in text
    assert "&lt;b&gt;odd&lt;/b&gt;" in text and "<b>odd" not in text and "this page shows" not in text


def test_id_pictures_tell_every_pixel():
    ids = np.where(labels(0) == 255, 255, labels(0))
    coded = id_picture(SemanticMask(ids), 3).astype(int)
    assert np.array_equal(np.where(coded[..., 0] == 0, 255, coded[..., 0] - 1), ids) and not coded[..., 1:].any()
    many = id_picture(SemanticMask(np.array([[299, 300]], np.uint16), 65535), 301).astype(int)
    assert (many[..., 0] + 256 * many[..., 1] - 1).tolist() == [[299, 300]]
    parts = id_picture(SegmentMask(np.array([[7, 9, 0]]), (Segment(7, 1), Segment(9, 1))), 3)
    assert parts[..., 2].tolist() == [[1, 2, 0]] and parts[..., 0].tolist() == [[2, 2, 0]]


def test_a_page_holds_its_masks_exactly(world):
    made = read_page(world / "bank.html")["samples"][2]
    assert np.array_equal(pixels(made["ids"]), id_picture(SemanticMask(labels(2)), 3)) and made["classes"] == [0, 1, 2]


def test_class_frequencies_are_those_of_all_samples_and_real_masks(world):
    rows = re.findall(r'data-class="(\w+)">.*?</tr>', (world / "bank.html").read_text(), re.DOTALL)
    assert rows[:2] == ["sky", "road"]
    found = survey_bank(Bank(world / "bank"), 10)
    made = [*(sample(n) for n in range(4)), plain(4, "a", "b", 1), plain(5, "a", "b", 0)]
    assert found.frequencies.pixels.tolist() == sum(np.asarray(each.histogram) for each in made).tolist()
    assert found.frequencies.count == 6 and found.strategies == {"imgsyn": 4, "masksyn": 2} and found.reasons.total() == 2
    road = re.search(r'data-class="road">.*?</tr>', (world / "bank.html").read_text(), re.DOTALL).group()
    assert "50.00 %" in road and "× " in road
    assert "never" not in road and "only synthetic" in re.search(r'data-class="car">.*?</tr>', (world / "bank.html").read_text(), re.DOTALL).group()


def test_a_large_bank_is_drawn_from_with_every_class_and_strategy(tmp_path):
    writer = BankWriter(tmp_path / "bank", info())
    for shard in range(4):
        common = [plain(n, f"imgsyn-{shard * 50 + n}", "imgsyn", 0) for n in range(50)]
        rare = plain(0, "rare", "imgsyn", np.where(np.arange(16) < 2, 2, 0))
        writer.write_shard(f"imgsyn-{shard:05d}", common if shard != 2 else [*common[:-1], rare])
    writer.write_shard("masksyn-00000", [plain(0, f"masksyn-{n}", "masksyn", 1) for n in range(4)])
    bank = Bank(tmp_path / "bank")
    inspect_bank(bank, tmp_path / "page.html", InspectOptions(samples=12))
    shown = [s["key"] for s in read_page(tmp_path / "page.html")["samples"]]
    assert len(shown) == 12 and "rare" in shown and any(key.startswith("masksyn") for key in shown)
    assert "The bank holds 204 samples; this page shows 12 of them" in (tmp_path / "page.html").read_text()
    assert survey_bank(bank, 12).chosen == survey_bank(bank, 12).chosen != survey_bank(bank, 12, seed=1).chosen


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_segments_and_objects_are_told_apart(tmp_path, task):
    file = coco.write_coco(tmp_path / "coco")[task]
    import_bank(load_dataset(file), tmp_path / "bank")
    bank = Bank(tmp_path / "bank")
    data = read_page(inspect_bank(bank, tmp_path / "page.html", dataset=file))
    assert data["parts"] and set(data["reals"]) == {s["source"] for s in data["samples"]}
    real, made = real_frequencies(load_dataset(file), 10), survey_bank(bank, 10).frequencies
    assert real.pixels.tolist() == made.pixels.tolist() and real.images.tolist() == made.images.tolist() and real.pixels.any()
    for number, shown in enumerate(data["samples"]):
        parts = bank.record(number)["segments_info" if task == "panoptic" else "annotations"]
        found = pixels(shown["ids"])
        assert 1 < len(np.unique(found[..., 2][found[..., 0] > 0])) <= len(parts)
        assert np.array_equal(found[..., 0], pixels(data["reals"][shown["source"]]["ids"])[..., 0])


def test_a_bank_whose_samples_were_all_rejected_shows_why(tmp_path):
    BankWriter(tmp_path / "bank", info()).write_shard("imgsyn-00000", [], [Rejection("imgsyn-1", "scene 1", "one class alone")])
    text = inspect_bank(Bank(tmp_path / "bank"), tmp_path / "page.html").read_text()
    assert "one class alone" in text and "imgsyn-1" in text and "<b>0</b><span>samples</span>" in text
    assert read_page(tmp_path / "page.html")["samples"] == []


def test_semantic_labels_need_not_agree_on_what_is_a_thing(world, tmp_path):
    spec = yaml.safe_load((world / "dataset.yaml").read_text())
    (world / "stuff.yaml").write_text(yaml.safe_dump({**spec, "categories": ["sky", "road", "car"]}))
    assert read_page(inspect_bank(Bank(world / "bank"), tmp_path / "page.html", dataset=world / "stuff.yaml"))["reals"]


def test_what_does_not_fit_is_refused(world, tmp_path):
    BankWriter(tmp_path / "empty", info()).write_shard("imgsyn-00000", [])
    with pytest.raises(SegGenError, match="holds no sample"):
        inspect_bank(Bank(tmp_path / "empty"), tmp_path / "page.html")
    spec = yaml.safe_load((world / "dataset.yaml").read_text())
    (world / "other.yaml").write_text(yaml.safe_dump({**spec, "categories": ["a", "b", "c"]}))
    with pytest.raises(SegGenError, match="other.yaml"):
        inspect_bank(Bank(world / "bank"), tmp_path / "page.html", dataset=world / "other.yaml")
    with pytest.raises(SegGenError, match="samples is out of range"):
        InspectOptions(samples=0)


def test_a_sidecar_that_lacks_samples_is_told(tmp_path):
    write_bank(tmp_path / "bank")
    (tmp_path / "bank" / "scores" / "half").mkdir(parents=True)
    pq.write_table(pa.table({"key": [sample(0).key], "value": [1.0]}), tmp_path / "bank" / "scores" / "half" / "0.parquet")
    page = inspect_bank(Bank(tmp_path / "bank"), tmp_path / "page.html")
    assert "lacks 5 of 6 samples" in page.read_text() and read_page(page)["scores"] == ["labelled", "classes"]


def test_texts_cannot_break_out_of_the_page():
    assert "</script>" not in embedded({"a": "</script><script>alert(1)"}) and json.loads(embedded({"a": "<"})) == {"a": "<"}
    assert content_policy("x").startswith("default-src 'none'; img-src data:;") and "unsafe-eval" not in content_policy("x")


def test_the_tool_writes_the_page(world, tmp_path, monkeypatch, capsys):
    import runpy

    monkeypatch.setattr(sys, "argv", ["inspect_bank.py", str(world / "bank"), "--output", str(tmp_path / "p.html"), "--samples", "3"])
    runpy.run_path(str(Path(__file__).parents[1] / "tools" / "inspect_bank.py"), run_name="__main__")
    assert "open it in a browser" in capsys.readouterr().out and len(read_page(tmp_path / "p.html")["samples"]) == 3


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not browsers.PROGRAM:
        pytest.skip("no chromium is installed")
    pytest.importorskip("aiohttp")
    with browsers.chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


KEYS = "[...document.querySelectorAll('#cards .card')].map((card) => card.dataset.key)"


def test_a_browser_draws_samples_beside_their_real_images(world, browser):
    browser.open(world / "bank.html")
    assert len(browser.run(KEYS)) == 6 and browser.run("document.getElementById('count').textContent") == "6 of 6 samples"
    assert browser.run("document.querySelectorAll('#cards .real').length") == 4  # scene 2 is not in the dataset
    middle = "[...document.querySelector('.synthetic canvas:last-child').getContext('2d').getImageData(136, {y}, 1, 1).data].slice(0, 3)"
    assert [browser.run(middle.format(y=y)) for y in (24, 88, 152)] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]  # sky, road, car


def test_texts_of_strangers_run_nothing_and_real_images_are_looked_up_by_name(tmp_path, browser):
    odd = "</script><img src=x onerror=\"document.title='run'\">"
    wide = Categories((Category(odd), Category("a & b"), Category("car", isthing=True)))
    made = [sample(n, caption=odd, source_id="constructor") for n in range(2)]
    BankWriter(tmp_path / "bank", info(categories=wide)).write_shard("imgsyn-00000", made, [Rejection("k", odd, odd)])
    inspect_bank(Bank(tmp_path / "bank"), tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.run("document.title").startswith("Bank bank") and browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.querySelector('.caption').textContent") == odd
    assert browser.run("document.querySelectorAll('.row.real').length") == 0
    browser.run("[...document.querySelectorAll('button[data-class]')].find((each) => each.textContent.startsWith('</script>')).click()")
    assert browser.run("document.getElementById('class').value") == odd and browser.run("document.querySelectorAll('.card').length") == 2


def test_a_browser_names_the_class_under_the_pointer(world, browser):
    browser.open(world / "bank.html")
    point = ("(() => {{ const canvas = document.querySelector('.synthetic canvas'), box = canvas.getBoundingClientRect();"
             "canvas.dispatchEvent(new MouseEvent('mousemove', {{clientX: box.left + box.width / 2, clientY: box.top + box.height * {share}}}));"
             "return document.getElementById('tip').textContent; }})()")
    assert [browser.run(point.format(share=share)) for share in (0.1, 0.4, 0.6, 0.9)] == ["sky", "road", "car", "not labelled"]


@pytest.mark.parametrize(("filters", "wanted"), [
    ("#class=car", [0, 1, 2, 3]),
    ("#strategy=masksyn", [4, 5]),
    ("#class=road&strategy=masksyn", [4]),
    ("#score=alignment%3A+miou&min=0.25&max=0.5", [2, 3, 4]),
    ("#score=alignment%3A+miou&order=down", [5, 4, 3, 2, 1, 0]),
    ("#words=with+3+CARS", [3]),
])
def test_a_browser_filters(world, browser, filters, wanted):
    browser.open(world / "bank.html", filters)
    keys = [*(sample(n).key for n in range(4)), "masksyn-000000000", "masksyn-000000001"]
    assert browser.run(KEYS) == [keys[n] for n in wanted]


def test_a_browser_filters_by_hand_and_notes_it_in_the_address(world, browser):
    browser.open(world / "bank.html")
    browser.run("document.querySelector('button[data-class=road]').click()")
    assert len(browser.run(KEYS)) == 5 and browser.run("location.hash") == "#class=road"
    browser.run("document.getElementById('real').click()")
    assert browser.run("document.querySelectorAll('#cards .real').length") == 0
    browser.run("document.getElementById('clear').click()")
    assert len(browser.run(KEYS)) == 6


def test_a_browser_loads_nothing(world, browser):
    browser.open(world / "bank.html")
    assert browser.requests and all(url.startswith((f"file://{world}/bank.html", "data:", "about:")) for url in browser.requests), browser.requests
    refused = ("new Promise((done) => { document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));"
               "new Image().src = 'http://127.0.0.1:9/picture.png'; })")
    assert browser.run(refused) == "img-src"
    assert not re.search(r'(?:src|href)="(?!data:|#)', (world / "bank.html").read_text())

"""The report: one self-contained page and its figures, from runs, a dataset and banks."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_world import copied_bank, write_dataset

from seggen_d2.bank import BankInfo, BankWriter, Rejection, Sample
from seggen_d2.evaluation import charts, pictures, summarise, wording
from seggen_d2.evaluation.predictions import evaluate_predictions
from seggen_d2.evaluation.report import make_report
from seggen_d2.evaluation.results import read_runs
from seggen_d2.evaluation.saving import LabelSaver
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.markup import Markup, join, table, tag
from seggen_d2.segmentation import Categories, ColorCodec, default_palette, histogram, label_map_png
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask
from seggen_d2.sources.toy import CATEGORIES, toy_scene
from seggen_d2.sources.toy_folder import write_toy_folder

NAMES = CATEGORIES.names
STUFF = Categories.from_names(NAMES)
PALETTE = default_palette(len(NAMES))
CAPTION = "a scene with a <script>alert(1)</script> & a tree"


def write_bank(root, strategy, sources, replicas=4):
    """Toy scenes as variants of ``sources``; no source, no sample but a rejection."""
    info = BankInfo("semantic", STUFF, default_palette(len(NAMES)), ({"kind": "mask2img"},), {"strategy": strategy})
    made = []
    for place in range(len(sources) * replicas):
        scene, jpeg = toy_scene(100 + place, size=32), io.BytesIO()
        Image.fromarray(scene.image).save(jpeg, "JPEG")
        key, mask, counts = f"{strategy}-{place:09d}", label_map_png(scene.labels), histogram(scene.labels, STUFF)
        source = sources[place // replicas]
        made.append(Sample(key, jpeg.getvalue(), mask, source, strategy, place, CAPTION, 32, 32, counts))
    rejected = [] if made else [Rejection(f"{strategy}-000000000", "scene0", "unsure colours")]
    BankWriter(root, info).write_shard(f"{strategy}-00000", made, rejected)
    return root


@pytest.fixture
def world(tmp_path):
    write_dataset(tmp_path / "train", "toy_train", range(6), STUFF)
    banks = [write_bank(tmp_path / "banks" / name, name, ["scene0", "scene2"]) for name in ("masksyn", "imgsyn")]
    for setting, values in {
        "real": (40.0, 41.0, 42.0),
        "real+seggen": (44.0, 45.0, 46.5),
        "synthetic": (30.0,),
    }.items():
        for seed, miou in enumerate(values):
            folder = tmp_path / "runs" / f"{setting}-seed{seed}"
            folder.mkdir(parents=True)
            metrics = {
                "metric": "mIoU",
                "value": miou,
                "per_class": {name: miou for name in NAMES[:-1]} | {NAMES[-1]: None},
                "seconds": 9.0,
            }
            (folder / "metrics_final.json").write_text(json.dumps(metrics))
    stages = {"stages": [{"name": "data", "seconds": 3.2, "peak_rss_mb": 120}], "wall_seconds": 700, "peak_rss_mb": 900}
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    return {
        "runs": [tmp_path / "runs"],
        "dataset": tmp_path / "train" / "dataset.yaml",
        "banks": banks,
        "output": tmp_path / "out",
        "stages": tmp_path / "stages.json",
        "title": "Toys & <more>",
    }


class Balanced(HTMLParser):
    """Every element that is opened is closed, in order; collects what is loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.loaded += [value for key, value in attributes if key in ("src", "href")]
        if name not in ("meta", "link", "img", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name


def test_the_page_is_whole_and_needs_no_network(world):
    text = make_report(**world).read_text()
    loaded = Balanced(text).loaded
    assert len(loaded) > 20 and all(value.startswith("data:") for value in loaded)
    assert not re.search(r"url\(|@import|<script", text) and "$" not in re.sub(
        r"<style>.*?</style>", "", text, flags=re.S
    )
    assert "Toys &amp; &lt;more&gt;" in text and "&lt;script&gt;alert" in text
    for words in ("real+seggen", "synthetic", "one seed", ">better<", "11 min 40 s", *NAMES):
        assert words in text


def test_with_the_predictions_of_test_images_intervals_are_over_them(world, tmp_path):
    test = write_toy_folder(tmp_path / "test", "test", 4, size=32)
    source = load_dataset(test)
    for setting, shifts in {"real": (4, 5, 6), "real+seggen": (2, 3, 4), "synthetic": (8,)}.items():
        for seed, shift in enumerate(shifts):
            run = tmp_path / "runs" / f"{setting}-seed{seed}"
            saver = LabelSaver(run / "predictions" / source.name, source)
            for number, record in enumerate(source.records()):
                saver.add(record, np.minimum(np.roll(read_mask(record, source).labels(), shift + number % 2, 1), len(NAMES) - 1))
            saver.close()
            if setting == "real" and seed == 0:
                with pytest.raises(SegGenError, match="real-seed0 are not those that its figure is of"):
                    make_report(**world, test=test)
            miou = evaluate_predictions(run / "predictions" / source.name, test).scores.figures["mIoU"]
            (run / "metrics_final.json").write_text(json.dumps({"metric": "mIoU", "value": miou, "per_class": {}}))
    page = make_report(**world, test=test, notes=["Chosen elsewhere."])
    told = {one["setting"]: one for one in json.loads((page.parent / "results.json").read_text())["summaries"]}
    assert told["real"]["interval"] is None and told["real+seggen"]["interval"]["replicates"] == 1000
    assert all(told[name]["interval"]["low"] <= told[name]["difference"] <= told[name]["interval"]["high"] for name in ("real+seggen", "synthetic"))
    assert told["synthetic"]["difference"] < 0 < told["real+seggen"]["difference"] and told["synthetic"]["verdict"] == "one seed"
    text = page.read_text()
    assert Balanced(text) and "paired bootstrap: 4 test images" in text and "Chosen elsewhere." in text


def test_results_hold_every_run_and_the_stages(world):
    results = json.loads((make_report(**world).parent / "results.json").read_text())
    assert [(run["setting"], run["seed"]) for run in results["runs"]] == [
        *(("real", seed) for seed in range(3)),
        *(("real+seggen", seed) for seed in range(3)),
        ("synthetic", 0),
    ]
    assert {"setting", "seed", "folder", "metric", "value", "per_class"} <= set(results["runs"][0])
    assert results["stages"] == [{"name": "data", "seconds": 3.2, "peak_rss_mb": 120}]
    assert [bank["samples"] for bank in results["banks"]] == [8, 8] and results["dataset"]["images"] == 6


def test_the_page_is_a_function_of_its_input(world, tmp_path):
    first = make_report(**world).read_bytes()
    assert make_report(**{**world, "output": tmp_path / "again"}).read_bytes() == first


def test_a_bank_whose_masks_were_all_rejected_is_said(world, tmp_path):
    world["banks"][0] = write_bank(tmp_path / "none", "masksyn", [])
    text = make_report(**world).read_text()
    assert "No sample of this kind" in text and "1 rejected" in text


def test_without_banks_and_stages(world):
    text = make_report(**{**world, "banks": [], "stages": None}).read_text()
    assert "No sample of this kind" in text and "Not recorded" in text


def test_another_label_space_is_refused(world, tmp_path):
    other = write_dataset(tmp_path / "other", "other", range(2), Categories.from_names([*NAMES[:-1], "kite"]))
    with pytest.raises(SegGenError, match="'kite'.* against 'balloon'"):
        make_report(**{**world, "dataset": other})


def test_stages_that_lack_a_key(world, tmp_path):
    (tmp_path / "bad.json").write_text(json.dumps([{"name": "data"}]))
    with pytest.raises(SegGenError, match="stage 0 lacks seconds, peak_rss_mb"):
        make_report(**{**world, "stages": tmp_path / "bad.json"})


def test_the_tool(world):
    tool = Path(__file__).parents[1] / "tools" / "make_report.py"
    words = ["--runs", *world["runs"], "--dataset", world["dataset"], "--output", world["output"], "--title", "T"]
    words += [word for bank in world["banks"] for word in ("--bank", bank)]
    done = subprocess.run([sys.executable, tool, *words], capture_output=True, text=True)
    assert done.returncode == 0 and (world["output"] / "report.html").is_file(), done.stderr
    done = subprocess.run([sys.executable, tool, *words, "--stages", "none.json"], capture_output=True, text=True)
    assert done.returncode == 2 and "none.json" in done.stderr and "Traceback" not in done.stderr


def pixels(tile):
    data = re.search(r"base64,([^\"]+)", tile)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_colour_maps_on_the_page_decode_to_their_labels():
    for task in ("semantic", "panoptic"):
        mask, codec = toy_scene(3, size=48).mask(task), mask_codec(task, PALETTE, CATEGORIES)
        tile = pictures.color_map(mask, codec, "colour map")
        assert np.array_equal(pixels(tile), codec.encode(mask)) and 'class="pixelated"' in tile


@pytest.mark.parametrize("task, metric, words", [("panoptic", "PQ", "Panoptic quality (PQ) on held-out"), ("instance", "AP", "Mask AP on held-out")])
def test_a_page_of_each_task(tmp_path, task, metric, words):
    dataset = write_toy_folder(tmp_path / "train", "train", 3, size=32, task=task)
    (tmp_path / "runs/real-seed0").mkdir(parents=True)
    (tmp_path / "runs/real-seed0/metrics_final.json").write_text(json.dumps({"metric": metric, "value": 40.0, "per_class": {"car": 40.0}}))
    banks = [copied_bank(dataset, tmp_path / name, name) for name in ("masksyn", "imgsyn")]
    text = make_report([tmp_path / "runs"], dataset, banks, tmp_path / "out").read_text()
    assert words in text and f"{metric} of each seed" in text and text.count("<article") >= 4


def test_runs_of_two_tasks_are_not_compared(tmp_path):
    for name, metric in (("real-seed0", "PQ"), ("synthetic-seed0", "mIoU")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics_final.json").write_text(json.dumps({"metric": metric, "value": 4.0, "per_class": {}}))
    with pytest.raises(SegGenError, match=r"different tasks(.|\n)*PQ, mIoU"):
        read_runs([tmp_path])


def test_large_pictures_shrink():
    tile = pictures.photo(np.zeros((900, 1200, 3), np.uint8), "image")
    assert pixels(tile).shape == (240, 320, 3) and "pixelated" not in tile


def test_names_lie_on_their_segments():
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 20:] = 1
    labels[0, 0] = 2  # too small for a name
    tile = pictures.named_mask(labels, ColorCodec(PALETTE, 255), NAMES, "mask")
    places = {name: int(x) for x, name in re.findall(r"left:(\d+)%[^>]*>(\w+)</span>", tile)}
    assert places.keys() == {"sky", "grass"} and places["sky"] < 50 < places["grass"]


def test_markup_escapes_text_and_nothing_twice():
    assert tag("b", "<&", title='"') == '<b title="&quot;">&lt;&amp;</b>'
    assert join("<", Markup("<i>"), ["&"]) == "&lt;<i>&amp;"
    assert '<th scope="row">a&lt;</th><td>b</td>' in table(["x", "y"], [["a<", "b"]])


def runs(**settings):
    return [
        {"setting": name, "seed": seed, "metric": "mIoU", "value": miou, "per_class": {}}
        for name, v in settings.items()
        for seed, miou in enumerate(v)
    ]


@pytest.mark.parametrize(
    "values, words",
    [
        ((50.0, 51.0), "points [+10.0, +10.0] above real data alone: better"),
        ((10.0, 11.0), "did harm"),
        ((40.5, 41.0), "do not tell the two apart"),
        ((60.0,), "too few to tell"),
    ],
)
def test_the_page_claims_no_more_than_its_figures(values, words):
    told = wording.meaning(summarise(runs(real=(40.0, 41.0), other=values)))
    assert len(told) == 1 and words in told[0]


def test_many_categories_are_folded():
    named = [{"setting": "real", "seed": 0, "metric": "mIoU", "value": 1.0, "per_class": {f"c{i}": 1.0 for i in range(150)}}]
    assert "<details><summary>150 categories</summary>" in charts.per_class_table(summarise(named))


@pytest.mark.parametrize("seconds, words", [(0.42, "0.4 s"), (42, "42 s"), (125, "2 min 05 s"), (3720, "1 h 02 min")])
def test_durations(seconds, words):
    assert charts.duration(seconds) == words

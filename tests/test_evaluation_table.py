"""Tables: figures of drawn images, intervals, plans and what is wrong with them, and the three files from saved predictions."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hard_cases import CATEGORIES, label_pairs, scored_objects, segment_pairs
from test_evaluation_report import Balanced

from seggen_d2.evaluation.comparison import draw_images, interval, make_table, read_plan
from seggen_d2.evaluation.instances import Detection, MaskAP, TruthObject, encode_object
from seggen_d2.evaluation.kept import ImageSums
from seggen_d2.evaluation.panoptic import panoptic_measured, panoptic_scores
from seggen_d2.evaluation.predictions import evaluate_predictions
from seggen_d2.evaluation.saving import SAVERS
from seggen_d2.evaluation.semantic import SemanticScorer
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import SegmentMask
from seggen_d2.segmentation.panoptic_quality import PanopticQuality
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask
from seggen_d2.sources.toy_folder import write_toy_folder

STUFF = Categories.from_names(CATEGORIES.names)
CLASSES = ["t0", "t1"]
RNG = np.random.default_rng(0)


def semantic(images):
    """Scorers of some images, one each."""
    found, pairs = [], label_pairs(11, 12)
    for place in images:
        found.append(SemanticScorer(STUFF))
        found[-1].update(*pairs[place])
    return found, lambda: ImageSums(STUFF, SemanticScorer(STUFF).measured), lambda total: total.scores(CLASSES)


def panoptic(images):
    found, pairs = [], segment_pairs(11, 12)
    for place in images:
        found.append(PanopticQuality(CATEGORIES))
        found[-1].update(*pairs[place])
    return found, lambda: ImageSums(CATEGORIES, partial(panoptic_measured, CATEGORIES)), lambda total: panoptic_scores(total, CLASSES)


def instance(images):
    """Scores are all different, as of equal ones the order of images decides."""
    pytest.importorskip("pycocotools")
    found, objects = [], scored_objects(11, 12)
    for number, place in enumerate(images):
        _, ours, theirs = objects[place]
        scores = np.random.default_rng(place).random(len(ours))
        found.append(MaskAP(CATEGORIES))
        found[-1].update(number, [Detection(o["category_id"], float(score), encode_object(o["mask"])) for o, score in zip(ours, scores, strict=True)],
                         [TruthObject(o["category_id"], encode_object(o["mask"]), None, bool(o["iscrowd"])) for o in theirs])
    return found, lambda: MaskAP(CATEGORIES), lambda total: total.scores(CLASSES)


def whole(found, scores):
    total = found[0]
    for one in found[1:]:
        total = total + one
    return scores(total)


KINDS = pytest.mark.parametrize("kind", [semantic, panoptic, instance])


@KINDS
def test_one_draw_of_each_image_has_exactly_the_figures_of_the_scorer(kind):
    found, empty, scores = kind(range(12))
    kept, expected = empty(), whole(found, scores)
    for one in found:
        kept += one
    assert len(expected.figures) >= 5 and sum(not np.isnan(value) for value in expected.figures.values()) >= 4
    assert np.array_equal([*kept.scores(CLASSES).figures.values()], [*expected.figures.values()], equal_nan=True)
    many = np.concatenate([RNG.integers(0, 3, (40, 12)), np.ones((1, 12), int), RNG.integers(0, 3, (40, 12))])
    for name, value in expected.figures.items():
        for draws in (np.ones((1, 12), int), many):  # alone, and among others
            assert np.array_equal(kept.figure(name, draws, CLASSES)[len(draws) // 2], value, equal_nan=True), name


@KINDS
def test_a_draw_has_the_figures_of_the_images_that_it_drew(kind):
    found, empty, _ = kind(range(12))
    kept = empty()
    for one in found:
        kept += one
    for draw in draw_images(12, 5, seed=3):
        drawn, _, scores = kind(np.repeat(np.arange(12), draw))
        for name, value in whole(drawn, scores).figures.items():
            assert kept.figure(name, draw[None], CLASSES)[0] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_sums_of_panoptic_quality_are_the_same_in_any_order():
    found = panoptic(range(12))[0]
    forth, back = (whole(side, lambda total: total.sums()) for side in (found, found[::-1]))
    assert np.array_equal(forth, back) and forth[:, 0].sum() > 5


def test_draws_are_of_as_many_images_and_come_from_their_seed():
    draws = draw_images(30, 400, seed=1)
    assert draws.shape == (400, 30) and (draws.sum(1) == 30).all() and abs(draws.mean(0) - 1).max() < 0.25
    assert np.array_equal(draws, draw_images(30, 400, seed=1)) and not np.array_equal(draws, draw_images(30, 400, seed=2))


def test_draws_of_a_mean_spread_as_the_mean_does():
    """Of images of one size pACC is a mean; its bootstrap spread is s / sqrt(n), and the interval two of them either way."""
    kept, shares = ImageSums(STUFF, SemanticScorer(STUFF, ratio=0).measured), RNG.random(60)
    for share in shares:
        one = SemanticScorer(STUFF, ratio=0)
        one.update((np.arange(1000) >= 1000 * share).astype(np.uint8)[None], np.zeros((1, 1000), np.uint8))
        kept += one
    values = kept.figure("pACC", draw_images(60, 2000))
    assert values.std() == pytest.approx(100 * shares.std() / np.sqrt(60), rel=0.08)
    found = interval(values)
    assert (found.high - found.low) / values.std() == pytest.approx(2 * 1.96, rel=0.08) and found.replicates == 2000


@pytest.mark.parametrize("values, verdict", [((0.1, 3.0), "better"), ((-3.0, -0.1), "worse"), ((-1.0, 3.0), "not told apart"), ((0.0, 0.0), "not told apart"),
                                             ((np.nan, np.nan), "not told apart")])
def test_a_verdict_is_given_where_the_interval_excludes_zero(values, verdict):
    found = interval(np.linspace(*values, 101))
    assert found.verdict == verdict and found.replicates == (0 if np.isnan(values[0]) else 101)
    assert interval(np.array([np.nan, 1.0, 1.0])).low == 1.0
    assert interval(np.full(39, 1.0)).verdict == interval(np.array([np.nan] * 900 + [1.0] * 39)).verdict == "not told apart"
    assert interval(np.full(40, 1.0)).verdict == "better"


SHIFTS = {"none": (3, 3), "both": (1, 1), "same": (3, 3), "one seed": (5,)}  # pixels by which each seed of a row is off
COLUMNS = [("PQ", "PQ", "panoptic", []), ("AP", "AP", "instance", []), ("mIoU*", "mIoU*", "semantic", ["sky", "car", "tree"]),
           ("PQ th", "PQ_th", "panoptic", [])]


def saved_run(folder, dataset, shift, seed):
    """A finished run's folder, its predictions of all three kinds the truth, moved; the run as a plan tells it."""
    source = load_dataset(dataset)
    savers = [make(folder / "predictions", source) for make in SAVERS.values()]
    for number, record in enumerate(source.records()):
        truth = read_mask(record, source)
        moved = SegmentMask(np.roll(truth.ids, shift + number % 2, 1), truth.segments, truth.ignore_id)
        things = [s for s in moved.segments if source.categories.items[s.category_id].isthing]
        objects = [Detection(s.category_id, 1 - 0.01 * s.id, encode_object(moved.ids == s.id)) for s in things]
        for saver, predicted in zip(savers, (np.minimum(moved.labels(), len(source.categories) - 1), moved, objects), strict=True):
            saver.add(record, predicted)
    for saver in savers:
        saver.close()
    (folder / "metrics_final.json").write_text("{}")
    (folder / "config.yaml").write_text(f"OUTPUT_DIR: {folder}\n")
    return {"seed": seed, "folder": str(folder), "predictions": {column[0]: str(folder / "predictions") for column in COLUMNS}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("table")
    dataset = write_toy_folder(root / "data", "test", 6, size=32, task="panoptic")
    rows = []
    for name, shifts in SHIFTS.items():
        runs = [saved_run(root / "runs" / f"{name}-seed{seed}", dataset, shift, seed) for seed, shift in enumerate(shifts)]
        rows.append({"name": name, "model": "R50", "against": "none" if name != "none" else "", "paper": {"PQ": 50.0 + len(rows)}, "config": "a|b.yaml",
                     "runs": runs})
    rows[1]["runs"][1]["predictions"].pop("AP")
    rows.append({"name": "Mask DINO", "against": "none", "not_run": "no engine <here> runs it"})
    columns = [dict(zip(("name", "figure", "kind", "classes"), column, strict=True)) | {"dataset": str(dataset)} for column in COLUMNS]
    return {"format": 1, "name": "toys", "title": "Toys & more", "source": "arXiv 2311.03355", "dataset": "toy", "scale": "small", "engine": "transformers",
            "commit": "abc", "command": "make it so", "columns": columns, "rows": rows, "notes": ["A note."]}


@pytest.fixture
def plan(finished):
    return json.loads(json.dumps(finished))


def written(folder, plan):
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder / "plan.json"


def test_a_table_holds_the_figures_of_its_predictions(plan, tmp_path):
    make_table(written(tmp_path, plan), tmp_path / "out", replicates=200)
    told = json.loads((tmp_path / "out/table.json").read_text(), parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    rows = {row["name"]: row["cells"] for row in told["rows"]}
    for name, figure, kind, classes in COLUMNS:
        for row in plan["rows"][:4]:
            values = rows[row["name"]][name]["values"]
            for run in row["runs"]:
                if name in run["predictions"]:
                    found = evaluate_predictions(run["predictions"][name], plan["columns"][0]["dataset"], task=kind, classes=classes)
                    assert values[str(run["seed"])] == found.scores.figures[figure]
    cell = rows["both"]["PQ"]
    assert cell["mean"] == np.mean([*cell["values"].values()]) and cell["spread"] == 0 and cell["seeds"] == 2 and cell["paper_difference"] == 1
    difference = cell["difference"]
    assert difference["verdict"] == "better" and 0 < difference["interval"]["low"] <= difference["mean"] <= difference["interval"]["high"]
    assert difference["mean"] == pytest.approx(cell["mean"] - rows["none"]["PQ"]["mean"])
    assert difference["per_class"]["sky"] == pytest.approx(cell["per_class"]["sky"] - rows["none"]["PQ"]["per_class"]["sky"])
    assert rows["both"]["AP"]["seeds"] == 1 and rows["both"]["AP"]["missing"] == [] and rows["both"]["AP"]["spread"] is None
    same = rows["same"]["AP"]["difference"]  # what two rows share cancels in every draw
    assert (same["mean"], same["interval"]["low"], same["interval"]["high"], same["verdict"]) == (0, 0, 0, "not told apart")
    assert rows["Mask DINO"]["PQ"]["mean"] is None and told["versions"]["seggen_d2"] and told["level"] == 0.95 and told["columns"][0]["images"] == 6


def test_a_table_tells_where_it_is_from_and_what_it_cannot_tell(plan, tmp_path):
    make_table(written(tmp_path, plan), tmp_path / "out", replicates=50)
    told, text = json.loads((tmp_path / "out/table.json").read_text()), (tmp_path / "out/table.md").read_text()
    assert len(told["runs"]) == 7 and len({run["fingerprint"] for run in told["runs"]}) == 7
    for run in told["runs"]:
        assert (tmp_path / "out" / run["copy"]).read_bytes() == (Path(run["folder"]) / "config.yaml").read_bytes()
    for words in ("Where the generators and the banks were made once",
                  "One seed alone stands behind “both”, “one seed”", "“Mask DINO”: no engine <here> runs it", "A note.", "commit: abc",
                  "command: make it so", r"a\|b.yaml", "50 paired bootstrap draws", "6 test images are few"):
        assert words in text, words
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines[0].split(" | ")) == 4 + 3 * len(COLUMNS) and "not run" in next(line for line in lines if "Mask DINO" in line)
    assert re.search(r"\| both \| R50 \| none \| 1–2 \| (\d+\.\d) ± 0\.0 \(\1, \1\) \| 51\.0 \| \+\d+\.\d\d \[\+.*\] better; \+1\.0 \|", text)


def test_shares_of_an_oracle_and_further_pairs_are_told(plan, tmp_path):
    plan["rows"][2]["oracle"] = plan["rows"][3]["oracle"] = "both"
    plan |= {"pairs": [{"row": "both", "against": "one seed"}], "replications": 2}
    make_table(written(tmp_path, plan), tmp_path / "out", replicates=50)
    told, text = json.loads((tmp_path / "out/table.json").read_text()), (tmp_path / "out/table.md").read_text()
    rows = {row["name"]: row["cells"]["PQ"]["difference"] for row in told["rows"]}
    assert rows["same"]["share"] == 0 and rows["both"]["share"] is None
    assert rows["one seed"]["share"] == pytest.approx(100 * rows["one seed"]["mean"] / rows["both"]["mean"]) and rows["same"]["values"] == {"0": 0, "1": 0}
    pair = told["pairs"][0]["columns"]["PQ"]
    assert pair["mean"] == pytest.approx(rows["both"]["mean"] - rows["one seed"]["mean"]) and pair["verdict"] == "better" and pair["seeds"] == 1
    for words in ("0% of the oracle’s", "| both | one seed | +",
                  "2 labelled sets, each with generators and banks of its own", "A share is that of the oracle’s gain"):
        assert words in text, words
    page = (tmp_path / "out/table.html").read_text()
    assert Balanced(page) and "Further comparisons" in page and "against one seed" in page


def test_the_page_is_whole_and_needs_no_network(plan, tmp_path):
    make_table(written(tmp_path, plan), tmp_path / "out", replicates=50)
    text = (tmp_path / "out/table.html").read_text()
    loaded = Balanced(text).loaded
    assert sorted(value for value in loaded if not value.startswith("data:")) == sorted(f"configs/{p.name}" for p in (tmp_path / "out/configs").iterdir())
    assert not re.search(r"url\(|@import|<script", text) and "$" not in text.split("</style>")[1]
    assert "Toys &amp; more" in text and "no engine &lt;here&gt; runs it" in text and text.count("<svg") == 5 * len(COLUMNS)
    assert "whisker gain" in text and 'class="verdict better"' in text and "verdict worse-one-seed" in text


def test_the_same_plan_gives_the_same_table(plan, tmp_path):
    for name in "ab":
        make_table(written(tmp_path, plan), tmp_path / name, replicates=30)
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in ("table.json", "table.md", "table.html"))


def test_missing_runs_are_listed_and_a_partial_table_says_so(plan, tmp_path):
    plan["rows"][0]["runs"][0]["folder"] = str(tmp_path / "nowhere")
    (tmp_path / "begun").mkdir()
    plan["rows"][0]["runs"][1]["folder"] = str(tmp_path / "begun")
    plan["rows"][1]["runs"][0]["predictions"]["mIoU*"] = str(tmp_path / "none")
    columns = [column | {"dataset": str(tmp_path / "gone.yaml")} for column in plan["columns"]]
    with pytest.raises(SegGenError) as error:  # before any dataset is opened
        make_table(written(tmp_path, plan | {"columns": columns}), tmp_path / "out")
    told = str(error.value)
    assert "3 runs of table 'toys'" in told and "make it so" in told and "--partial" in told and not (tmp_path / "out").exists()
    for words in (f"row 'none', seed 0: no folder {tmp_path}/nowhere", f"row 'none', seed 1: not finished: no metrics_final.json in {tmp_path}/begun",
                  f"row 'both', seed 0, column 'mIoU*': no predictions {tmp_path}/none"):
        assert words in told
    make_table(written(tmp_path, plan), tmp_path / "out", replicates=20, partial=True)
    rows = {row["name"]: row["cells"] for row in json.loads((tmp_path / "out/table.json").read_text())["rows"]}
    assert rows["none"]["PQ"]["missing"] == [0, 1] and rows["both"]["PQ"]["difference"] is None and rows["both"]["mIoU*"]["seeds"] == 1
    text = (tmp_path / "out/table.md").read_text()
    assert "| none | R50 | – | – | missing |" in text and "(1 missing)" in text and "Missing: row 'none', seed 0: no folder" in text
    assert Balanced((tmp_path / "out/table.html").read_text())


def test_predictions_that_lack_images_are_missing(plan, tmp_path):
    plan["rows"][1]["runs"][0] = saved_run(tmp_path / "run", plan["columns"][0]["dataset"], 1, 0)
    lost = sorted((tmp_path / "run/predictions").glob("*.png"))[0]
    lost.unlink()
    with pytest.raises(SegGenError, match=rf"row 'both', seed 0, column 'mIoU\*': 1 images without prediction \({lost.stem}\) in"):
        make_table(written(tmp_path, plan), tmp_path / "out")
    lost.write_bytes(b"no picture")
    with pytest.raises(SegGenError, match=lost.name):  # what is broken is an error, a partial table or not
        make_table(written(tmp_path, plan), tmp_path / "out", partial=True)


def over(path, value):
    """A change of a plan: the value at ``path``, or without ``value`` nothing there."""
    def change(plan):
        *above, last = path
        for key in above:
            plan = plan[key]
        if value is None:
            del plan[last]
        else:
            plan[last] = value
    return change


@pytest.mark.parametrize("change, words", [
    (over(["format"], 2), "another format"),
    (over(["nme"], "x"), "unknown key 'nme'"),
    (over(["title"], None), "lacks title"),
    (over(["notes"], [1]), r"notes\[0\] has the wrong type"),
    (over(["columns"], []), "has no columns"),
    (over(["columns", 1, "kind"], "pan"), r"kind of column 'AP'[\s\S]*panoptic"),
    (over(["columns", 1, "kind"], None), r"columns\[1\] lacks kind"),
    (over(["columns", 1, "name"], "PQ"), r"a column stands twice[\s\S]*'PQ'"),
    (over(["columns", 1, "figure"], "AP_50"), r"figure of column 'AP'[\s\S]*did you mean 'AP50'"),
    (over(["columns", 2, "classes"], []), "figure of column 'mIoU"),
    (over(["columns", 2, "classes"], ["cars"]), "did you mean 'car'"),
    (over(["columns", 0, "dataset"], "nowhere.yaml"), "nowhere.yaml does not exist"),
    (over(["rows", 0], "x"), r"rows\[0\] has the wrong type"),
    (over(["rows", 1, "name"], "none"), "a row stands twice"),
    (over(["rows", 1, "name"], " "), "a row has no name"),
    (over(["rows", 1, "against"], "both"), "row 'both': against"),
    (over(["rows", 1, "against"], "nobody"), "another row's name: none, same"),
    (over(["rows", 1, "oracle"], "nobody"), "row 'both': oracle names what is not there"),
    (over(["rows", 0, "oracle"], "both"), "row 'none' has an oracle and is compared with no row"),
    (over(["pairs"], [{"row": "both", "against": "nobody"}]), "pairs names what is not there"),
    (over(["rows", 1, "paper"], {"PQQ": 1.0}), r"paper names what is not there[\s\S]*did you mean 'PQ'"),
    (over(["rows", 1, "paper"], {"PQ": float("inf")}), "paper's 'PQ' is no number"),
    (over(["rows", 1, "not_run"], "why"), "has runs, and says why"),
    (over(["rows", 1, "runs"], []), "has no runs and does not say why"),
    (over(["rows", 1, "runs", 1, "seed"], 0), "a seed stands twice"),
    (over(["rows", 1, "runs", 1, "seed"], "0"), r"rows\[1\]: runs\[1\]: seed has the wrong type"),
    (over(["rows", 1, "runs", 0, "folder"], None), r"rows\[1\]: runs\[0\] lacks folder"),
    (over(["rows", 1, "runs", 0, "predictions"], {"IoU": "x"}), "predictions of seed 0 names what is not there"),
    (over(["rows", 1, "runs", 0, "predictions"], {"PQ": 3}), "predictions: PQ has the wrong type"),
])
def test_a_wrong_plan_is_told(plan, tmp_path, change, words):
    change(plan)
    with pytest.raises(SegGenError, match=words):
        make_table(written(tmp_path, plan), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_plan_that_is_none_is_told(tmp_path):
    for text, words in (("[]", "holds no keys"), ("{", "is not JSON"), ("", "is empty")):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(SegGenError, match=words):
            read_plan(tmp_path / "plan.json")
    with pytest.raises(SegGenError, match="replicates is out of range"):
        make_table(tmp_path / "plan.json", tmp_path, replicates=0)


def test_the_documented_plan_is_one(tmp_path):
    page = (Path(__file__).parents[1] / "docs/tables.md").read_text()
    (tmp_path / "plan.json").write_text(re.search(r"```json\n(.*?)```", page, re.S).group(1))
    plan = read_plan(tmp_path / "plan.json")
    assert plan.row("both banks").against == "real" and plan.row("real").runs[0].seed == 0 and plan.columns[0].classes == ()


def test_the_tool_writes_the_table(plan, tmp_path):
    tool = Path(__file__).parents[1] / "tools" / "make_table.py"
    words = [sys.executable, tool, "--plan", written(tmp_path, plan), "--output", tmp_path / "out", "--replicates", "20"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path / "out/table.md"), done.stderr
    plan["rows"][0]["runs"][0]["folder"] = "nowhere"
    written(tmp_path, plan)
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and "row 'none', seed 0: no folder nowhere" in done.stderr and "Traceback" not in done.stderr

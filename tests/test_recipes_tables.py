"""The paper's tables as protocols: what they plan, that each command can be typed, and what wrong words get."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seggen_d2.engine.config import load_config
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.options import parse_overrides
from seggen_d2.recipes import reproduction
from seggen_d2.recipes.filling import command_line
from seggen_d2.recipes.protocol import load_protocol
from seggen_d2.recipes.reproduction import Reproduction, Request, dry_run, plan_table, reproduce
from seggen_d2.recipes.runner import Runner
from seggen_d2.recipes.world import World
from seggen_d2.sources.toy_folder import write_toy_folder

ROOT = Path(__file__).parents[1]
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
TABLES = ("ablation", "ade20k", "coco", "gain", "synthetic-only", "tuning", "unseen")
UNSEEN = {"unseen": "datasets/other/dataset.yaml"}
PLANNED = [("gain", "toy", "small"), ("tuning", "toy", "small"), ("ade20k", "toy", "small"), ("coco", "toy", "small"), ("synthetic-only", "toy", "small"),
           ("unseen", "toy", "small"), ("captions", "toy", "small"),
           ("ablation", "camvid", "small"), ("gain", "camvid", "small"), ("synthetic-only", "camvid", "small"),
           ("ablation", "ade20k", "paper"), ("ade20k", "ade20k", "paper"), ("ade20k", "ade20k", "small"), ("gain", "ade20k", "paper"),
           ("ablation", "coco", "paper"), ("coco", "coco", "paper"), ("coco", "coco", "small")]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def planned(table: str, dataset: str = "toy", **more) -> Reproduction:
    values = {**(UNSEEN if table == "unseen" and dataset in ("ade20k", "coco") else {}), **more.pop("values", {})}
    return plan_table(Request(table, dataset, values=values, engine=more.pop("engine", "transformers"), **more))


def folders(made: Reproduction) -> set[str]:
    return {run["folder"] for row in made.plan["rows"] for run in row["runs"]}


def commands(made: Reproduction, tool: str) -> list[list[str]]:
    return [stage.command for stage in made.stages if f"tools/{tool}.py" in stage.command]


def parsed(command: list[str]):
    """The arguments of a command, as its tool reads them."""
    place = next(i for i, word in enumerate(command) if word.startswith("tools/") or word.startswith("datasets/prepare"))
    spec = importlib.util.spec_from_file_location(Path(command[place]).stem, ROOT / command[place])
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.parser().parse_intermixed_args(command[place + 1 :])


def test_a_part_of_a_table_plans_the_wholes_own_runs_and_what_they_need_alone():
    whole, part = planned("gain"), planned("gain", rows=("+ both", "+ ImgSyn"), models=("R50",))
    keys = {stage.name: stage.key for stage in whole.stages}
    assert {stage.name: stage.key for stage in part.stages}.items() < keys.items()
    assert [row["name"] for row in part.plan["rows"]] == ["+ ImgSyn", "+ both"]
    assert not commands(part, "label_bank") and not any(row["against"] for row in part.plan["rows"])
    assert [(pair["row"], pair["against"]) for pair in part.plan["pairs"]] == [("+ both", "+ ImgSyn")]


def test_notes_of_rows_stand_where_the_rows_do_and_once():
    def annotators(**words) -> list[str]:
        return [note for note in planned("gain", **words).plan["notes"] if note.startswith("The annotator")]

    assert len(annotators()) == len(annotators(rows=("Annotator-based alone",))) == 1
    assert not annotators(rows=("Real data alone", "+ both"))


def test_all_rows_and_models_of_a_table_are_the_table():
    protocol = load_protocol("gain")
    assert protocol.part([row.name for row in protocol.rows], protocol.models) == protocol.part() == protocol


@pytest.mark.parametrize("engine", ["transformers", "detectron2"])
@pytest.mark.parametrize(("table", "world", "scale"), PLANNED)
def test_every_training_that_a_table_plans_names_configs_and_keys_that_are_there(table, world, scale, engine):
    made = planned(table, world, scale=scale, engine=engine)
    trainings = commands(made, "train_net")
    assert trainings
    for command in trainings:
        given = parsed(command)
        assert Path(given.config_file).is_file()
        if "maskdino" not in given.config_file:
            load_config(given.config_file, given.overrides)


def test_the_paper_s_rows_stand_beside_ours():
    rows = {row["name"]: row for row in planned("ade20k", "ade20k").plan["rows"]}
    assert rows["+ SegGen Swin-L"]["paper"] == {"mIoU s.s.": 57.4, "mIoU m.s.": 58.7}
    assert rows["+ SegGen Swin-L"]["against"] == "Mask2Former Swin-L"
    assert [row["paper"]["mIoU"] for row in planned("ablation", "camvid").plan["rows"]] == [47.2, 48.3, 49.0, 49.9]
    assert not any(row["paper"] for row in planned("ablation", task="panoptic").plan["rows"])  # the paper's are of semantic segmentation


def test_tables_of_a_dataset_share_what_they_have_in_common():
    first, second = ({stage.name: stage.key for stage in planned(table).stages} for table in ("unseen", "ade20k"))
    both = first.keys() & second.keys()
    assert {"semantic.data", "semantic.bank-masksyn", "semantic.train-transformers-R50-real-seed0"} <= both
    assert all(first[name] == second[name] for name in both)


def test_only_what_the_rows_need_is_run():
    names = {stage.name for stage in planned("coco").stages}
    assert "panoptic.bank-imgsyn" in names and "instance.bank-imgsyn" in names
    assert not {"panoptic.text2mask", "panoptic.bank-masksyn", "panoptic.bank-unlabelled"} & names
    assert "semantic.bank-annotator" in {stage.name for stage in planned("synthetic-only").stages}


def test_each_seed_is_a_run_of_its_own():
    made = planned("ablation", "camvid", seeds=3)
    assert [run["seed"] for run in made.plan["rows"][3]["runs"]] == [0, 1, 2]
    assert len(folders(made)) == 12 and folders(planned("ablation", "camvid")) < folders(made)


def test_the_toy_world_s_ablation_has_more_rows_from_scratch_and_pre_trained():
    made = planned("ablation")
    rows = {row["name"]: row for row in made.plan["rows"]}
    assert made.protocol.name == "gain" and not any(row["not_run"] for row in rows.values())
    scratch, pre_trained = ([name for name in rows if name.endswith(model)] for model in (", R50", ", R50 pre-trained"))
    assert [name.removesuffix(" pre-trained") for name in pre_trained] == scratch and len(rows) == 2 * len(scratch)
    for name, row in rows.items():
        assert row["model"] == name.split(", ")[1] and all(rows[other]["model"] == row["model"] for other in (row["against"], row["oracle"]) if other)
    words = {command[command.index("OUTPUT_DIR") + 1]: command for command in commands(made, "train_net")}
    for row in rows.values():
        assert ("MODEL.WEIGHTS" in words[row["runs"][0]["folder"]]) == (row["model"] == "R50 pre-trained")


def test_pairs_are_of_rows_and_once_for_each_model():
    plan = planned("gain").plan
    names = [row["name"] for row in plan["rows"]]
    assert len(plan["pairs"]) == 2 * len(load_protocol("gain").pairs) and {name for pair in plan["pairs"] for name in pair.values()} <= set(names)
    assert [pair["row"] for pair in planned("gain", "camvid").plan["pairs"]] == ["+ both"] * 3


def test_annotators_of_different_models_are_different_banks():
    labelled = commands(planned("gain"), "label_bank")
    pairs = {command[command.index("--segmenter") + 1].split("/")[-1]: command[command.index("--output") + 1].split("/")[-1] for command in labelled}
    assert pairs == {"R50-real-seed0": "annotator", "R50-pre-trained-real-seed0": "annotator-R50-pre-trained"}


def test_the_annotator_paints_as_many_images_from_the_same_captions_as_both_banks_hold():
    made = {command[command.index("--strategy") + 1]: parse_overrides(command[command.index("dataset") :])
            for command in commands(planned("gain"), "synthesize")}
    assert made["unlabelled"]["replicas"] == made["masksyn"]["replicas"] + made["imgsyn"]["replicas"]
    assert len({each["captions"] for each in made.values()}) == 1 and set(made) == {"unlabelled", "masksyn", "imgsyn"}


def test_a_world_without_true_scenes_says_so_and_leaves_models_that_it_lacks_out():
    rows = {row["name"]: row for row in planned("gain", "camvid").plan["rows"]}
    assert "no more true scenes" in rows["Oracle"]["not_run"] and rows["+ both"]["runs"] and len(rows) == 10


def test_choices_are_read_on_images_of_their_own():
    for row in planned("tuning").plan["rows"]:
        assert all(place.endswith("/val/predictions/toy_val") for run in row["runs"] for place in run["predictions"].values())
    assert [column["dataset"].split("/")[-2] for column in planned("tuning").plan["columns"]] == ["val"]


def test_each_replication_has_its_own_labels_generators_and_banks():
    made, plain = planned("gain", seeds=3, replications=2), planned("gain", seeds=3)
    assert [run["folder"].split("/runs/")[0].split("/")[-1] for run in made.plan["rows"][1]["runs"]] == ["semantic", "replication-1", "semantic"]
    stages = {stage.name: stage for stage in made.stages}
    for name in ("data", "mask2img", "text2mask", "bank-masksyn", "bank-imgsyn", "bank-annotator", "bank-oracle"):
        first, other = stages[f"semantic.{name}"].command, stages[f"semantic.replication-1.{name}"].command
        assert [word.replace("/semantic/replication-1", "/semantic") for word in other] != first or name in ("bank-annotator", "bank-oracle")
        assert not any("/semantic/" in word and "/replication-1/" not in word for word in other)
    shared = {stage.name: stage.key for stage in plain.stages}
    assert all(stages[name].key == key for name, key in shared.items() if name in stages)  # more replications add to those there are
    assert plain.plan["replications"] == 1 and made.plan["replications"] == 2


@pytest.mark.parametrize(("request_", "message"), [
    (Request("gain", "toy", seeds=2, replications=3), "--replications is out of range"),
    (Request("gain", "camvid", seeds=3, replications=3), "--replications is of no use for camvid"),
    (Request("gain", "toy", rows=("+ Imgsyn",)), "--rows: a row of the table gain is not known"),
    (Request("gain", "toy", models=("Swin-L",)), "--models: a model of the table gain is not known"),
])
def test_replications_and_parts_that_cannot_be_are_told(request_, message):
    with pytest.raises(SegGenError, match=message):
        plan_table(request_)


def test_predictions_are_looked_for_where_their_stages_put_them():
    made = planned("ade20k")
    run = made.plan["rows"][0]["runs"][0]
    assert run["predictions"] == {"mIoU s.s.": f"{run['folder']}/predictions/toy_test", "mIoU m.s.": f"{run['folder']}/multi-scale/predictions/toy_test_TTA"}
    stage = next(stage for stage in made.stages if stage.name == "semantic.multi-scale-transformers-R50-real-seed0")
    assert stage.needs == ["semantic.train-transformers-R50-real-seed0", "semantic.data"]
    assert stage.command[stage.command.index("OUTPUT_DIR") + 1] == f"{run['folder']}/multi-scale"


def test_a_row_that_the_engine_has_not_says_why():
    rows = {row["name"]: row for row in planned("coco").plan["rows"]}
    assert "Detectron2" in rows["+ SegGen Mask DINO"]["not_run"] and not rows["+ SegGen Mask DINO"]["runs"]
    assert not any(row["not_run"] for row in planned("coco", engine="detectron2").plan["rows"])


def test_a_panoptic_model_s_objects_are_scored_as_upstream_where_coco_s_annotations_are_there():
    columns = {column["name"]: column["dataset"] for column in planned("coco", "coco").plan["columns"]}
    assert columns["AP_pan^Th"] == "datasets/coco-instance/val.yaml" and columns["PQ"] == columns["mIoU_pan"] == "datasets/coco-panoptic/val.yaml"
    assert any("things of the panoptic truth" in note for note in planned("coco").plan["notes"])
    assert not any("things of the panoptic truth" in note for note in planned("coco", "coco").plan["notes"])


def test_classes_of_the_starred_mean_are_those_given_or_all():
    assert planned("synthetic-only", classes=("sky", "car")).plan["columns"][0] | {"dataset": ""} == {
        "name": "mIoU*", "figure": "mIoU*", "kind": "semantic", "dataset": "", "classes": ["sky", "car"]}
    made = planned("synthetic-only")
    assert made.plan["columns"][0]["figure"] == "mIoU" and any("all categories" in note for note in made.plan["notes"])


def test_a_dry_run_tells_hours_disk_and_what_is_missing(monkeypatch):
    monkeypatch.setattr(World, "missing", lambda world, task: ["datasets/ade20k/train.yaml"])  # wherever the tests run
    text = dry_run(planned("ade20k", "ade20k", scale="paper"))
    assert "python -m torch.distributed.run --nproc-per-node 8 tools/train_net.py --config-file configs/ade20k" in text
    assert "GPU hours (A100 (80 GB))" in text and "GB of disk" in text
    assert "not there yet: datasets/ade20k/train.yaml" in text and "prepare_ade20k.py" in text
    assert "core minutes" in dry_run(planned("ablation"))


def test_small_is_small_for_trainings_of_several_stages_too():
    for command in commands(planned("coco", "coco", scale="small"), "train_net"):
        stages = load_config(command[command.index("--config-file") + 1], parsed(command).overrides)[0].SEGGEN.STAGES
        assert sum(stage["ITERATIONS"] for stage in stages) == 10


def test_twice_the_replicas_cost_twice(tmp_path):
    once, twice = (next(stage.cost for stage in planned("ablation", "ade20k", values={"imgsyn_samples": n}).stages if stage.name == "semantic.bank-imgsyn")
                   for n in (1000, 2000))
    assert twice.pflop == 2 * once.pflop > 0 and twice.disk_gb == 2 * once.disk_gb > 0


@pytest.mark.parametrize("table", TABLES)
def test_folders_may_have_blanks_in_their_names(table, tmp_path):
    made = planned(table, output=str(tmp_path / "with a blank"))
    for command in (stage.command for stage in made.stages):
        assert not [word for word in command if word.startswith(str(tmp_path)) and "with a blank" not in word]


def test_the_annotator_labels_as_many_images_at_small_scale_as_both_banks_hold():
    made = commands(planned("synthetic-only", "ade20k", scale="small"), "synthesize")
    replicas = {command[command.index("--strategy") + 1]: parse_overrides(command[command.index("captions") :])["replicas"] for command in made}
    assert replicas["unlabelled"] == replicas["masksyn"] + replicas["imgsyn"]


def test_a_brace_that_is_no_variable_s_is_told():
    with pytest.raises(SegGenError, match="cannot be filled in(.|\n)*{NAME}"):
        planned("ablation", values={"train_options": ["SEED", "{}"]})


def test_commands_are_shown_as_they_are_typed():
    line = command_line(["python", "a b", "['x','y']", "it's $HOME"])
    assert line.startswith("python 'a b' \"['x','y']\" ")
    told = subprocess.run(["sh", "-c", f"{sys.executable} -c 'import sys; print(sys.argv[1:])' {line}"], capture_output=True, text=True)
    assert told.stdout.strip() == str(["python", "a b", "['x','y']", "it's $HOME"])


@pytest.mark.parametrize(("request_", "message"), [
    (("ablatio", "toy"), "protocol 'ablatio' is not known(.|\n)*did you mean 'ablation'"),
    (("ablation", "tooy"), "no dataset is called 'tooy'(.|\n)*prepare_folder.py"),
    (("ablation", "toy", "paper"), "--scale for toy is not known"),
    (("unseen", "toy", "", "depth"), "--task for unseen is not known"),
    (("ablation", "toy", "", "", "d2"), "--engine is not known"),
    (("ablation", "toy", "", "", "transformers", 0), "--seeds is out of range"),
    (("coco", "ade20k"), "no row of the table coco can be run on ADE20K(.|\n)*no labels for panoptic"),
    (("unseen", "ade20k"), "needs more on ade20k(.|\n)*docs/unseen.md"),
])
def test_a_wrong_word_is_told(request_, message):
    with pytest.raises(SegGenError, match=message):
        plan_table(Request(*request_))


@pytest.mark.parametrize(("values", "message"), [
    ({"scenes": "many"}, "variable scenes has the wrong type(.|\n)*int, such as 32"),
    ({"train_options": "[SOLVER.MAX_ITER,4]"}, "variable train_options has the wrong type(.|\n)*write lists as"),
    ({"imgsyn": 2.5}, "variable imgsyn has the wrong type"),
])
def test_a_value_of_another_type_is_told_before_anything_runs(values, message):
    with pytest.raises(SegGenError, match=message):
        planned("ablation", values=values)


def test_classes_that_are_of_no_use_or_none_are_told(tmp_path):
    with pytest.raises(SegGenError, match="--classes is of no use for this table"):
        planned("unseen", classes=("car",))
    write_toy_folder(tmp_path / "semantic" / "data" / "test", "test", 1)
    planned("synthetic-only", output=str(tmp_path), classes=("car",))
    with pytest.raises(SegGenError, match="--classes: a category is not known(.|\n)*did you mean 'car'"):
        planned("synthetic-only", output=str(tmp_path), classes=("carr",))


def test_an_engine_that_is_not_installed_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "find_spec", lambda name: None)
    with pytest.raises(SegGenError, match="the engine is not installed"):
        reproduce(planned("ablation", engine="detectron2", output=str(tmp_path)), [0])
    assert not list(tmp_path.iterdir())


def test_the_name_of_unseen_images_is_what_their_file_says(tmp_path):
    file = tmp_path / "other.yaml"
    file.write_text("name: at_night\nimages: x\n")
    made = planned("unseen", "ade20k", values={"unseen": str(file)})
    assert made.plan["rows"][0]["runs"][0]["predictions"]["mIoU unseen"].endswith("/unseen/predictions/at_night")
    assert any("['at_night']" in command for command in commands(made, "train_net"))


def test_a_variable_that_the_dataset_has_not_is_told():
    with pytest.raises(SegGenError, match="no variable 'scnes'(.|\n)*did you mean 'scenes'"):
        planned("ablation", values={"scnes": 3})


def test_a_table_of_a_dataset_that_is_not_there_says_how_to_prepare_it(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "missing", lambda world, task: ["datasets/ade20k/train.yaml"])
    with pytest.raises(SegGenError, match="which is not there(.|\n)*datasets/ade20k/train.yaml(.|\n)*prepare_ade20k.py"):
        reproduce(planned("ablation", "ade20k", output=str(tmp_path)), [0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("change", "message"), [
    ({"rows": [{"name": "a", "setting": "real"}, {"name": "a", "setting": "real"}]}, "two rows 'a'"),
    ({"rows": [{"name": "a", "setting": "real", "against": "b"}]}, "compared with 'b', which is no row"),
    ({"rows": [{"name": "a", "setting": "real", "paper": {"PQ": 1.0}}]}, "a figure of row 'a' is not known"),
    ({"columns": [{"name": "mIoU", "kind": "depth"}]}, "task is not known"),
    ({"rows": [{"name": "a", "setting": "real"}, {"name": "b", "setting": "real", "model": "Swin-L", "banks": ["imgsin"]}]}, "needs 'semantic.bank-imgsin'"),
    ({"rows": [{"name": "a", "setting": "real+seggen", "banks": ["imgsyn"]}, {"name": "b", "setting": "real+seggen", "banks": ["masksyn"]}]},
     "two rows would share the run semantic.train-transformers-R50-real.seggen-seed0"),
    ({"rows": [{"name": "a", "setting": "reel"}]}, "no row of the table(.|\n)*there is no config configs/toy/reel.yaml"),
    ({"colums": []}, "unknown key 'colums'(.|\n)*did you mean 'columns'"),
    ({"rows": [{"name": "a", "setting": "real", "options": ["SEED", "3"]}]}, "has options and would share its runs(.|\n)*run: NAME"),
    ({"rows": [{"name": "a", "setting": "real", "oracle": "b"}]}, "compared with 'b', which is no row"),
    ({"pairs": [{"row": "a", "against": "b"}]}, "compared with 'b', which is no row"),
])
def test_a_protocol_that_does_not_hold_together_is_refused(tmp_path, change, message):
    protocol = {"name": "mine", "title": "t", "source": "s", "world": "toy", "tasks": ["semantic"], "columns": [{"name": "mIoU"}],
                "rows": [{"name": "a", "setting": "real"}], **change}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(protocol))
    with pytest.raises(SegGenError, match=message):
        planned(str(tmp_path / "mine.yaml"))


def test_protocols_say_where_their_figures_stand():
    for table in TABLES:
        assert load_protocol(table).source and load_protocol(table).name == table


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with open(tmp_path / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SegGenError, match="another run works in"):
            Runner([], tmp_path, [0]).run()
    Runner([], tmp_path, [0]).run()


def test_a_prepared_dataset_of_one_s_own_is_a_world(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, of in (("train", "mine_train"), ("val", "mine_val")):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": of, "images": "x", "json": "y", "masks": "z", "task": "panoptic"}))
    for name in ("real", "real+masksyn", "real+imgsyn", "real+seggen", "text2mask"):
        (folder / f"{name}.yaml").write_text("SEED: 0\n")
    made = planned("ablation", str(folder))
    assert made.missing() == []
    assert made.tasks == ("panoptic",) and made.plan["columns"][0]["figure"] == "PQ"
    assert made.plan["rows"][0]["runs"][0]["predictions"]["PQ"].endswith("/predictions/mine_val")
    assert json.dumps(made.plan)
    assert made.world.scale == "paper" and not any("mean nothing" in note for note in made.plan["notes"])
    (folder / "text2mask.yaml").write_text("base: toy\n")  # as --small writes it
    assert planned("ablation", str(folder)).world.scale == "small"
    assert any("mean nothing" in note for note in planned("ablation", str(folder)).plan["notes"])
    with pytest.raises(SegGenError, match="--scale for .* is not known"):
        planned("ablation", str(folder), scale="paper")
    (folder / "text2mask.yaml").unlink()
    assert planned("ablation", str(folder)).missing() == [f"{folder}/text2mask.yaml"]


# -- the smallest table, from end to end -----------------------------------------------------------------------------

PAPERS = "seggen_d2/recipes/protocols/ablation.yaml"  # by its file: the toy world's own has more rows
FEW_STEPS = {"scenes": 6, "vals": 2, "tests": 4, "unseen": 2, "captioned": 8, "oracle": 2, "repainted": 1, "masksyn": 1, "imgsyn": 1,
             "generator_options": ["training.steps", "2", "training.warmup_steps", "1", "training.checkpoint_every", "2"],
             "train_options": ["SOLVER.MAX_ITER", "2", "SOLVER.WARMUP_ITERS", "1", "SOLVER.CHECKPOINT_PERIOD", "2"],
             "synthesis_options": ["masks.steps", "2", "images.steps", "2", *(word for limit in ("max_unsure 1.0", "min_labelled 0.0", "min_categories 1",
                                   "min_named 0.0", "max_dropped 1.0", "max_lost 1.0") for word in f"quality.{limit}".split())]}


def test_a_toy_table_runs_from_end_to_end_and_never_twice(tmp_path):
    words = [str(word) for pair in FEW_STEPS.items() for word in pair]
    command = [sys.executable, "tools/reproduce.py", PAPERS, "--dataset", "toy", "--seeds", "1", "--engine", "transformers", "--replicates", "20",
               "--output", str(tmp_path), "--cores", str(len(CORES[:2])), *words]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr[-3000:]
    folder = tmp_path / "tables" / "ablation-semantic-transformers"
    table = json.loads((folder / "table.json").read_text())
    assert table["command"].startswith(f"python tools/reproduce.py {PAPERS} --dataset toy")
    assert [row["name"] for row in table["rows"]] == ["Real data alone", "+ MaskSyn", "+ ImgSyn", "+ both"]
    folders_of = {run["row"]: Path(run["folder"]) for run in table["runs"]}
    for row in table["rows"]:
        metrics = json.loads((folders_of[row["name"]] / "metrics_final.json").read_text())
        assert row["cells"]["mIoU"]["mean"] == pytest.approx(metrics["value"], abs=1e-9)
    assert "47.2" in (folder / "table.md").read_text() and (folder / "table.html").is_file()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "stages").iterdir()}
    assert len(stamps) == 10
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "stages").iterdir()}

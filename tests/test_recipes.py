"""Recipes as data, and their runner: in order, side by side, measured, never twice, and onward after a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.recipes import runner as runner_module
from seggen_d2.recipes.recipe import load_recipe
from seggen_d2.recipes.runner import Runner

ROOT = Path(__file__).parents[1]
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
NOTE = "import sys, time, pathlib; f = pathlib.Path(sys.argv[1]); f.write_text(str(time.time())); "


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.02)


def stage(name: str, code: str = "", **keys) -> dict:
    """A stage that writes the time it began at into ``NAME.txt`` and then runs ``code``."""
    return {"name": name, "command": f'python -c "{NOTE}{code}" {{output}}/{name}.txt', "produces": [f"{name}.txt"], **keys}


def recipe(folder: Path, *stages: dict, **variables) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "test", "description": "a test", "variables": variables, "stages": list(stages)}))
    return str(path)


def run(folder: Path, *stages: dict, cores: list[int] | None = None, values: dict | None = None, **variables) -> list[dict]:
    output = folder / "out"
    return Runner(load_recipe(recipe(folder, *stages, **variables), output, values or {}), output, cores or CORES[:1]).run()


def began(folder: Path, name: str) -> float:
    return float((folder / "out" / f"{name}.txt").read_text())


# -- loading ---------------------------------------------------------------------------------------------------------


def test_variables_fill_commands_and_copies_share_a_stage(tmp_path):
    path = recipe(tmp_path, {"name": "draw-{kind}", "command": "draw {kind} {count} {output}", "produces": ["{kind}.txt"],
                             "each": [{"kind": "a"}, {"kind": "b"}]},
                  {"name": "end", "command": "end 'two words'", "produces": [], "needs": ["draw-*"]}, count=3)
    first, second, end = load_recipe(path, Path("out"), {"count": 5})
    assert first.command == ["draw", "a", "5", "out"] and second.produces == [Path("out/b.txt")]
    assert end.needs == ["draw-a", "draw-b"] and end.command == ["end", "two words"]


@pytest.mark.parametrize(("change", "message"), [
    ({"values": {"scnees": 3}}, "no variable 'scnees'(.|\n)*did you mean 'scenes'"),
    ({"needs": ["frist"]}, "needs 'frist', which no earlier stage is called(.|\n)*did you mean 'first'"),
    ({"needs": ["second"]}, "needs 'second', which no earlier stage is called"),
    ({"name": "first"}, "two stages 'first'"),
    ({"command": "python {scense}"}, "unknown variable 'scense'(.|\n)*did you mean 'scenes'"),
    ({"need": ["first"]}, "unknown key 'need'(.|\n)*did you mean 'needs'"),
])
def test_a_recipe_that_does_not_hold_together_is_refused(tmp_path, change, message):
    values = change.pop("values", {})
    path = recipe(tmp_path, stage("first"), {**stage("second"), **change}, scenes=3)
    with pytest.raises(SegGenError, match=message):
        load_recipe(path, tmp_path, values)


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SegGenError, match="'quickstrat' is not known(.|\n)*did you mean 'quickstart'"):
        load_recipe("quickstrat", tmp_path, {})
    with pytest.raises(SegGenError, match="does not exist"):
        load_recipe(str(tmp_path / "none.yaml"), tmp_path, {})


@pytest.mark.parametrize("name", ["quickstart", "camvid"])
def test_shipped_recipes_name_tools_and_configs_that_are_there(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    stages = load_recipe(name, Path("output") / name, {})
    for each in stages:
        python, script, *words = each.command
        files = [word for word in words if word.startswith(("configs/", "datasets/"))]
        assert python == "python" and Path(script).is_file(), script
        assert all(Path(file).is_file() for file in files) and each.produces
    assert stages[-1].name == "report" and {"captions", "mask2img", "text2mask", "bank-imgsyn"} <= {each.name for each in stages}


def test_of_unlabelled_camvid_photos_the_base_alone_sees_pictures(monkeypatch):
    monkeypatch.chdir(ROOT)
    stages = {each.name: " ".join(each.command) for each in load_recipe("camvid", Path("out"), {"labelled": 40})}
    assert "--labelled 40 " in stages["labelled"] and "--labelled 367 " in " ".join(load_recipe("camvid", Path("out"), {})[0].command)
    assert [name for name, command in stages.items() if "datasets/camvid_train.yaml" in command] == ["labelled", "base"]
    labelled = [name for name, command in stages.items() if "out/labelled/dataset.yaml" in command]
    assert labelled == [name for name in stages if name not in ("labelled", "base")]
    assert "captions out/captions/captions.parquet unlabelled_caption a street" in stages["base"]


def test_editing_a_config_or_its_base_makes_another_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    base, config = tmp_path / "configs/base.yaml", tmp_path / "configs/a.yaml"
    base.write_text("steps: 1")
    config.write_text("_BASE_: base.yaml\nrate: 1")
    path = recipe(tmp_path, {"name": "train", "command": "train configs/a.yaml", "produces": []},
                  {"name": "end", "command": "end", "produces": [], "needs": ["train"]})
    keys = []
    for file, text in ((base, "steps: 1"), (base, "steps: 2"), (config, "_BASE_: base.yaml\nrate: 2"), (config, "# why\n_BASE_: base.yaml\nrate: 2")):
        file.write_text(text)
        keys.append(tuple(each.key for each in load_recipe(path, tmp_path, {})))
    assert len({key for key, _ in keys}) == len({key for _, key in keys}) == 3 and keys[2] == keys[3]


# -- running ---------------------------------------------------------------------------------------------------------


def test_needs_come_first_whatever_the_order_of_ends(tmp_path):
    run(tmp_path, stage("a", "time.sleep(0.2)"), stage("b", needs=["a"]), stage("c", needs=["a", "b"]))
    assert began(tmp_path, "a") + 0.2 < began(tmp_path, "b") < began(tmp_path, "c")


def test_stages_run_side_by_side_a_core_each(tmp_path):
    """Neither ends before the other has begun; each has a core of its own and as many threads."""
    if len(CORES) < 2:
        pytest.skip("one core")
    wait = "o = f.with_name(sys.argv[2])\nt = time.time() + 20\nwhile not o.exists() and time.time() < t: time.sleep(0.01)\n"
    see = ("import os, json; found = [o.exists(), sorted(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS']]\n"
           "f.with_suffix('.json').write_text(json.dumps(found))")
    stages = [stage(name, f"\n{wait}{see}") for name in ("a", "b")]
    for one, other in zip(stages, ("b", "a")):
        one["command"] += f" {other}.txt"
    run(tmp_path, *stages, cores=CORES[:2])
    found = [json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("a", "b")]
    assert found == [[True, [CORES[0]], "1"], [True, [CORES[1]], "1"]]


def test_a_stage_of_more_cores_than_there_are_still_runs(tmp_path):
    assert [row["cores"] for row in run(tmp_path, stage("a", cores=64))] == [1]


def test_what_is_done_is_not_run_again(tmp_path):
    stages = stage("a"), stage("b", needs=["a"])
    first = run(tmp_path, *stages)
    times = began(tmp_path, "a"), began(tmp_path, "b")
    assert run(tmp_path, *stages) == first and (began(tmp_path, "a"), began(tmp_path, "b")) == times


def test_what_is_gone_is_made_again(tmp_path):
    stages = stage("a"), stage("b", needs=["a"])
    run(tmp_path, *stages)
    before = began(tmp_path, "a")
    (tmp_path / "out/b.txt").unlink()
    run(tmp_path, *stages)
    assert began(tmp_path, "a") == before < began(tmp_path, "b")


def test_a_failure_shows_the_log_and_the_next_call_goes_on(tmp_path):
    broken = "print('the disk melted'); sys.exit(0 if f.with_name('mended').exists() else 7)"
    stages = stage("a"), stage("b", broken, needs=["a"]), stage("c", needs=["b"])
    with pytest.raises(SegGenError, match="stage b failed with exit code 7(.|\n)*the disk melted(.|\n)*b.log"):
        run(tmp_path, *stages)
    before = began(tmp_path, "a")
    assert not (tmp_path / "out/c.txt").exists()
    (tmp_path / "out/mended").touch()
    rows = run(tmp_path, *stages)
    assert [row["name"] for row in rows] == ["a", "b", "c"] and began(tmp_path, "a") == before


def test_a_stage_that_leaves_nothing_has_failed(tmp_path):
    with pytest.raises(SegGenError, match="stage a failed(.|\n)*never.txt"):
        run(tmp_path, {**stage("a"), "produces": ["never.txt"]})


def test_a_failure_ends_what_runs_beside_it(tmp_path):
    if len(CORES) < 2:
        pytest.skip("one core")
    with pytest.raises(SegGenError, match="stage b failed"):
        run(tmp_path, stage("a", "time.sleep(60); f.with_name('late').touch()"), stage("b", "time.sleep(0.3); sys.exit(1)"), cores=CORES[:2])
    assert not (tmp_path / "out/late").exists() and "seconds" not in json.loads((tmp_path / "out/stages/a.json").read_text())


def test_another_command_for_what_was_made_is_refused(tmp_path):
    a = stage("a")
    a["command"] += " {scenes}"
    run(tmp_path, a, stage("b", needs=["a"]), scenes=3)
    before = began(tmp_path, "a")
    with pytest.raises(SegGenError, match="stage a in .* made by another command(.|\n)*expected: .*txt 4(.|\n)*found: .*txt 3"):
        run(tmp_path, a, stage("b", needs=["a"]), scenes=3, values={"scenes": 4})
    assert began(tmp_path, "a") == before


def test_seconds_and_memory_are_measured(tmp_path):
    rows = run(tmp_path, stage("small", "time.sleep(0.3)"), stage("large", "b = bytearray(120_000_000); b[::4096] = b[::4096]; time.sleep(0.5)"))
    small, large = rows
    assert small["seconds"] >= 0.3 and 120 < large["peak_rss_mb"] < 400 and large["peak_rss_mb"] > small["peak_rss_mb"] + 80 > 80
    summary = json.loads((tmp_path / "out/stages.json").read_text())
    assert summary["stages"] == rows and summary["wall_seconds"] >= 0.8 and summary["peak_rss_mb"] > large["peak_rss_mb"]


def test_python_is_the_running_one(tmp_path):
    run(tmp_path, stage("a", "f.with_suffix('.exe').write_text(sys.executable)"))
    assert (tmp_path / "out/a.exe").read_text() == sys.executable


def test_a_stage_that_was_begun_by_another_command_is_not_gone_on_with(tmp_path):
    begun = stage("a", "raise SystemExit(1); ") | {"produces": ["made/a.txt"]}
    (tmp_path / "out" / "made").mkdir(parents=True)
    with pytest.raises(SegGenError, match="stage a failed"):
        run(tmp_path, begun)
    other = begun | {"command": begun["command"].replace("Exit(1)", "Exit(0)")}
    with pytest.raises(SegGenError, match="stage a failed(.|\n)*exit code 0"):
        run(tmp_path, other)  # the first left nothing, so nothing can be mixed
    (tmp_path / "out" / "made" / "half.txt").write_text("of the second")
    with pytest.raises(SegGenError, match="stage a in .* was made by another command(.|\n)*to make it anew, remove"):
        run(tmp_path, begun)


def test_a_dataset_or_config_file_named_in_a_list_is_a_stage_s_input(tmp_path):
    file = tmp_path / "my data.yaml"
    keys = []
    for name in ("one", "two"):
        file.write_text(yaml.safe_dump({"name": name}))
        spec = {"name": "a", "command": f"train DATASETS \"['{file}','{{output}}/other.yaml']\"", "produces": []}
        keys.append(load_recipe(recipe(tmp_path, spec), tmp_path / "out", {})[0].key)
    assert keys[0] != keys[1]


def test_stamps_tell_the_commit(tmp_path):
    output = tmp_path / "out"
    runner = Runner(load_recipe(recipe(tmp_path, stage("a")), output, {}), output, CORES[:1], commit="abc")
    runner.run()
    assert runner.commits() == {"a": "abc"}


def runner_script(folder: Path, *stages: dict) -> list[str]:
    """A command that runs a recipe by itself."""
    path = recipe(folder, *stages)
    code = (f"from pathlib import Path; from seggen_d2.recipes.recipe import load_recipe; from seggen_d2.recipes.runner import Runner; "
            f"Runner(load_recipe({path!r}, Path({str(folder / 'out')!r}), {{}}), Path({str(folder / 'out')!r}), {CORES[:1]}).run()")
    return [sys.executable, "-c", code]


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_a_stopped_run_ends_its_stages(tmp_path, how):
    pid = "pathlib.Path(sys.argv[1]).with_name('pid').write_text(str(os.getpid())); "
    running = subprocess.Popen(runner_script(tmp_path, stage("a", f"import os; {pid}time.sleep(120)")), stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "out" / "pid")
    time.sleep(0.2)
    running.send_signal(getattr(signal, how))
    assert running.wait(30) != 0
    number = int((tmp_path / "out" / "pid").read_text())
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_no_other_run_begins_while_a_stage_of_a_killed_one_works(tmp_path):
    pytest.importorskip("fcntl")
    pid = "pathlib.Path(sys.argv[1]).with_name('pid').write_text(str(os.getpid())); "
    waits = stage("a", f"import os; {pid}time.sleep(120)")
    running = subprocess.Popen(runner_script(tmp_path, waits), stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "out" / "pid")
    time.sleep(0.2)
    running.kill()
    running.wait()
    with pytest.raises(SegGenError, match="a stage of one that was killed"):
        run(tmp_path, waits)
    os.kill(int((tmp_path / "out" / "pid").read_text()), signal.SIGKILL)


def test_a_dataset_s_list_of_images_is_a_stage_s_input(tmp_path):
    (tmp_path / "train.yaml").write_text("files: train.txt\n")
    keys = []
    for names in ("a\nb\n", "a\n"):
        (tmp_path / "train.txt").write_text(names)
        spec = {"name": "a", "command": f"train {tmp_path / 'train.yaml'}", "produces": []}
        keys.append(load_recipe(recipe(tmp_path, spec), tmp_path / "out", {})[0].key)
    assert keys[0] != keys[1]

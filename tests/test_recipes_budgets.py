"""The tables of cheaper banks: what they plan, from which banks, and that each tool takes the words that it is given."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from seggen_d2.recipes.protocol import load_protocol
from seggen_d2.recipes.reproduction import Request, plan_table

ROOT = Path(__file__).parent.parent
TABLES = ("sampling", "bank-size", "weakest-first")


@pytest.fixture(scope="module", params=TABLES)
def made(request, tmp_path_factory):
    return plan_table(Request(request.param, "toy", engine="transformers", output=str(tmp_path_factory.mktemp("out"))))


def stages(made) -> dict:
    return {stage.name.removeprefix("semantic."): stage for stage in made.stages}


def test_every_row_is_run_and_read_on_the_validation_images(made):
    assert not any(row["not_run"] for row in made.plan["rows"]) and load_protocol(made.protocol.name).name == made.protocol.name
    assert [column["dataset"].rpartition("/data/")[2] for column in made.plan["columns"]] == ["val/dataset.yaml"]
    assert len({run["folder"] for row in made.plan["rows"] for run in row["runs"]}) == len(made.plan["rows"])


def test_tools_take_the_words_of_their_stages(made):
    parsers = {}
    for stage in made.stages:
        tool, words = stage.command[1], stage.command[2:]
        if tool in ("tools/synthesize.py", "tools/take_bank.py", "tools/weigh_sources.py"):
            parser = parsers.setdefault(tool, runpy.run_path(str(ROOT / tool))["parser"]())
            given = vars(parser.parse_args(words))
            assert len(given.get("opts", [])) % 2 == 0 and not any(word.startswith("{") for word in words)
    assert "tools/synthesize.py" in parsers


def test_each_stage_makes_the_bank_that_its_name_tells():
    for table in TABLES:
        for name, stage in stages(plan_table(Request(table, "toy", engine="transformers"))).items():
            if name.startswith("bank-"):
                folder = stage.command[stage.command.index("--output") + 1]
                assert Path(folder).name == name.removeprefix("bank-") and stage.produces[0].parent == Path(folder)


def test_smaller_banks_are_the_beginnings_of_the_largest():
    planned = stages(plan_table(Request("bank-size", "toy", engine="transformers")))
    for strategy, sizes in (("imgsyn", (1, 2, 4, 8, 16)), ("masksyn", (1, 2, 4, 8))):
        largest = f"bank-{strategy}-x{50 if strategy == 'imgsyn' else 16}"
        for size in sizes:
            stage = planned[f"bank-{strategy}-x{size}"]
            assert stage.needs == [f"semantic.{largest}"] and stage.command[-4:-2] == ["--replicas", str(size)]
    assert sum("tools/synthesize.py" in stage.command for stage in planned.values()) == 2


def test_banks_of_a_strategy_differ_in_their_sampler_alone():
    planned = stages(plan_table(Request("sampling", "toy", engine="transformers")))
    for strategy, network in (("imgsyn", "images"), ("masksyn", "masks")):
        commands = [stage.command for name, stage in planned.items() if name.startswith(f"bank-{strategy}-")]
        plain = {tuple(word for before, word in zip(["", *words], words, strict=False)
                       if before not in ("--output", *(f"{network}.{key}" for key in ("sampler", "karras", "steps")))) for words in commands}
        assert len(plain) == 1 and len(commands) == (11 if strategy == "imgsyn" else 5)


def test_both_orders_have_one_budget():
    planned = stages(plan_table(Request("weakest-first", "toy", engine="transformers")))
    words = {name: planned[f"bank-{name}"].command for name in ("imgsyn", "imgsyn-weakest")}
    budgets = [command[command.index("replicas") + 1] for command in words.values()]
    assert budgets[0] == budgets[1] and "weights" in words["imgsyn-weakest"] and "weights" not in words["imgsyn"]
    assert {"toy_train", "toy_test"}.isdisjoint(planned["weigher"].command[planned["weigher"].command.index("DATASETS.TEST") + 1].strip("[]'").split("','"))

"""What tools/synthesize.py does with its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_synthesis import command, contents, tiny_options

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.synthesis.command import synthesize


@pytest.fixture
def config(generators, toy_folder, tmp_path) -> str:
    command(tiny_options(generators, toy_folder), tmp_path)
    return str(tmp_path / "synthesis.yaml")


def test_a_dry_run_writes_nothing(config, tmp_path):
    text = synthesize("imgsyn", config, ["replicas", "100"], str(tmp_path / "bank"), workers=4, dry_run=True)
    assert "600 samples in 200 shards" in text and "with 4 workers" in text and "of memory a worker" in text
    assert not (tmp_path / "bank").exists()


def test_array_tasks_and_one_command_make_the_same_bank(config, tmp_path):
    for index in (1, 0):
        told = synthesize("imgsyn", config, [], str(tmp_path / "array"), array=(index, 2))
        assert f"the shards of task {index} of 2 are finished" in told
    told = synthesize("imgsyn", config, [], str(tmp_path / "one"))
    assert "12 samples, 0 rejected" in told
    assert contents(tmp_path / "array") == contents(tmp_path / "one")
    assert read_json(tmp_path / "array/options.json")["replicas"] == 2


@pytest.mark.parametrize("words, message", [
    ({"address": "head:6379"}, "--address is of a Ray cluster"),
    ({"executor": "dask"}, "--executor is not known"),
    ({"workers": 0}, "--workers is out of range"),
    ({"array": (2, 2)}, "worker index is out of range"),
    ({"array": (0, 2), "workers": 2}, "one of a job array"),
    ({"array": (0, 2), "executor": "ray"}, "one of a job array"),
])
def test_arguments_that_do_not_fit_are_told(config, tmp_path, words, message):
    with pytest.raises(SegGenError, match=message):
        synthesize("imgsyn", config, [], str(tmp_path / "bank"), **words)
    assert not Path(tmp_path / "bank").exists()


def test_a_url_that_lost_a_slash_is_told(config):
    with pytest.raises(SegGenError, match="no folder, and no URL"):
        synthesize("imgsyn", config, [], "s3:/bucket/bank")


def test_a_bank_whose_samples_were_all_rejected_is_no_success(config, tmp_path):
    for _ in range(2):  # nor is it when it is asked for again
        with pytest.raises(SegGenError, match="every sample of the bank .* was rejected(.|\n)*0 samples, 12 rejected(.|\n)*unsure colours"):
            synthesize("masksyn", config, ["quality.max_unsure", "0.0"], str(tmp_path / "bank"))

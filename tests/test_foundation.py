"""Files are whole or absent, seeds depend on names alone, options are typed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import read_json, write_aside, write_json
from seggen_d2.foundation.options import build, load_yaml, parse_overrides, read_yaml
from seggen_d2.foundation.seeds import derive_seed, unit_float
from seggen_d2.foundation.stopping import end_with_parent, stop_noted


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), write_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1} and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(SegGenError, match="no space left"), write_aside(tmp_path / "a") as aside:
        aside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "\xff"])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(SegGenError, match="x.json"):
        read_json(tmp_path / "x.json")


def test_seeds_are_fixed_for_good():
    assert derive_seed(0, "a", "masksyn", 1) == derive_seed(0, "a", "masksyn", 1)
    assert len({derive_seed("ab", "c"), derive_seed("a", "bc"), derive_seed("abc"), derive_seed(1), derive_seed("1")}) == 5
    assert derive_seed("seggen", 1) == 8008214507013765495
    assert all(0 <= unit_float("x", i) < 1 for i in range(100))


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True)
class Outer:
    steps: int
    sizes: tuple[int, ...] = (1,)
    inner: Inner = field(default_factory=Inner)


def test_options_are_typed_and_nested():
    options = build(Outer, {"steps": 3, "sizes": [4, 5], "inner": {"rate": "1e-4"}}, "x.yaml")
    assert options == Outer(3, (4, 5), Inner(1e-4))


@pytest.mark.parametrize("values,message", [({"step": 3}, "did you mean 'steps'"), ({}, "lacks steps"), ({"steps": "many"}, "wrong type"),
                                            ({"steps": True}, "wrong type"), ({"steps": 1, "inner": {"rat": 1}}, "x.yaml: inner")])
def test_wrong_options_are_refused(values, message):
    with pytest.raises(SegGenError, match=message):
        build(Outer, values, "x.yaml")


def test_yaml_bases_are_merged(tmp_path):
    (tmp_path / "base.yaml").write_text("a: 1\nb: {c: 2, d: 3}\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nb: {c: 5}\n")
    assert load_yaml(tmp_path / "top.yaml") == {"a": 1, "b": {"c": 5, "d": 3}}
    (tmp_path / "base.yaml").write_text("_BASE_: top.yaml\n")
    with pytest.raises(SegGenError, match="its own _BASE_"):
        load_yaml(tmp_path / "top.yaml")
    (tmp_path / "code.yaml").write_text('a: !!python/object/apply:eval ["1 + 1"]')
    with pytest.raises(SegGenError, match="write the value out"):
        load_yaml(tmp_path / "code.yaml")


def test_a_file_starts_from_several(tmp_path):
    """Each goes on top of those before it, the file itself on top of all."""
    (tmp_path / "size.yaml").write_text("a: 1\nb: {c: 1, d: 1}\n")
    (tmp_path / "data.yaml").write_text("b: {c: 2}\ne: 2\n")
    (tmp_path / "both.yaml").write_text("_BASE_: [size.yaml, data.yaml]\ne: 3\n")
    assert load_yaml(tmp_path / "both.yaml") == {"a": 1, "b": {"c": 2, "d": 1}, "e": 3}


def test_overrides():
    assert parse_overrides(["a.b", "3", "a.c", "true", "d", "x"]) == {"a": {"b": 3, "c": True}, "d": "x"}
    with pytest.raises(SegGenError, match="no value"):
        parse_overrides(["a"])


def test_ranges_and_choices():
    with pytest.raises(SegGenError, match="p_aug"):
        check_range("p_aug", 1.2, 0, 1)
    with pytest.raises(SegGenError, match="did you mean 'paired'"):
        check_choice("sampling", "pared", ["uniform", "paired"])


def _wait(ready):
    ready.send("here")
    time.sleep(60)


def test_a_forked_process_dies_of_sigterm_although_its_owner_notes_it():
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    with stop_noted() as stop:
        child = context.Process(target=_wait, args=(there,))
        child.start()
        assert here.poll(20)
        child.terminate()
        child.join(20)
        assert child.exitcode == -signal.SIGTERM and not stop.is_set()


def wait_for_parent(pid_file: str) -> None:
    end_with_parent()
    write_json(pid_file, os.getpid())
    time.sleep(60)


def test_a_process_ends_with_the_killed_one_that_started_it(tmp_path):
    script = f"import multiprocessing as m, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_foundation as t\n" \
             f"p = m.get_context('spawn').Process(target=t.wait_for_parent, args=({str(tmp_path / 'pid')!r},)); p.start(); p.join()"
    parent = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child = read_json(tmp_path / "pid")
    parent.kill()
    parent.wait()
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert time.monotonic() < deadline


@pytest.mark.parametrize("text", ["a: 1\nb: {c: 1, d: 2}\na: 2\n", "b: {c: 1, c: 2}\n", "- {c: 1, c: 2}\n"])
def test_a_key_that_stands_twice_is_told(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(SegGenError, match="names the key '[ac]' twice(.|\n)*again in line [13]"):
        read_yaml(path)
    path.write_text("a: {c: 1}\nb: {c: 1}\n")
    assert read_yaml(path) == {"a": {"c": 1}, "b": {"c": 1}}

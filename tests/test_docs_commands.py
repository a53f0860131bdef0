"""The commands of the documentation name files and options that are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("docs/*.md"), ROOT / "datasets/README.md"))
OWN = re.compile(r"\S+\.py$")


def commands(page: str) -> list[list[str]]:
    """The words of each ``python`` command in a page's ``sh`` blocks, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.search(r"\bpython ((?:-m seggen_d2|tools/|datasets/).*)", line) for line in lines]
    return [shlex.split(match.group(1), comments=True) for match in found if match]


def script(words: list[str]) -> tuple[str, ...]:
    """What is run: a file, or a module with its verb."""
    return tuple(words[:3]) if words[0] == "-m" else (words[0],)


@lru_cache
def help_of(what: tuple[str, ...]) -> str:
    done = subprocess.run([sys.executable, *what, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_commands_name_files_and_options_that_are_there(page):
    for words in commands(page):
        what = script(words)
        assert words[0] == "-m" or (ROOT / words[0]).is_file(), words[0]
        options = {word.split("=")[0] for word in words[: words.index("--") if "--" in words else None] if word.startswith("--")}
        unknown = [word for word in options if not re.search(rf"{re.escape(word)}\b", help_of(what))]
        assert not unknown, (what, unknown)
        for word in words:
            if re.fullmatch(r"configs/\S+\.yaml", word):
                assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target

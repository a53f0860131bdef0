"""Run a recipe's stages as processes: side by side, a core each, measured, and never twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import read_json, write_json
from seggen_d2.foundation.stopping import stop_noted

from .filling import command_line
from .recipe import Stage

POLL_SECONDS = 0.5


@dataclass
class _Running:
    stage: Stage
    process: subprocess.Popen
    cores: list[int]
    began: float
    log: Path
    peak: int = 0


@dataclass
class Runner:
    """Runs stages in order as their needs are met and cores are free.

    Args:
        stages: as :func:`load_recipe` gives them.
        output: stamps go to ``output/stages``, logs to ``output/logs``.
        cores: CPU numbers to use; a stage is pinned to its own.
        commit: what the stages' stamps say of the package's version.
    """

    stages: list[Stage]
    output: Path
    cores: list[int]
    commit: str = ""
    running: list[_Running] = field(default_factory=list)
    peak_total: int = 0
    before: dict = field(default_factory=dict)
    began: float = 0.0
    locks: list[int] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> list[dict]:
        """Run everything that is not done; returns a row ``{name, seconds, peak_rss_mb, cores}`` a stage.

        Raises:
            SegGenError: a stage failed (the end of its log is shown), or was made by another command; or another run works in the folder.
        """
        self._check_stamps()
        with _alone(self.output) as self.locks, stop_noted() as self.stopped:
            return self._run()

    def _run(self) -> list[dict]:
        path = self.output / "stages.json"
        self.before = read_json(path) if path.exists() else {"wall_seconds": 0, "peak_rss_mb": 0}
        self.began = time.monotonic()
        with tqdm(total=len(self.stages), unit="stage", bar_format="{n_fmt}/{total_fmt} stages |{bar:20}| {elapsed}  {postfix}") as bar:
            try:
                self._loop(bar)
            finally:
                self._stop()
                self._write_summary()
        return self.rows()

    def _loop(self, bar: tqdm) -> None:
        announced: set[str] = set()
        shown, refresh = 0.0, 1.0 if sys.stderr.isatty() else 30.0  # seconds
        while len(announced) < len(self.stages):
            if self.stopped.is_set():
                raise KeyboardInterrupt
            self._start_ready()
            self._measure()
            for job in [job for job in self.running if job.process.poll() is not None]:
                self._finish(job)
                self._write_summary()
            for stage in self.stages:
                if stage.name not in announced and self._done(stage):
                    announced.add(stage.name)
                    bar.update()
                    tqdm.write(f"  {stage.name}: {self._stamp(stage)['seconds']:.0f} s")
            bar.set_postfix_str("now: " + ", ".join(job.stage.name for job in self.running), refresh=False)
            if time.monotonic() - shown > refresh:
                bar.refresh()
                shown = time.monotonic()
            if self.running:
                time.sleep(POLL_SECONDS)

    # -- what is done ----------------------------------------------------------------------------------------------

    def _stamp_path(self, stage: Stage) -> Path:
        return self.output / "stages" / f"{stage.name}.json"

    def _stamp(self, stage: Stage) -> dict:
        path = self._stamp_path(stage)
        return read_json(path, "stage stamp") if path.exists() else {}

    def _done(self, stage: Stage) -> bool:
        stamp = self._stamp(stage)
        return "seconds" in stamp and stamp["key"] == stage.key and all(p.exists() for p in stage.produces)

    def _check_stamps(self) -> None:
        """What lies in a stage's folders was made by its command; one that was begun has a stamp, too, and may have left nothing."""
        for stage in self.stages:
            stamp = self._stamp(stage)
            kept = "seconds" in stamp or any(place.parent.is_dir() and any(place.parent.iterdir()) for place in stage.produces)
            if stamp and stamp["key"] != stage.key and kept:
                ours, theirs = command_line(stage.command), command_line(stamp["command"])
                found = theirs if theirs != ours else "the same words, when a config or dataset file that they name, or an earlier stage, was another"
                raise SegGenError(f"stage {stage.name} in {self.output} was made by another command, config or input", expected=ours, found=found,
                                  remedy=f"use another --output; or, to make it anew, remove {self._stamp_path(stage)} and what the stage made: "
                                  + ", ".join(str(place.parent) for place in stage.produces[:1]))

    def rows(self) -> list[dict]:
        """Measured stages, in order."""
        stamps = [self._stamp(stage) for stage in self.stages]
        return [{k: s[k] for k in ("name", "seconds", "peak_rss_mb", "cores")} for s in stamps if "seconds" in s]

    def commits(self) -> dict[str, str]:
        """The commit that each stage was made at, "" where it is not known."""
        return {stage.name: self._stamp(stage).get("commit", "") for stage in self.stages}

    def _write_summary(self) -> None:
        seconds = self.before["wall_seconds"] + time.monotonic() - self.began
        peak = max(self.before["peak_rss_mb"], round(self.peak_total / 1e6))
        write_json(self.output / "stages.json", {"stages": self.rows(), "wall_seconds": round(seconds, 1), "peak_rss_mb": peak})

    # -- processes -------------------------------------------------------------------------------------------------

    def _start_ready(self) -> None:
        busy = {core for job in self.running for core in job.cores}
        free = [core for core in self.cores if core not in busy]
        names = {job.stage.name for job in self.running}
        done = {stage.name for stage in self.stages if self._done(stage)}
        for stage in self.stages:
            ready = stage.name not in names | done and done.issuperset(stage.needs)
            wanted = min(stage.cores or len(self.cores), len(self.cores))
            if ready and wanted <= len(free):
                self.running.append(self._start(stage, free[:wanted]))
                free = free[wanted:]

    def _start(self, stage: Stage, cores: list[int]) -> _Running:
        log = self.output / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._stamp_path(stage), self._facts(stage))
        command = [sys.executable if word == "python" else word for word in stage.command]
        threads = {"OMP_NUM_THREADS": str(len(cores)), "OMP_WAIT_POLICY": "passive"} if stage.cores else {}
        environment = {**os.environ, **threads, "PYTHONUNBUFFERED": "1"}
        with open(log, "ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, pass_fds=self.locks)
        if stage.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, cores)
        return _Running(stage, process, cores, time.monotonic(), log)

    def _measure(self) -> None:
        total = _rss(psutil.Process())
        for job in self.running:
            now = _tree_rss(job.process.pid)
            job.peak, total = max(job.peak, now), total + now
        self.peak_total = max(self.peak_total, total)

    def _finish(self, job: _Running) -> None:
        self.running.remove(job)
        missing = [str(p) for p in job.stage.produces if not p.exists()]
        if job.process.returncode or missing:
            tail = job.log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()[-15:]
            raise SegGenError(f"stage {job.stage.name} failed with exit code {job.process.returncode}",
                              expected=", ".join(missing) or "exit code 0", found="\n    " + "\n    ".join(tail),
                              remedy=f"mend what its log ({job.log}) names; the same command goes on from there")
        measured = {"cores": len(job.cores), "seconds": round(time.monotonic() - job.began, 1), "peak_rss_mb": round(job.peak / 1e6)}
        write_json(self._stamp_path(job.stage), {**self._facts(job.stage), **measured})

    def _facts(self, stage: Stage) -> dict:
        return {"name": stage.name, "key": stage.key, "command": stage.command, "commit": self.commit}

    def _stop(self) -> None:
        """End what still runs; every tool goes on from its own state when it is started again."""
        for job in self.running:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(job.process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.terminate()
            job.process.terminate()
        for job in self.running:
            job.process.wait()


@contextmanager
def _alone(folder: Path) -> Iterator[list[int]]:
    """Keep other runs out of a folder while this one works there. Nothing is kept out on Windows.

    Yields:
        File descriptors to pass on to processes: the lock ends with the last that has them, be this one killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            yield []
        except OSError as error:
            raise SegGenError(f"another run works in {folder}, or a stage of one that was killed", expected="one at a time",
                              found=f"its lock {file.name} is held", remedy="wait for it, or give another --output") from error
        else:
            yield [file.fileno()]


def usable_cores(count: int | None = None) -> list[int]:
    """The numbers of ``count`` CPU cores that this process may use; of two, or the only one, where no count is given.

    Raises:
        SegGenError: there are fewer.
    """
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return available[: check_range("--cores", min(2, len(available)) if count is None else count, 1, len(available))]


def _tree_rss(pid: int) -> int:
    try:
        parent = psutil.Process(pid)
        return _rss(parent) + sum(_rss(child) for child in parent.children(recursive=True))
    except psutil.NoSuchProcess:
        return 0


def _rss(process: psutil.Process) -> int:
    """Resident bytes; 0 for a process that has just ended."""
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0

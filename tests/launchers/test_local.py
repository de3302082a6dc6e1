"""Workers as processes: what becomes of those that hang, and of all that they have started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from command_line import Query, Run

HANGS = """
import ctypes, os, subprocess, time
from pathlib import Path

def objective(recipe, report, how="sleep"):
    report(1, 1.0)
    if recipe.lr > 0.05:
        return
    child = subprocess.Popen(["sleep", "1000"])
    Path("pids").write_text(f"{os.getpid()} {child.pid}")
    if how == "holding the lock":
        ctypes.PyDLL(None).sleep(1000)
    while True:
        time.sleep(1)
"""
SWEEP = ("+sweep=digits", "objective._target_=hangs.objective", "study.n_trials=2", "workers=1",
         "study.name=h", "study.try_first=[{lr: 0.01}, {lr: 0.1}]", "sampler=random")  # fmt: skip
TIMEOUT = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a training that hangs at a low learning rate, after it has begun a child."""
    (tmp_path / "hangs.py").write_text(HANGS)
    return tmp_path


def started(folder: Path) -> list[int]:
    """The worker that hangs, and its child."""
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits; fails after a minute."""
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sleep", "holding the lock"])
def test_a_training_that_hangs_is_given_up_and_the_sweep_goes_on(
    lrsearch: Run, query: Query, folder: Path, how: str
) -> None:
    done = lrsearch(*SWEEP, f"+objective.how={how}", "queue.stall_timeout=2",
                    "queue.max_attempts=2")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = query("select outcome, deaths, reason from lrsearch_units order by number")
    (first, deaths, reason), (second, none, _) = rows
    assert (first, deaths, second, none) == ("crashed", 2, "complete", 0)
    assert re.search(r"no progress for \d+ s .*queue\.stall_timeout", str(reason))
    assert len(re.findall("was ended: .* no progress", done.stdout)) == 2
    assert all(map(gone, started(folder)))


@pytest.mark.slow
def test_a_worker_that_hangs_ends_with_its_parent_and_so_does_what_it_has_started(
    folder: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "lrsearch", *SWEEP]
    parent = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    wait_until((folder / "pids").exists)
    parent.kill()
    parent.wait()
    wait_until(lambda: all(map(gone, started(folder))))


@pytest.mark.slow
def test_a_worker_started_by_hand_ends_itself_with_words_and_an_exit_code_of_its_own(
    lrsearch: Run, query: Query, folder: Path
) -> None:
    assert lrsearch("submit", *SWEEP, "queue.stall_timeout=2").returncode == 0
    done = lrsearch("worker", "--sweep", "h")
    assert done.returncode == 70
    assert "no progress" in done.stderr
    assert 'hangs.py", line' in done.stderr  # where
    assert query("select state, deaths from lrsearch_units where number = 0") == [("open", 1)]
    assert all(map(gone, started(folder)))


@pytest.mark.slow
def test_a_worker_that_was_stopped_and_wakes_goes_on(
    lrsearch: Run, query: Query, folder: Path, environment: dict[str, str]
) -> None:
    (folder / "slow.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "def objective(recipe, report):\n"
        "    Path('pids').write_text(str(os.getpid()))\n"
        "    for epoch in range(1, 7):\n"
        "        time.sleep(0.5)\n"
        "        report(epoch, 1.0)\n"
    )
    command = [sys.executable, "-m", "lrsearch", *SWEEP, "objective._target_=slow.objective",
               "study.n_trials=1", "queue.stall_timeout=2"]  # fmt: skip
    parent = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    wait_until((folder / "pids").exists)
    (worker,) = started(folder)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(20)  # longer than the limit and what the parent adds to it
    os.kill(worker, signal.SIGCONT)
    assert parent.wait(TIMEOUT) == 0
    assert query("select outcome, deaths, attempts from lrsearch_units") == [("complete", 0, 1)]

"""Cost of commands, the dashboard and a worker for a study of thousands of trials.

Creates a study on SQLite of `--trials` trials with up to `--evaluations` evaluations: complete,
pruned, diverged, failed and crashed ones, of several optimizers and schedulers. Then runs each
command as a process of its own, and holds its seconds and its peak memory, as the operating system
counts them, against the goals. `--output` writes the raw numbers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Import nothing large: memory that a process inherits at its start counts as its own.
from machine import describe_machine

NAME = "large"
_STUDY = Path(__file__).with_name("scale_study.py")


@dataclass(frozen=True)
class Goal:
    """Goal for 5,000 trials of 50 evaluations; None where there is none."""

    seconds: float
    megabytes: float | None


GOALS = {
    "status": Goal(1.5, 150), "best": Goal(1.5, 150), "show": Goal(1.5, 150),
    "try": Goal(1.5, 150), "export csv": Goal(math.inf, 150), "export json": Goal(math.inf, 150),
    "report": Goal(6, 300), "dashboard": Goal(5, None), "suggestion": Goal(3, 700),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Cost of one process."""

    seconds: float
    """Wall-clock seconds."""
    cpu: float
    """Processor seconds, user and system."""
    megabytes: float
    """Peak resident memory."""
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5_000)
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3, help="of each the fastest counts")
    parser.add_argument("--only", default=",".join(GOALS), help="some of: " + ", ".join(GOALS))
    parser.add_argument("--folder", type=Path, help="keeps the study there, and takes it again")
    parser.add_argument("--output", type=Path, help="file of the raw numbers")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="lrscale-"))
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / 'scale.db'}"
    if not (folder / "scale.db").exists():
        sizes = [str(options.trials), str(options.evaluations)]
        subprocess.run([sys.executable, _STUDY, "make", url, *sizes], check=True)
    print(f"{'':12} {'seconds':>8} {'goal':>5} {'CPU s':>7} {'MB':>6} {'goal':>5}")
    rows: list[dict[str, Any]] = []
    machine = describe_machine()
    for what in options.only.split(","):
        cost = min((measure(what, url, folder) for _ in range(options.rounds)),
                   key=lambda one: one.seconds)  # fmt: skip
        rows.append({"what": what, "trials": options.trials, **asdict(cost)})
        print(_line(what, cost, GOALS[what]), flush=True)
        if options.output is not None:
            write(options.output, machine, options.evaluations, rows)
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)


def write(
    file: Path, machine: dict[str, Any], evaluations: int, rows: list[dict[str, Any]]
) -> None:
    """Write the measurements so far, with the machine and the goals."""
    goals = {what: _plain(goal) for what, goal in GOALS.items()}
    document = {"machine": machine, "evaluations": evaluations, "goals": goals, "rows": rows}
    file.write_text(json.dumps(document, indent=1) + "\n")


def _line(what: str, cost: Cost, goal: Goal) -> str:
    memory = goal.megabytes or math.inf
    missed = cost.seconds > goal.seconds or cost.megabytes > memory
    return (
        f"{what:12} {cost.seconds:8.2f} {_shown(goal.seconds):>5} {cost.cpu:7.2f} "
        f"{cost.megabytes:6.0f} {_shown(memory):>5}  {'NOT MET' if missed else 'met'}"
        f"{f'  ({cost.note})' if cost.note else ''}"
    )


def _shown(goal: float) -> str:
    return "-" if math.isinf(goal) else f"{goal:g}"


def _plain(goal: Goal) -> dict[str, float | None]:
    seconds = None if math.isinf(goal.seconds) else goal.seconds
    return {"seconds": seconds, "megabytes": goal.megabytes}


def measure(what: str, url: str, folder: Path) -> Cost:
    """Measure one process from start to end, the dashboard to its first page."""
    if what in ("try", "suggestion"):  # they write: each round gets a copy of the study
        for file in folder.glob("scale.db*"):
            shutil.copy(file, folder / file.name.replace("scale", "copy"))
        url = url.replace("scale.db", "copy.db")
    storage = f"storage.url={url}"
    lrsearch = [sys.executable, "-m", "lrsearch"]
    match what:
        case "dashboard":
            return first_page([*lrsearch, "dashboard", "--port", "0", storage], url)
        case "suggestion":
            cost, said = run([sys.executable, str(_STUDY), "suggest", url], folder)
            return Cost(**{**asdict(cost), **json.loads(said.splitlines()[-1])})
    arguments = {
        "status": ["status", NAME],
        "best": ["best", NAME],
        "show": ["show", NAME, "7"],
        "try": ["try", NAME, "lr=0.01"],
        "export csv": ["export", NAME, "--output", str(folder / "csv")],
        "export json": ["export", NAME, "--format", "json", "--output", str(folder / "all.json")],
        "report": ["report", NAME, "--output", str(folder / "report.html")],
    }[what]
    return run([*lrsearch, *arguments, storage], folder)[0]


def run(command: Sequence[str], folder: Path) -> tuple[Cost, str]:
    """Run a process to its end; return its cost and its output."""
    with (folder / "said").open("w+") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), text


def first_page(command: Sequence[str], url: str) -> Cost:
    """Measure from the dashboard's first line to the study's whole page, as a browser loads it."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute("select study_id from lrsearch_studies where name = ?", [NAME])
        (study_id,) = found.fetchone()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = re.search(r"http://\S+/", process.stdout.readline())
    assert address is not None, "the dashboard says where it is"
    started, size = time.perf_counter(), 0
    for path in (f"dashboard/studies/{study_id}", "api/meta", f"api/studies/{study_id}?after=0"):
        request = urllib.request.Request(
            address[0] + path, headers={"Accept-Encoding": "gzip, deflate"}
        )
        with urllib.request.urlopen(request) as answer:
            size += len(answer.read())
    seconds = time.perf_counter() - started
    process.terminate()
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    process.stdout.close()
    note = f"{size / 1e6:.1f} MB sent"
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, note)


if __name__ == "__main__":
    main()

"""Makes the pictures of the documentation: docs/running.svg and docs/result.svg.

They show a real MNIST sweep. Run from the top of the checkout: `.venv/bin/python docs/pictures.py`
(minutes; LRSEARCH_DATA says where MNIST is).
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from lrsearch.cli.compose import load_settings
from lrsearch.cli.display import LiveDisplay
from lrsearch.cli.results import conclude
from lrsearch.data.prepare import prepare
from lrsearch.storage.database import Database
from lrsearch.study.progress import Progress
from lrsearch.study.study import load_row

DOCS = Path(__file__).resolve().parent
COMMAND = "python -m lrsearch +sweep=mnist"
SHOWN_AFTER = 12
"""Finished trials after which the running sweep is drawn."""


def recorder() -> Console:
    """A terminal that keeps what it shows and prints nothing."""
    return Console(record=True, file=io.StringIO(), force_terminal=True, width=130, highlight=False)


def main() -> None:
    """Runs the sweep in a temporary folder and draws it."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "lrsearch", "+sweep=mnist"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None, "it is a pipe"
        os.chdir(folder)
        display = LiveDisplay(recorder(), load_settings(["+sweep=mnist"]).metric, [])
        seen = 0
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("[") and seen < SHOWN_AFTER:
                now = progress()
                display.update(now.snapshot(), now.finished(seen))
                seen = len(now.finished())
                if seen >= SHOWN_AFTER:
                    draw_running(display, now)
        if process.wait() != 0:
            sys.exit("the sweep failed")
        draw_result()


def database() -> Database:
    """That of the sweep."""
    return Database("sqlite:///lrsearch.db")


def progress() -> Progress:
    """The study's progress."""
    return Progress(database().session, load_row(database(), "mnist").study_id)


def draw_running(display: LiveDisplay, now: Progress) -> None:
    """The live display as soon as every running trial has been evaluated."""
    snapshot = now.snapshot()
    while any(one.epoch is None for one in snapshot.running):
        snapshot = now.snapshot()  # they are quick
    console = recorder()
    console.print(f"$ {COMMAND}", markup=False)
    console.print(display.render(snapshot))
    console.save_svg(str(DOCS / "running.svg"), title=COMMAND)


def draw_result() -> None:
    """What the command prints at its end."""
    settings = load_settings(["+sweep=mnist"])
    console = recorder()
    conclude(console, settings, prepare(settings.data), database(), Path("outputs/mnist"))
    console.save_svg(str(DOCS / "result.svg"), title=COMMAND)


if __name__ == "__main__":
    main()

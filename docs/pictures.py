"""Makes the pictures of the documentation from one real sweep of MNIST.

Run it at each release, from the top of the checkout: `make pictures`, or

    .venv/bin/python docs/pictures.py [FOLDER]

It takes minutes, and less with a FOLDER in which it has been before: then the sweep there is drawn,
and `running.svg` stays. LRSEARCH_DATA says where MNIST is. The pictures of the dashboard and of the
report need Chromium and the packages of `lrsearch[test]`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from picture_facts import record
from rich.console import Console
from screenshots import draw_pages

from lrsearch.cli.compose import load_settings
from lrsearch.cli.display import LiveDisplay, Shown
from lrsearch.cli.results import conclude
from lrsearch.data.prepare import prepare
from lrsearch.storage.database import Database
from lrsearch.study.progress import Progress
from lrsearch.study.study import load_row

DOCS = Path(__file__).resolve().parent
SWEEP = "+sweep=mnist"
COMMAND = f"python -m lrsearch {SWEEP}"
SHOWN_AFTER = 12
"""Finished trials after which the running sweep is drawn."""


class Recorder(Console):
    """A terminal that wraps long lines, as a picture would cut them."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **{**options, "soft_wrap": False})


def recorder() -> Console:
    """A terminal that keeps what it shows and prints nothing."""
    return Recorder(
        record=True, file=io.StringIO(), force_terminal=True, width=130, highlight=False
    )


def main() -> None:
    """Sweep in a folder unless that has been done, and draw all pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if sys.argv[1:] else temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        if not Path("lrsearch.db").exists():
            run_sweep()
        draw_result()
        draw_pages(folder / "lrsearch.db")
    record()


def run_sweep() -> None:
    """Run the sweep, and draw the live display while it runs."""
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    process = subprocess.Popen(
        [sys.executable, "-m", "lrsearch", SWEEP],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None, "it is a pipe"
    display = LiveDisplay(recorder(), Shown.of(load_settings([SWEEP]), spent=0.0), [])
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


def database() -> Database:
    """The database of the sweep."""
    return Database("sqlite:///lrsearch.db")


def progress() -> Progress:
    """The progress of the sweep."""
    return Progress(database().session, load_row(database(), "mnist").study_id)


def draw_running(display: LiveDisplay, now: Progress) -> None:
    """Draw the live display as soon as every running trial has been evaluated."""
    snapshot = now.snapshot()
    while any(trial.epoch is None for trial in snapshot.running):
        snapshot = now.snapshot()  # they are quick
    console = recorder()
    console.print(f"$ {COMMAND}", markup=False)
    console.print(display.render(snapshot))
    console.save_svg(str(DOCS / "running.svg"), title=COMMAND)


def draw_result() -> None:
    """Draw what the command prints at its end."""
    settings = load_settings([SWEEP])
    console = recorder()
    conclude(console, settings, prepare(settings.data), database(), Path("outputs/mnist"))
    console.save_svg(str(DOCS / "result.svg"), title=COMMAND)


if __name__ == "__main__":
    main()

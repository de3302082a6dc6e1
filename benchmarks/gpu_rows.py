"""Parts that the checks of the GPU benchmark share: the plan, a row, sweeps as processes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

LONGEST_COMMAND = 150.0
"""Seconds after which a command counts as hung."""


@dataclass(frozen=True)
class Row:
    """One row of the table of results."""

    what: str
    found: str
    ok: bool | None
    """Whether the check passed; None for a measurement, or a check that could not run."""
    value: float | None = None

    def __str__(self) -> str:
        mark = {True: "ok", False: "WRONG", None: ""}[self.ok]
        return f"{self.what:44} {self.found:52} {mark}"


@dataclass(frozen=True)
class Plan:
    """Folder, device, data and size of the benchmark."""

    folder: Path
    """Folder for all files that are written."""
    data: Path | None
    device: str
    short: bool

    @cached_property
    def dataset(self) -> str:
        """`mnist` if its files are there, else scikit-learn's `digits`."""
        return "mnist" if self.data is not None and not self.short else "digits"

    @property
    def arguments(self) -> list[str]:
        """Arguments of all sweeps."""
        found = [f"train.device={self.device}", "confirm=null"]
        if self.dataset == "mnist":
            found += [f"data.root={self.data}", "data.fallback=null"]
        return found

    @property
    def environment(self) -> dict[str, str]:
        own = {"LRSEARCH_CACHE": str(self.folder / "cache"), "PYTHONPATH": self._path}
        return {**os.environ, **own}

    @property
    def _path(self) -> str:
        above = str(Path(__file__).resolve().parent.parent)
        return os.pathsep.join([str(self.folder), above, os.environ.get("PYTHONPATH", "")])

    def lrsearch(self, *arguments: str) -> str:
        """Run a command in the folder; return its output. Raises RuntimeError where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "lrsearch", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_COMMAND,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr)[-2000:]
            raise RuntimeError(f"exit code {done.returncode} of {' '.join(arguments)}: {said}")
        return done.stdout

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker in the background."""
        with (self.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "lrsearch", "worker", "--until-empty"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def query(self, sql: str, *values: Any) -> list[Any]:
        """Return rows of the sweeps' database."""
        with closing(sqlite3.connect(self.folder / "lrsearch.db", timeout=60)) as connection:
            return connection.execute(sql, values).fetchall()

    def units(self, study: str) -> list[dict[str, Any]]:
        """Return the finished trials of a study by number."""
        rows = self.query(
            "SELECT u.number, u.outcome, u.value, u.recipe, u.device, u.attempts, u.trial_id"
            " FROM lrsearch_units u JOIN lrsearch_studies s ON s.study_id = u.study_id"
            " WHERE s.name = ? ORDER BY u.number",
            study,
        )
        names = ("number", "outcome", "value", "recipe", "device", "attempts", "trial_id")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [{**one, "recipe": json.loads(one["recipe"] or "null")} for one in found]

    def seconds(self, study: str) -> float:
        """Return the seconds from the start of a study's first trial to the end of its last one."""
        [(seconds,)] = self.query(
            "SELECT (julianday(max(t.datetime_complete)) - julianday(min(t.datetime_start)))"
            " * 86400 FROM trials t JOIN lrsearch_studies s ON s.study_id = t.study_id"
            " WHERE s.name = ?",
            study,
        )
        return float(seconds)

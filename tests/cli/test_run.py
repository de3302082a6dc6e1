"""What a sweep's command gives to the launcher of its workers."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console
from told_sweep import ToldSweep

from lrsearch.cli.run import launch_sweep
from lrsearch.launchers.base import Sweep
from lrsearch.launchers.local import Local
from lrsearch.settings import RuntimeSettings
from lrsearch.study.study import OpenStudy
from lrsearch.workers.abilities import LABELS
from lrsearch.workers.patience import VARIABLE as PATIENCE


class Attached(Exception):
    """The launcher was given its sweep."""


class Asked(Local):
    """A launcher that starts nothing."""

    def attach(self, sweep: Sweep) -> NoReturn:
        raise Attached(sweep)


def sweep_of(url: str, tmp_path: Path) -> Sweep:
    told = ToldSweep(url)
    runtime = RuntimeSettings(url, None, 1, str(tmp_path), False)
    study = OpenStudy(told.name, told.study_id, told.queue, False, 6, ())
    try:
        with pytest.raises(Attached) as attached:
            launch_sweep(told.settings, runtime, told.database, study, Console(quiet=True), Asked())
    finally:
        told.close()
    (sweep,) = attached.value.args
    assert isinstance(sweep, Sweep)
    return sweep


def test_workers_elsewhere_get_the_labels_and_the_patience_of_the_command(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LABELS, "a100,fast")
    environment = sweep_of(url, tmp_path).environment
    assert environment[LABELS] == "a100,fast"
    assert float(environment[PATIENCE]) > 0
    monkeypatch.delenv(LABELS)
    assert LABELS not in sweep_of(url, tmp_path).environment

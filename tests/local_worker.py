"""Studies in the current folder, and a worker on them in this process."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from lrsearch.cli.compose import load_configuration
from lrsearch.data.prepare import prepare
from lrsearch.storage.optuna_bridge import open_database
from lrsearch.study.study import OpenStudy, open_study
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.locations import Locations
from lrsearch.workers.service import Service
from lrsearch.workers.stop import Stop

URL = "sqlite:///lrsearch.db"


def submit(*overrides: str) -> OpenStudy:
    """Stores the study of a command line, or opens it again."""
    configuration = load_configuration(overrides)
    settings, runtime = configuration.settings, configuration.runtime
    studies, database = open_database(runtime.storage_url)
    info = None if settings.objective else prepare(settings.data)
    study = open_study(settings, info, database, studies, runtime.checkpoints_url)
    studies.close()
    return study


def serve(
    *only: str,
    stop_after: int | None = None,
    until_empty: bool = True,
    url: str = URL,
    stop_when: Callable[[], bool] = lambda: False,
    idle_timeout: float | None = None,
) -> ExitCode:
    """Works until nothing is left, until it has asked so often whether to stop, or until a moment.

    `stop_when` says whether that moment has come.
    """
    asked = 0

    def is_set() -> bool:
        nonlocal asked
        asked += 1
        return stop_when() or (stop_after is not None and asked > stop_after)

    stop = Stop(is_set, wait=lambda seconds: is_set())
    gc.freeze()  # a worker looks for garbage as it begins: not in all that tests have loaded
    service = Service(Locations(url), Assignment(only, until_empty, idle_timeout), stop)
    code = service.work()
    service.close()
    return code


def own_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What lrsearch logged: servers of other tests end whenever they like, and say so."""
    return [one.getMessage() for one in caplog.records if one.name.startswith("lrsearch.")]

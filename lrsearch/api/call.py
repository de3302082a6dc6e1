"""One call from Python: where it trains, and the run of its study."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from lrsearch.cli.check_sweep import check_machine, check_sweep, output_of
from lrsearch.cli.results import conclude
from lrsearch.cli.run import launch_sweep, refresh_dashboard, store_sweep
from lrsearch.data.spec import DataInfo
from lrsearch.errors import LrsearchError
from lrsearch.launchers import build_launcher
from lrsearch.launchers.base import Launcher
from lrsearch.launchers.pickled import pickled
from lrsearch.own_code import MAIN, dotted_path, name_of
from lrsearch.settings import Configuration, Settings
from lrsearch.states import StudyState
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.study.progress import Progress
from lrsearch.study.study import OpenStudy
from lrsearch.workers.locations import Locations


class StudyPlace(NamedTuple):
    """Where a study is."""

    name: str
    locations: Locations
    output_dir: Path
    """The folder in which each study has a folder of its own."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Where a call trains, and the function that other processes cannot import."""

    in_process: bool
    functions: Mapping[str, Callable[..., object]]
    """That function, if any, by the dotted path it is stored with."""

    @classmethod
    def of(cls, objective: object, workers: int | str | None, path: str | None = None) -> Training:
        """Decide where to train: in this process where that is asked for (0 workers), or where
        other processes cannot import the objective and no number of workers is given.

        `path` is the dotted path of the objective in a study that exists.
        """
        functions = {}
        if callable(objective) and (path is not None or dotted_path(objective) is None):
            functions = {path or f"{MAIN}.{identifier(name_of(objective))}": objective}
        in_process = workers == 0 or (workers is None and bool(functions))
        return cls(in_process, functions)

    @contextlib.contextmanager
    def environment(self, folder: Path) -> Iterator[dict[str, str]]:
        """Environment variables for worker processes, with what they need in the block.

        `folder` is for a pickled function.
        """
        # What this process can import, its workers can, too.
        paths = {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        if self.in_process or not self.functions:
            yield paths
            return
        ((path, function),) = self.functions.items()
        with pickled(path, function, folder) as variables:
            yield paths | variables


def identifier(name: str) -> str:
    """The name of a function as part of a dotted path; `objective` for a lambda."""
    return name if name.isidentifier() else "objective"


class _Stored(NamedTuple):
    """The study of a call in its database."""

    place: StudyPlace
    settings: Settings
    info: DataInfo | None
    database: Database
    study: OpenStudy
    studies: Studies


@dataclasses.dataclass(frozen=True)
class Call:
    """A call: its configuration, and how it trains."""

    configuration: Configuration
    training: Training
    console: Console
    name: str | None = None
    """The name of a study that exists, which keeps it where other data stand in for its own."""

    def store(self) -> StudyPlace:
        """Create or resume the study without training. Raises UserError or OwnCodeError."""
        stored = self._stored(None)
        stored.studies.close()
        return stored.place

    def run(self) -> StudyPlace:
        """Create or resume the study, and train until nothing is left or it is stopped.

        Raises UserError or OwnCodeError before anything is stored, and LrsearchError where the
        study was stopped by failures.
        """
        config = self.configuration.runtime.launcher
        launcher = None if self.training.in_process else build_launcher(config)
        place, settings, info, database, study, studies = self._stored(launcher)
        runtime = self.configuration.runtime
        output = output_of(runtime, settings)
        with self.training.environment(output) as environment:
            supervisor = launch_sweep(
                settings, runtime, database, study, self.console, launcher, environment
            )
        if supervisor.is_left:
            return place
        conclude(self.console, settings, info, database, output)
        refresh_dashboard(self.console, database, study.name)
        snapshot = Progress(database.session, study.study_id).snapshot()
        studies.close()
        if snapshot.state == StudyState.FAILED:
            raise LrsearchError(f"the study {study.name} has stopped: {snapshot.stopped}")
        if supervisor.interrupts:
            self.console.print("stopped; the same call goes on", markup=False)
        return place

    def _stored(self, launcher: Launcher | None) -> _Stored:
        check_machine(self.configuration, launcher)
        runtime = self.configuration.runtime
        settings, info, plan = check_sweep(self.configuration.settings, self.console)
        if self.name is not None and settings.study.name != self.name:
            settings = dataclasses.replace(
                settings,
                study=dataclasses.replace(settings.study, name=self.name),
                plain={**settings.plain, "study": {**settings.plain["study"], "name": self.name}},
            )
        settings, studies, database, study = store_sweep(
            settings, runtime, info, plan, self.console
        )
        locations = Locations(runtime.storage_url, runtime.checkpoints_url)
        place = StudyPlace(study.name, locations, output_of(runtime, settings).parent)
        return _Stored(place, settings, info, database, study, studies)

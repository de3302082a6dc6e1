"""A study as an object: its results, further trials, and trials for trainings of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsearch.analysis.findings import findings
from lrsearch.analysis.study_data import StudyData, read_study
from lrsearch.analysis.tables import trials_rows
from lrsearch.api.call import Call, StudyPlace, Training
from lrsearch.checkpoints.store import Store
from lrsearch.checkpoints.weights import load_weights
from lrsearch.cli.display import make_console
from lrsearch.cli.locations import read_locations
from lrsearch.cli.report import report_page
from lrsearch.config.load import stored_settings
from lrsearch.errors import UserError
from lrsearch.files import write_whole
from lrsearch.objectives.trial import Trial
from lrsearch.own_code import MAIN, is_of_main, provided
from lrsearch.plots.interactive import study as figures
from lrsearch.recipe import Recipe
from lrsearch.settings import Configuration, RuntimeSettings
from lrsearch.storage.database import open_existing
from lrsearch.text.formatting import number, plural
from lrsearch.text.hints import unknown
from lrsearch.text.redaction import redacted
from lrsearch.workers.asked import AskedTrial, Asks
from lrsearch.workers.locations import Locations

if TYPE_CHECKING:
    import pandas
    import torch
    from plotly.graph_objects import Figure

PLOTS = {
    "lr": figures.LOSS_VS_LR,
    "curves": figures.CURVES,
    "rates": figures.RATES,
    "batch_size": figures.MAP,
    "importance": figures.IMPORTANCE,
    "range_test": figures.RANGE_TEST,
    "families": figures.FAMILIES,
    "optimizers": figures.OPTIMIZERS,
    "heat_map": figures.HEAT_MAP,
    "space": figures.SPACE,
    "divergence": figures.FRONTIER,
    "parallel": figures.PARALLEL,
    "spent": figures.SPENT,
    "confirmed": figures.CONFIRMED,
}
"""The figures of the report by the names that `Study.plot` takes."""
_functions: dict[tuple[str, str], Callable[..., Any]] = {}
"""The functions that this process has searched with, by the database and the study's name."""


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a study."""

    number: int
    """Number of the trial, as in the dashboard."""
    value: float
    """The metric: its best or last evaluation, as `metric.at` says."""
    recipe: Recipe
    """The recipe, which `recipe.build(model, steps=...)` makes use of."""
    seed: int
    """Seed of the training."""
    searched: Collection[str] = ()
    """Names of the parameters that were searched."""

    def __str__(self) -> str:
        return f"trial {self.number}: {number(self.value)}  {self.recipe.describe(self.searched)}"


class Study:
    """A study in a database. Everything is read anew at each call, also while workers train."""

    def __init__(
        self,
        name: str,
        locations: Locations,
        output_dir: Path,
        objective: Callable[..., Any] | None = None,
    ) -> None:
        """Name a study that exists; `load_study` and `search` return one.

        `output_dir` is the folder in which each study has a folder of its own, `objective` the
        function that trains it, where this process has that.
        """
        if objective is not None:
            _functions[locations.url, name] = objective
        self.name = name
        self.output = output_dir / name
        """The folder of its files: `best.yaml`, `best.py`, `trials.csv`, `report.html`."""
        self._locations = locations
        self._asks: Asks | None = None

    def __repr__(self) -> str:
        study = self._read(curves=False)
        words = [f"{study.done} of {plural(study.total, 'trial')}"]
        if study.ranked:
            best = study.ranked[0]
            words.append(f"best trial {best.number}: {study.metric.name} {number(best.value)}")
        return f"<Study {self.name}: {', '.join(words)}; in {redacted(self._locations.url)}>"

    # Results

    @property
    def best(self) -> BestTrial:
        """The best complete trial: the one that fresh seeds have confirmed, else by its value.

        Raises UserError where no trial is complete.
        """
        study = self._read(curves=False)
        if not study.ranked:
            raise UserError(f"{self.name} has no complete trial as yet: see trials()")
        best = study.ranked[0]
        assert best.value is not None, "a complete trial has a value"
        assert best.recipe is not None, "a complete trial has a recipe"
        return BestTrial(best.number, best.value, best.recipe, best.seed, study.searched)

    def trials(self) -> pandas.DataFrame | list[dict[str, Any]]:
        """The trials that have begun, a row each, with the columns of `trials.csv`.

        A pandas DataFrame; where pandas is not installed, a list with a dict for each row.
        `seconds` is the time of the training in seconds, `value` the metric.
        """
        rows = trials_rows(self._read())
        try:
            import pandas
        except ImportError:
            return rows
        return pandas.DataFrame(rows)

    def plot(self, name: str = "lr") -> Figure:
        """A figure of the report as a Plotly figure, which a notebook shows.

        - `lr`: the metric against the peak learning rate; `batch_size`: against both.
        - `curves`: the metric over the epochs; `rates`: the learning rates over the steps.
        - `families`, `optimizers`: at equal tuning; `heat_map`: each optimizer with each scheduler.
        - `importance`, `parallel`, `space`: what mattered, and where in the space.
        - `divergence`: where training breaks; `range_test`, `confirmed`, `spent`.

        Raises UserError for another name, and where there is nothing to show as yet.
        """
        if name not in PLOTS:
            raise UserError(f"plot: {unknown(name, PLOTS)}")
        study = self._read(thinned=True)
        drawn = figures.report_figures(study, findings(study))
        if PLOTS[name] not in drawn:
            known = [key for key, figure in PLOTS.items() if figure in drawn]
            raise UserError(
                f"plot: {self.name} has nothing to show in {name} as yet "
                f"(there: {', '.join(known) or 'nothing'})"
            )
        return drawn[PLOTS[name]]

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report as one HTML page that works offline; return its path.

        By default `report.html` in the folder of the study's outputs. Raises UserError if it cannot
        be written.
        """
        file = self.output / "report.html" if path is None else Path(path)
        study = self._read(thinned=True)
        page = report_page(study, self._locations.url, self.output / "best.yaml")
        try:
            write_whole(file, page)
        except OSError as error:
            raise UserError(f"report: cannot write {file}: {error.strerror}") from None
        return file

    def best_weights(self) -> dict[str, torch.Tensor]:
        """The kept weights of the best trial as a `state_dict`, on the CPU.

        Raises UserError where none were kept: `train.keep_best` is 0, the training has not called
        `trial.keep_weights`, or the best trial by fresh seeds was not among the best by value.
        """
        study, best = self._read(curves=False), self.best.number
        store = Store(self._locations.checkpoints or study.record["checkpoints"])
        folder = f"{self.name}-{study.study_id}"
        kept = store.kept(folder)
        if best not in kept:
            there = ", ".join(map(str, kept)) or "none"
            raise UserError(
                f"the weights of trial {best} of {self.name} were not kept (there: {there}): "
                f"train.keep_best says how many of the best trials keep them, and a training of "
                f"your own gives them to trial.keep_weights"
            )
        return load_weights(store.weights(folder, best))

    # Further trials

    def extend(
        self,
        n_trials: int,
        objective: Callable[..., Any] | None = None,
        *,
        workers: int | str | None = None,
        quiet: bool = False,
    ) -> Study:
        """Train `n_trials` more trials; 0 goes on with a study that was stopped before its end.

        `objective` is needed where the study was made with a function that cannot be imported, and
        which this process has neither searched with nor in its main module. `workers` and `quiet`
        are those of `search`. Returns this study. Raises what `search` raises, and UserError for a
        grid, which has no more trials.
        """
        if n_trials < 0:
            raise UserError(f"extend: {n_trials} is below 0; trials are never taken away")
        config = self._read(curves=False).config
        before = config["study"]["n_trials"]
        if before is None and n_trials:
            raise UserError(f"extend: {self.name} is a whole grid, which has no more trials")
        total = None if before is None else before + n_trials
        target = (config.get("objective") or {}).get("_target_")
        function = objective or _of_main(target)
        if function is None and target is not None and is_of_main(target):
            function = _functions.get((self._locations.url, self.name))
        training = Training.of(function, workers, target)
        settings = stored_settings(config, study={"n_trials": total})
        runtime = RuntimeSettings(
            storage_url=self._locations.url,
            checkpoints_url=self._locations.checkpoints,
            workers="auto" if workers in (None, 0) else workers,  # type: ignore[arg-type]
            output_dir=str(self.output.parent),
            dry_run=False,
        )
        with provided(training.functions):
            configuration = Configuration(settings, runtime)
            Call(configuration, training, make_console(quiet), self.name).run()
        return self

    # Ask and tell

    def ask(self) -> AskedTrial | None:
        """Claim the next trial, to be trained by the caller; None where nothing is left to claim.

        The trial counts as running, and its lease is renewed in the background, until `tell` ends
        it. It is handed back for another worker where it is dropped or this process ends. None also
        where the study is paused or stopped. Raises UserError for a study of lrsearch's own loop.
        """
        if self._asks is None:
            self._asks = Asks(self.name, self._locations)
        return self._asks.ask()

    def tell(
        self, trial: Trial, value: float | None = None, *, error: BaseException | None = None
    ) -> None:
        """End a trial of `ask`, and store how it ended; `trial.tell` does the same.

        Its value is its best or last report, as `metric.at` says. `value` is the metric of a
        training that has reported nothing. `error` is what has ended the training early: it counts
        as it would in a function (out of memory is infeasible, others fail the trial). A trial
        that `report` has ended by TrialPruned is stored as pruned.

        Raises UserError, and stores nothing, if the trial has been told, has reported nothing and
        gets no value, or gets a value beside its reports.
        """
        if not isinstance(trial, AskedTrial):
            raise UserError(f"tell: trial {trial.number} was not asked for: it ends by itself")
        trial.tell(value, error=error)

    def _read(self, curves: bool = True, thinned: bool = False) -> StudyData:
        with closing(open_existing(self._locations.url)) as database:
            return read_study(database, self.name, curves, thinned)


def load_study(
    name: str, storage: str | None = None, *, output_dir: str | Path = "outputs"
) -> Study:
    """Return a study by its name.

    `storage` is the URL of its database, by default that of the command
    (`sqlite:///lrsearch.db`, or the environment variable LRSEARCH_STORAGE). Raises UserError,
    which lists the studies, if there is none of this name.
    """
    given = [] if storage is None else [f"storage.url={storage}"]
    locations, _ = read_locations(given)
    study = Study(*StudyPlace(name, locations, Path(output_dir)))
    study._read(curves=False)
    return study


def _of_main(target: str | None) -> Callable[..., Any] | None:
    """The function of this script or notebook that a study was made with; None without one."""
    module, _, name = (target or "").rpartition(".")
    function: Callable[..., Any] | None = None
    if module == MAIN:
        function = getattr(sys.modules.get(MAIN), name, None)
    return function

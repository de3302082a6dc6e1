"""The settings of a sweep as frozen dataclasses: those stored with a study, and those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Strict

from lrsearch.data.spec import DataSpec
from lrsearch.registry import ComponentConfig
from lrsearch.space.space import Space
from lrsearch.training.settings import TrainSettings

_MOST = 1_000_000
"""Largest number by which studies are ranked or limited."""


@dataclass(frozen=True)
class Needs:
    """What a worker must have to serve a study."""

    gpu_memory: Annotated[float, Gt(0), Le(_MOST)] | None = None
    """GB (10^9 bytes) of each GPU, as cards are sold; a machine without a GPU has none."""
    labels: tuple[str, ...] = ()
    """Labels that the worker was given, such as `a100`."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """How workers serve a study beside others: all that `lrsearch set` changes while it runs.

    Each has a column of its name in the study's row.
    """

    priority: Annotated[int, Ge(-_MOST), Le(_MOST)] = 0
    """Workers that serve several studies take work of the highest priority first."""
    share: Annotated[float, Gt(0), Le(_MOST)] = 1.0
    """Weight among studies of one priority: running work is shared in proportion."""
    max_running: Annotated[int, Ge(1), Le(_MOST)] | None = None
    """Most trials and auxiliary runs at a time; None is no limit."""
    owner: str | None = None
    """Who it belongs to."""
    tags: tuple[str, ...] = ()
    """Words by which `status` selects studies."""
    needs: Needs = Needs()
    """What a worker must have."""
    allow_versions: bool = False
    """Whether workers of other versions of lrsearch and torch may serve it."""

    def stored(self) -> dict[str, Any]:
        """Return plain values by key, such as `share` and `needs.labels`."""
        own = {field.name: getattr(self, field.name) for field in fields(ServiceSettings)}
        needs = {f"needs.{field.name}": getattr(self.needs, field.name) for field in fields(Needs)}
        values = {key: value for key, value in own.items() if key != "needs"} | needs
        return {
            k: list(value) if isinstance(value, tuple) else value for k, value in values.items()
        }


SERVICE_KEYS = tuple(ServiceSettings().stored())
"""The keys of `ServiceSettings`, such as `share` and `needs.labels`."""


@dataclass(frozen=True, kw_only=True)
class StudySettings(ServiceSettings):
    """The study: its name, budget, seed, and how it is served."""

    name: str
    n_trials: Annotated[int, Ge(1)] | None = 30
    """Number of finished trials in total; None is the whole grid (`sampler=grid`)."""
    timeout: Annotated[float, Gt(0)] | None = None
    """Seconds of wall clock for the whole sweep, resumes included; None is no limit."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the sampler and of all trainings."""
    try_first: tuple[Mapping[str, Any], ...] = ()
    """Settings that are tried before the sampler chooses any."""
    warm_start: str | None = None
    """A study of the same database whose best settings are tried first."""
    warm_start_trials: Annotated[int, Ge(1)] = 5
    """Number of settings taken from the study `warm_start`."""
    balance: tuple[str, ...] | Literal["families"] = ()
    """Branches (`optimizer`, `scheduler`) whose options share the trials equally; `families`: the
    scheduler families share the epochs equally."""


@dataclass(frozen=True)
class MetricSettings:
    """The metric that is optimised: a value of each evaluation, and which evaluation counts."""

    name: str = "val_loss"
    mode: Literal["min", "max"] = "min"
    """Whether lower or higher values are better."""
    at: Literal["best", "last"] = "last"
    """The evaluation that counts: its value is the trial's, and the weights of lrsearch's own
    training are those of that evaluation."""
    nan: Literal["fail", "worst"] = "fail"
    """What happens if the loss is finite and the metric is not: `fail` ends the trial as failed;
    `worst` counts the evaluation as worse than any number."""


@dataclass(frozen=True)
class QueueSettings:
    """When a worker counts as dead, and how often a trial is tried again."""

    lease: Annotated[float, Ge(1)] = 60.0
    """Seconds of silence after which another worker takes a trial over."""
    max_attempts: Annotated[int, Ge(1)] = 3
    """Number of workers that may die with a trial before it is given up."""
    stall_timeout: Annotated[float, Gt(0)] | None = None
    """Seconds without a training step or a report after which a worker is ended; None is one hour,
    or is derived from the times between reports of the user's own training, which shows that it is
    alive by `report`, `should_stop` and `heartbeat`."""
    patience: Annotated[float, Ge(0)] = 1800.0
    """Seconds for which a worker waits for a database that does not answer, or has no free
    connection, before it gives up; a training goes on meanwhile."""


@dataclass(frozen=True)
class ConfirmSettings:
    """The confirmation after the search: the best trials are trained again with new seeds."""

    top: Annotated[int, Strict(), Ge(1)] = 5
    """Number of best trials that are confirmed."""
    seeds: Annotated[int, Strict(), Ge(2)] = 5
    """Number of seeds for each of them; all have the same seeds."""


@dataclass(frozen=True)
class Settings:
    """The checked settings that are stored with a study.

    `plain` holds the same as the plain values of a configuration.
    """

    sweep: str
    description: str
    study: StudySettings
    metric: MetricSettings
    train: TrainSettings
    data: DataSpec
    model: ComponentConfig
    objective: ComponentConfig | None
    strict_lr: bool
    """Whether learning rates of the user's own training that are not the recipe's fail a trial."""
    space: Space
    sampler: ComponentConfig
    pruner: ComponentConfig
    logger: ComponentConfig
    queue: QueueSettings
    confirm: ConfirmSettings | None
    """None if there is no confirmation."""
    plain: Mapping[str, Any] = field(repr=False)

    @property
    def reported_metric(self) -> MetricSettings:
        """The metric as evaluations report it, by which a trial's value follows from them.

        With folds, the last evaluation is the mean over the folds, each with the evaluation that
        counts by `metric.at`.
        """
        return self.metric if self.data.folds is None else replace(self.metric, at="last")

    @property
    def counted(self) -> str:
        """What a trial's value is: `best evaluation`, `last evaluation, mean over 5 folds`."""
        folds = self.data.folds
        return f"{self.metric.at} evaluation{f', mean over {folds} folds' if folds else ''}"

    notes: tuple[str, ...] = ()
    """Lines for the screen about values that were derived in a way the user may not expect."""


@dataclass(frozen=True)
class RuntimeSettings:
    """Where and how one command runs a study; not stored with it."""

    storage_url: str = field(repr=False)
    """URL of the database, with its driver and password."""
    checkpoints_url: str | None
    """Folder or fsspec URL of the checkpoints; None is a folder beside the database."""
    workers: int | Literal["auto"]
    """Most workers at a time; "auto" is what the launcher has room for."""
    output_dir: str
    """The folder in which each study has a folder of its own."""
    dry_run: bool
    launcher: ComponentConfig = field(default_factory=lambda: ComponentConfig("local"))
    """What starts the workers, and where."""


@dataclass(frozen=True)
class Configuration:
    """The merged configuration of a command: files and command line."""

    settings: Settings
    runtime: RuntimeSettings

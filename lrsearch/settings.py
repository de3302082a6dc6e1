"""The settings of a sweep as frozen dataclasses: what is stored with a study, and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from pydantic import Strict

from lrsearch.data.spec import DataSpec
from lrsearch.registry import ComponentConfig
from lrsearch.space.space import Space
from lrsearch.training.settings import TrainSettings


@dataclass(frozen=True)
class StudySettings:
    """The study: its name, budget and seed."""

    name: str
    n_trials: Annotated[int, Ge(1)] | None = 30
    """Finished trials in total; None is the whole grid (`sampler=grid`)."""
    timeout: Annotated[float, Gt(0)] | None = None
    """Seconds of wall clock for the whole sweep, resumes included."""
    seed: Annotated[int, Ge(0)] = 0
    try_first: tuple[Mapping[str, Any], ...] = ()
    warm_start: str | None = None
    """A study of the same database whose best settings are tried first."""
    warm_start_trials: Annotated[int, Ge(1)] = 5
    """Number of settings taken from it."""
    priority: int = 0
    """Workers that serve several studies begin with the highest priority."""
    balance: tuple[str, ...] | Literal["families"] = ()
    """Branches (`optimizer`, `scheduler`) whose options share the trials equally; `families`: the
    scheduler families share the epochs equally."""


@dataclass(frozen=True)
class MetricSettings:
    """What is optimised: a value of each evaluation, and which evaluation counts."""

    name: str = "val_loss"
    mode: Literal["min", "max"] = "min"
    at: Literal["best", "last"] = "best"
    nan: Literal["fail", "worst"] = "fail"
    """What happens where the loss is finite and the metric is not: `fail` ends the trial as failed;
    `worst` counts the evaluation as worse than any number."""


@dataclass(frozen=True)
class QueueSettings:
    """When a worker counts as dead, and how often a trial is tried again."""

    lease: Annotated[float, Ge(1)] = 60.0
    """Seconds of silence after which another worker takes a trial over."""
    max_attempts: Annotated[int, Ge(1)] = 3
    """Number of workers that may die with a trial before it is given up."""
    stall_timeout: Annotated[float, Gt(0)] | None = None
    """Seconds without a training step or a report after which a worker is ended; None is an hour,
    or what the reports of the user's own training loop suggest."""


@dataclass(frozen=True)
class ConfirmSettings:
    """The confirmation after the search: the best trials again on fresh seeds."""

    top: Annotated[int, Strict(), Ge(1)] = 5
    """Number of best trials."""
    seeds: Annotated[int, Strict(), Ge(2)] = 5
    """Number of seeds of each, the same seeds for all."""


@dataclass(frozen=True)
class Settings:
    """What a study is stored with, checked; `plain` is the same as a configuration has it."""

    sweep: str
    description: str
    study: StudySettings
    metric: MetricSettings
    train: TrainSettings
    data: DataSpec
    model: ComponentConfig
    objective: ComponentConfig | None
    space: Space
    sampler: ComponentConfig
    pruner: ComponentConfig
    logger: ComponentConfig
    queue: QueueSettings
    confirm: ConfirmSettings | None
    """None leaves the confirmation out."""
    plain: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()
    """Values settled in a way that the user may not expect, in lines for the screen."""


@dataclass(frozen=True)
class RuntimeSettings:
    """Where and how one command runs a study; not stored with it."""

    storage_url: str = field(repr=False)
    """The database, with its driver and password."""
    checkpoints_url: str | None
    """A folder or an fsspec URL; None is beside the database."""
    workers: int | Literal["auto"]
    output_dir: str
    """The folder in which each study has a folder of its own."""
    dry_run: bool


@dataclass(frozen=True)
class Configuration:
    """All that the files and the command line of a sweep say."""

    settings: Settings
    runtime: RuntimeSettings

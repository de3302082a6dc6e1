"""The loggers. To add one: a module, an entry in LOGGERS here, a YAML in conf/logger."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lrsearch.errors import UserError
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedTrial:
    """The trial that is logged."""

    study: str
    study_id: int
    number: int
    is_new: bool
    """Whether no earlier attempt at the trial can have logged anything."""
    hparams: Mapping[str, Any]
    """Recipe of the trial in one level; see `flat`."""


class TrialLog(Protocol):
    """Log of one trial. Whatever its methods raise is logged as a warning."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the finite values of an evaluation, after `step` optimizer steps."""

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        """Log how the trial ended, with its value of the study's metric."""

    def close(self) -> None:
        """Close the log: the trial has ended, or continues in another process."""


class NoLog:
    """A log that keeps nothing."""

    def __init__(self, trial: LoggedTrial) -> None:
        pass

    def log(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Logger(Component):
    """A logger: a class of `TrialLog`s that is called with the trial and the parameters.

    A class method `prepare(study, **parameters)`, if it has one, creates what workers share.
    """

    package: str | None = None
    """Package that the logger needs; the extra `lrsearch[NAME OF THE LOGGER]` installs it."""


LOGGERS = Registry(
    "logger",
    [
        Logger("none", NoLog, help="the database alone"),
        Logger(
            "tensorboard",
            "lrsearch.loggers.tensorboard.Log",
            {"folder": Parameter("text", "outputs", help="where the studies' folders are")},
            "a folder of events for each trial",
            package="tensorboard",
        ),
        Logger(
            "mlflow",
            "lrsearch.loggers.mlflow.Log",
            {
                "uri": Parameter("text", "", help="tracking server; MLFLOW_TRACKING_URI if empty"),
                "experiment": Parameter("text", "", help="the study's name if empty"),
            },
            "a run for each trial, in an experiment of the study's name",
            package="mlflow",
        ),
    ],
    where="logger",
    leading=1,
)


def is_on(config: ComponentConfig) -> bool:
    """Return whether anything is logged."""
    return config.own or LOGGERS[config.name].target is not NoLog


def check_logger(config: ComponentConfig) -> None:
    """Raise UserError if the package of a logger is missing."""
    package = None if config.own else LOGGERS[config.name].package
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(
            f"logger={config.name} needs the package {package}: "
            f"pip install 'lrsearch[{config.name}]', or go without: logger=none"
        )


def prepare_logger(config: ComponentConfig, study: str) -> None:
    """Create what the workers share, such as a folder, before they start.

    Raises UserError where that fails.
    """
    check_logger(config)
    component = LOGGERS.component(config)
    prepare = getattr(component.load(), "prepare", None)
    if prepare is None:
        return
    try:
        prepare(study, **component.complete(config.arguments))
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"logger={config.name} cannot be used: {reason}; go without: logger=none"
        ) from error


OpenLog = Callable[[LoggedTrial], TrialLog]


def build_logger(config: ComponentConfig) -> OpenLog | None:
    """Return a function that opens the log of a trial; None without a logger.

    An error in a log is a warning, once for each trial, which goes on without its log. Raises
    UserError where the logger's package is missing.
    """
    if not is_on(config):
        return None
    check_logger(config)
    component = LOGGERS.component(config)
    log, arguments = component.load(), component.complete(config.arguments)
    return lambda trial: SafeLog(lambda: log(trial, **arguments))


class SafeLog:
    """A log whose errors become one warning. It is opened at the first evaluation."""

    def __init__(self, open_log: Callable[[], TrialLog]) -> None:
        self._open: Callable[[], TrialLog] | None = open_log
        self._opened: TrialLog | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._try(lambda log: log.log(step, finite))

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        self._try(lambda log: log.end(outcome, metric, value))

    def close(self) -> None:
        if self._opened is not None:
            self._try(lambda log: log.close())
        self._open = None

    def _try(self, action: Callable[[TrialLog], None]) -> None:
        if self._open is None:
            return
        try:
            self._opened = self._opened or self._open()
            action(self._opened)
        except BaseException as error:  # noqa: BLE001 - a log must never end a trial
            _log.warning("the trial goes on without its logger: %r", error)
            self._open = None


def flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten the plain form of a recipe: `optimizer`, `optimizer.momentum`, lists as text."""
    result: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            result[f"{prefix}{key}"] = str(value) if isinstance(value, list | tuple) else value
    return {key.removesuffix(".name"): value for key, value in result.items()}

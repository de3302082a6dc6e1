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
    """The trial that is logged. `is_new` is false where an earlier attempt may have logged it."""

    study: str
    study_id: int
    number: int
    is_new: bool
    hparams: Mapping[str, Any]
    """Its recipe, flat; see `flat`."""


class TrialLog(Protocol):
    """Takes what happens to one trial. May raise anything: a warning becomes of it."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The finite values of an evaluation, after `step` optimizer steps."""

    def end(self, outcome: str, metric: str, value: float | None) -> None:
        """How the trial ended, with its value of the study's metric."""

    def close(self) -> None:
        """The trial has ended, or goes on elsewhere."""


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

    A class method `prepare(study, **parameters)` makes what the workers share.
    """

    package: str | None = None
    """The package that it needs, which the extra of the logger's name installs."""


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
    """Whether anything is logged."""
    return config.own or LOGGERS[config.name].target is not NoLog


def check_logger(config: ComponentConfig) -> None:
    """Raises UserError where the package is missing."""
    package = None if config.own else LOGGERS[config.name].package
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(
            f"logger={config.name} needs the package {package}: "
            f"pip install 'lrsearch[{config.name}]', or go without: logger=none"
        )


def prepare_logger(config: ComponentConfig, study: str) -> None:
    """Makes what the workers will share, before they all want it at once.

    Raises UserError where it cannot be had.
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
    """Opens a log for each trial; None where there is no logger. Raises UserError.

    Whatever goes wrong in a log is a warning, once a trial, and the trial goes on without.
    """
    if not is_on(config):
        return None
    check_logger(config)
    component = LOGGERS.component(config)
    log, arguments = component.load(), component.complete(config.arguments)
    return lambda trial: Careful(lambda: log(trial, **arguments))


class Careful:
    """A log whose errors end nothing. It is opened at the first evaluation."""

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
        except BaseException as error:  # noqa: BLE001 - a log is never worth a trial
            _log.warning("the trial goes on without its logger: %r", error)
            self._open = None


def flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe's plain form in one level: `optimizer`, `optimizer.momentum`, lists as text."""
    result: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            result[f"{prefix}{key}"] = str(value) if isinstance(value, list | tuple) else value
    return {key.removesuffix(".name"): value for key, value in result.items()}

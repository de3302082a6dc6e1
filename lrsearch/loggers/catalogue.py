"""The loggers of the catalogue. To add one: a module, an entry here and a YAML in conf/logger."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lrsearch.errors import UserError
from lrsearch.parameters import Parameter

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


@dataclass(frozen=True)
class LoggerKind:
    """A logger: a module with `prepare` and `Log`, the package it needs, and its parameters."""

    module: str
    package: str
    extra: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


LOGGERS: dict[str, LoggerKind | None] = {
    "none": None,
    "tensorboard": LoggerKind(
        "lrsearch.loggers.tensorboard",
        "tensorboard",
        "tensorboard",
        {"folder": Parameter("text", "outputs", help="where the studies' folders are")},
    ),
    "mlflow": LoggerKind(
        "lrsearch.loggers.mlflow",
        "mlflow",
        "mlflow",
        {
            "uri": Parameter("text", "", help="tracking server; MLFLOW_TRACKING_URI if empty"),
            "experiment": Parameter("text", "", help="the study's name if empty"),
        },
    ),
}


def check_logger(name: str) -> None:
    """Raises UserError where the package is missing."""
    kind = LOGGERS[name]
    if kind is None:
        return
    if importlib.util.find_spec(kind.package) is None:
        raise UserError(
            f"logger={name} needs the package {kind.package}: "
            f"pip install 'lrsearch[{kind.extra}]', or go without: logger=none"
        )


def prepare_logger(name: str, arguments: Mapping[str, Any], study: str) -> None:
    """Makes what the workers will share, before they all want it at once.

    Raises UserError where it cannot be had.
    """
    check_logger(name)
    kind = LOGGERS[name]
    if kind is None:
        return
    try:
        importlib.import_module(kind.module).prepare(study, **_complete(kind, arguments))
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"logger={name} cannot be used: {reason}; go without: logger=none"
        ) from error


def _complete(kind: LoggerKind, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one.default for key, one in kind.parameters.items()} | dict(arguments)


OpenLog = Callable[[LoggedTrial], TrialLog]


def build_logger(name: str, arguments: Mapping[str, Any]) -> OpenLog | None:
    """Opens a log for each trial; None where there is no logger. Raises UserError.

    Whatever goes wrong in a log is a warning, once a trial, and the trial goes on without.
    """
    kind = LOGGERS[name]
    if kind is None:
        return None
    check_logger(name)
    log = importlib.import_module(kind.module).Log
    complete = _complete(kind, arguments)
    return lambda trial: Careful(lambda: log(trial, **complete))


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

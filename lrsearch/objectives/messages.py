"""The messages of a script: what they say, and what they are answered with."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrsearch.errors import TrialPruned, UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives import channel
from lrsearch.objectives.base import Report, TrainingEnded
from lrsearch.objectives.channel import Answer, BadLine
from lrsearch.states import Outcome
from lrsearch.training.loop import Diverged


class WithDetails:
    """A report that adds to each evaluation what only the script knows of it.

    A `Trial` in the script has compared the learning rates itself, with the schedule that it has
    built. The one of the worker knows what is reported alone, and so does not warn then.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self.number = report.number
        self.restore, self.rewind = report.restore, report.rewind
        self.progress = report.progress
        self.details: Mapping[str, Any] = {}

    def warn(self, message: str) -> None:
        """Pass a warning of the worker's own `Trial` on, if it is the only one."""
        if "verified" not in self.details:
            self._report.warn(message)

    def __call__(self, evaluation: Evaluation) -> None:
        """Pass an evaluation on."""
        details = dict(self.details)
        groups = details.pop("groups", None)
        if groups is not None and len(groups) == len(details.get("lr_end", evaluation.lr_end)):
            details["groups"] = tuple(groups)
        self._report(replace(evaluation, **details))


def read(message: Mapping[str, Any]) -> tuple[dict[str, float], list[float] | None]:
    """The numbers of a report, and the rates of several parameter groups. Raises BadLine."""
    plain = {name: v for name, v in message.items() if name not in channel.DETAILS}
    inner = message.get("metrics")
    if isinstance(inner, Mapping):
        plain = {**inner, **plain}
    rates = plain.get("lr")
    if not isinstance(rates, list):
        return channel.numbers(plain), None
    del plain["lr"]
    if not all(isinstance(rate, int | float) for rate in rates):
        raise BadLine(f"lr: {rates!r} are not all numbers")
    return channel.numbers(plain), [float(rate) for rate in rates]


def details_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """What only the script knows of an evaluation, by the names of its fields."""
    measured = message.get("details")
    known = measured if isinstance(measured, Mapping) else {}
    details = {name: known[name] for name in channel.MEASURED if known.get(name) is not None}
    if "lr_start" in details:
        details["lr_start"] = tuple(details["lr_start"])
    groups, verified = message.get("groups"), message.get("verified")
    if isinstance(groups, list) and all(isinstance(group, str) for group in groups):
        details["groups"] = groups
    if isinstance(verified, bool):
        details["verified"] = verified
    return details


def ending_of(message: Mapping[str, Any]) -> BaseException:
    """How a script says that its training has ended."""
    if message["ended"] == "diverged":
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return Diverged(int(message["step"]), float(message["lr"]), float(message["loss"]))
    is_memory = message["ended"] == "out of memory"
    return TrainingEnded(
        str(message.get("message", "")), Outcome.OUT_OF_MEMORY if is_memory else Outcome.FAILED
    )


def answer_of(error: BaseException | None) -> Answer:
    """The answer to a report, by what taking it has raised."""
    if error is None:
        return Answer.CONTINUE
    if isinstance(error, TrialPruned):
        return Answer.PRUNE
    return Answer.END if isinstance(error, UserError | Diverged | TrainingEnded) else Answer.STOP

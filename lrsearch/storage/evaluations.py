"""Evaluations in the database: to a row and back, and one function that reads them.

A trial's evaluations are rows of `lrsearch_epochs`; those of an auxiliary run are points of the
JSON document `result`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from lrsearch.evaluation import Evaluation
from lrsearch.storage.tables import EvaluationRow

GROUP_LR_START, GROUP_LR_END = "lr_start_", "lr_end_"
"""Prefixes of the rates of parameter groups beyond the first one in `metrics`."""
COLUMNS = (
    EvaluationRow.trial_id,
    EvaluationRow.evaluation,
    EvaluationRow.epoch,
    EvaluationRow.step,
    EvaluationRow.value,
    EvaluationRow.train_loss,
    EvaluationRow.val_loss,
    EvaluationRow.lr_start,
    EvaluationRow.lr_end,
    EvaluationRow.grad_norm,
    EvaluationRow.seconds,
    EvaluationRow.progress,
    EvaluationRow.rate_left,
    EvaluationRow.metrics,
)
"""Columns to select for `read_evaluations`; the last, further metrics, may be left out."""


def to_columns(evaluation: Evaluation) -> dict[str, Any]:
    """Return the columns of `lrsearch_epochs` that an evaluation fills, in their order.

    `metrics` holds what has no column: further metrics (None where not finite: JSON has no such
    numbers), the share of clipped steps, and the rates of further parameter groups.
    """
    values = dict(evaluation.values)
    train_loss, val_loss = values.pop("train_loss", None), values.pop("val_loss", None)
    metrics: dict[str, Any] = {name: _finite(value) for name, value in values.items()}
    if evaluation.clipped is not None:
        metrics["clipped"] = evaluation.clipped
    rates = zip(evaluation.groups, evaluation.lr_start, evaluation.lr_end, strict=True)
    for group, start, end in list(rates)[1:]:
        metrics |= {f"{GROUP_LR_START}{group}": start, f"{GROUP_LR_END}{group}": end}
    return {
        "evaluation": evaluation.index,
        "epoch": evaluation.epoch,
        "step": evaluation.step,
        "value": evaluation.value,
        "train_loss": train_loss,
        "val_loss": val_loss,
        "lr_start": evaluation.lr_start[0],
        "lr_end": evaluation.lr_end[0],
        "grad_norm": evaluation.grad_norm,
        "seconds": evaluation.seconds,
        "metrics": metrics,
    }


def from_columns(
    evaluation: int,
    epoch: float,
    step: int,
    value: float | None,
    train_loss: float | None,
    val_loss: float | None,
    lr_start: float,
    lr_end: float,
    grad_norm: float | None,
    seconds: float,
    progress: float | None = None,
    rate_left: float | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Return the evaluation of a row of `lrsearch_epochs`: the inverse of `to_columns`.

    A metric that was not finite becomes NaN. Without `metrics` the evaluation has its losses and
    the rates of the first parameter group alone.
    """
    further = dict(metrics or {})
    starts, ends, groups = [lr_start], [lr_end], ["default"]
    clipped = None
    if further:
        if further.get("clipped") is not None:
            clipped = further.pop("clipped")
        names = [key.removeprefix(GROUP_LR_END) for key in further if key.startswith(GROUP_LR_END)]
        for name in names:
            start, end = f"{GROUP_LR_START}{name}", f"{GROUP_LR_END}{name}"
            if further.get(start) is not None and further.get(end) is not None:
                groups.append(name)
                starts.append(further.pop(start))
                ends.append(further.pop(end))
    losses = {"train_loss": train_loss, "val_loss": val_loss}
    values = {name: loss for name, loss in losses.items() if loss is not None}
    return Evaluation(
        index=evaluation,
        epoch=epoch,
        step=step,
        values={**values, **{name: _number(metric) for name, metric in further.items()}},
        lr_start=tuple(starts),
        lr_end=tuple(ends),
        groups=tuple(groups),
        grad_norm=grad_norm,
        clipped=clipped,
        seconds=seconds,
        value=value,
        progress=progress,
        rate_left=rate_left,
    )


def read_evaluations(
    session: Session, query: Select[*tuple[Any, ...]]
) -> dict[int, list[Evaluation]]:
    """Return the evaluations that a query of `COLUMNS` selects, by trial id, in their order."""
    evaluations: dict[int, list[Evaluation]] = defaultdict(list)
    for trial_id, *columns in session.execute(query.execution_options(yield_per=1000)):
        evaluations[trial_id].append(from_columns(*columns))
    for of_trial in evaluations.values():
        of_trial.sort(key=lambda evaluation: evaluation.index)
    return evaluations


def to_point(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a point of the curve that an auxiliary run keeps as JSON."""
    return {
        "epoch": evaluation.epoch,
        "step": evaluation.step,
        "value": evaluation.value,
        "train_loss": _finite(evaluation.train_loss),
        "val_loss": _finite(evaluation.val_loss),
        "lr": evaluation.lr_end[0],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(stored: float | None) -> float:
    return math.nan if stored is None else stored

"""A study's trials in columns and in plain values, for files and other programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.space.names import GROUPS, ParameterName
from lrsearch.states import Outcome
from lrsearch.storage.evaluations import to_columns
from lrsearch.text.formatting import number


def recipe_columns(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored recipe in columns: `lr`, `optimizer`, `sgd.momentum`, `cosine.final`, ..."""
    columns: dict[str, Any] = {}
    for name, value in recipe.items():
        if isinstance(value, Mapping):
            owner = value.get("name", name)
            if "name" in value:
                columns[name] = owner
            inner = {key: item for key, item in value.items() if key != "name"}
            columns |= {str(ParameterName(key, owner)): item for key, item in inner.items()}
        elif name == "groups":
            for rule in map(dict, value):
                owner = f"{GROUPS}.{rule.pop('use', None) or rule.pop('name')}"
                columns |= {str(ParameterName(key, owner)): item for key, item in rule.items()}
        else:
            columns[name] = value
    return columns


def reason_of(study: StudyData, trial: TrialData) -> str | None:
    """Return why a trial ended early; None where it did not.

    For a pruned trial, its last evaluation and the pruner of the study.
    """
    if trial.outcome != Outcome.PRUNED or trial.reason or not trial.curve:
        return trial.reason
    last, metric = trial.curve[-1], study.metric.name
    value = "unknown" if last.value is None else f"{number(last.value)}"
    pruner = study.config.get("pruner", {}).get("name")
    by = f" by the {pruner} pruner" if pruner not in (None, "none") else ""
    return f"pruned{by} after evaluation {last.index} at epoch {last.epoch:g}: {metric} {value}"


def trial_plain(study: StudyData, trial: TrialData) -> dict[str, Any]:
    """Return a trial as plain values without its evaluations; None for numbers not finite."""
    skipped = {"recipe", "curve", "finished_at"}
    plain = {
        field.name: getattr(trial, field.name)
        for field in dataclasses.fields(trial)
        if field.name not in skipped
    }
    plain["finished_at"] = None if trial.finished_at is None else trial.finished_at.isoformat()
    plain["reason"] = reason_of(study, trial)
    plain["recipe"] = None if trial.recipe is None else trial.recipe.to_dict()
    return dict(finite(plain))


def evaluations_plain(trial: TrialData) -> list[dict[str, Any]]:
    """Return the evaluations of a trial as plain values, named as in `lrsearch_epochs`.

    A number that is not finite is None.
    """
    return list(finite([to_columns(evaluation) for evaluation in trial.curve]))


def trial_document(study: StudyData, trial: TrialData) -> dict[str, Any]:
    """A trial with its evaluations as plain values, fit for JSON."""
    return {**trial_plain(study, trial), "evaluations": evaluations_plain(trial)}


def study_plain(study: StudyData) -> dict[str, Any]:
    """A study without its trials as plain values, fit for JSON."""
    confirmation = study.confirmation
    confirmed = (
        None if confirmation is None or confirmation.winner is None else confirmation.to_json()
    )
    head = {
        "study": study.name,
        "state": study.shown_state,
        "stopped": study.stopped,
        "metric": dataclasses.asdict(study.metric),
        "best": study.ranked[0].number if study.ranked else None,
        "confirmed": confirmed,
        "seconds": study.seconds,
        "total": study.total,
        "done": study.done,
        "config": study.config,
        "record": study.record,
    }
    return dict(finite(head))


def finite(value: Any) -> Any:
    """Replace every number that is not finite, which JSON lacks, by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value

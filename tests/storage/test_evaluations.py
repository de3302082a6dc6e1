"""Evaluations to rows and back: whatever is stored is read as it was."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lrsearch.evaluation import Evaluation
from lrsearch.storage.evaluations import from_columns, to_columns, to_point

FINITE = st.floats(allow_nan=False, allow_infinity=False)
RATES = st.lists(FINITE, min_size=1, max_size=3).map(tuple)


@st.composite
def evaluations(draw: st.DrawFn, metric: st.SearchStrategy[float] = FINITE) -> Evaluation:
    lr_start = draw(RATES)
    losses = draw(st.dictionaries(st.sampled_from(["train_loss", "val_loss"]), FINITE))
    metrics = draw(st.dictionaries(st.sampled_from(["val_accuracy", "val_f1", ""]), metric))
    return Evaluation(
        index=draw(st.integers(1)), epoch=draw(FINITE), step=draw(st.integers(0)),
        values={**dict(sorted(losses.items())), **metrics}, lr_start=lr_start,
        lr_end=tuple(draw(FINITE) for _ in lr_start),
        groups=("default", "head", "no_decay+head")[: len(lr_start)],
        grad_norm=draw(st.none() | FINITE),
        clipped=draw(st.none() | FINITE), seconds=draw(FINITE), value=draw(st.none() | FINITE),
    )  # fmt: skip


def stored(evaluation: Evaluation) -> dict[str, Any]:
    """Its columns after `metrics` has been through JSON, as in the database."""
    columns = to_columns(evaluation)
    return {**columns, "metrics": json.loads(json.dumps(columns["metrics"], allow_nan=False))}


@given(evaluations())
def test_an_evaluation_is_read_as_it_was_written(evaluation: Evaluation) -> None:
    assert from_columns(**stored(evaluation)) == evaluation


@given(evaluations(st.floats()))
def test_a_row_that_was_read_gives_the_same_row(evaluation: Evaluation) -> None:
    columns = stored(evaluation)
    assert to_columns(from_columns(**columns)) == columns


@given(evaluations())
def test_without_further_metrics_losses_and_first_rates_are_read(evaluation: Evaluation) -> None:
    columns = to_columns(evaluation)
    del columns["metrics"]
    read = from_columns(**columns)
    assert (read.train_loss, read.val_loss) == (evaluation.train_loss, evaluation.val_loss)
    assert (read.lr_start, read.lr_end) == (evaluation.lr_start[:1], evaluation.lr_end[:1])
    assert (read.value, read.grad_norm) == (evaluation.value, evaluation.grad_norm)


@given(st.dictionaries(st.sampled_from(["clipped", "lr_start_1", "lr_end_1", "f1"]), st.floats()))
def test_own_metrics_may_have_any_of_our_names(metrics: dict[str, float]) -> None:
    evaluation = Evaluation(1, 1.0, 10, {"val_loss": 0.5, **metrics}, (0.1,), (0.1,), None, None, 0)
    columns = stored(evaluation)
    assert to_columns(from_columns(**columns)) == columns


def test_a_point_of_an_auxiliary_run_is_fit_for_json() -> None:
    evaluation = Evaluation(
        1, 1.0, 10, {"train_loss": math.nan, "val_loss": 0.5}, (0.2,), (0.1,), None, None, 0
    )
    assert to_point(dataclasses.replace(evaluation, value=0.5)) == {
        "epoch": 1.0, "step": 10, "value": 0.5, "train_loss": None, "val_loss": 0.5, "lr": 0.1,
    }  # fmt: skip

"""The estimate of the time left, replayed on recorded sweeps and on simple ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.study.progress import AuxiliaryRun, Finished, Running, Snapshot
from lrsearch.study.time_left import (
    Expected,
    Measured,
    Pace,
    TimeLeft,
    predicted_seconds,
    seconds_until_done,
)

RECORD = Path(__file__).with_name("sweep_times.jsonl")
SWEEPS = [json.loads(line) for line in RECORD.read_text().splitlines()]
"""See `benchmarks/sweep_times.py`, which records them."""
FACTOR = 1.5


def recipe(batch_size: int | None) -> dict[str, Any] | None:
    return None if batch_size is None else {"batch_size": batch_size}


def running(trial: int | None, size: int | None, share: float | None, owner: str = "") -> Running:
    return Running(trial, owner, recipe(size), None, None, None, None, None, share)


def ended(
    trial: int, size: int | None, outcome: str, share: float | None, value: float | None,
    seconds: float | None, trained: float | None,
) -> Finished:  # fmt: skip
    return Finished(
        0, trial, trial, 0, outcome, value, None, seconds, recipe(size), None, None, share, trained
    )


def auxiliary(
    kind: str, number: int, trial: int | None, size: int | None, state: str,
    outcome: str | None, share: float | None,
) -> AuxiliaryRun:  # fmt: skip
    result = None if share is None else {"curve": [{"progress": share}]}
    return AuxiliaryRun(
        kind, number, trial, 0, state, f"{kind}/{number}", outcome, None, None, recipe(size),
        None, result,
    )  # fmt: skip


def replayed(sweep: Mapping[str, Any]) -> Iterator[tuple[float, float | None]]:
    """Yield each time of a recorded sweep with the seconds that are said to be left then."""
    expected = {**sweep["expected"], "batch_sizes": tuple(sweep["expected"]["batch_sizes"])}
    before = [ended(*trial) for trial in sweep["before"]]
    time_left = TimeLeft(Expected(**expected), sweep["workers"], before)
    events = sweep["events"]
    ends = [event[0] for event in events[1:]] + [events[-1][0] + 0.5]
    for (at, total, trials, runs, new), end in zip(events, ends, strict=True):
        snapshot = Snapshot(
            total, [running(*trial) for trial in trials], "open", None, False,
            [auxiliary(*run) for run in runs],
        )  # fmt: skip
        news = [ended(*trial) for trial in new]
        while at < end:
            yield at, time_left.look(snapshot, news, at)
            at, news = at + 0.5, []


def is_near(sweep: Mapping[str, Any], at: float) -> bool:
    """Return whether the time said to be left at a time of a sweep is near the true one."""
    said = next(left for time, left in replayed(sweep) if time >= at)
    true = sweep["seconds"] - at
    return said is not None and true / FACTOR <= said <= true * FACTOR


def test_a_quarter_after_the_workers_have_started_the_time_left_is_right_in_most_sweeps() -> None:
    assert len(SWEEPS) >= 20
    near = []
    for sweep in SWEEPS:
        began = next(event[0] for event in sweep["events"] if event[2])
        near.append(is_near(sweep, began + 0.25 * (sweep["seconds"] - began)))
    assert sum(near) >= 0.8 * len(near)


def test_halfway_the_time_left_is_right_in_most_sweeps() -> None:
    near = [is_near(sweep, 0.5 * sweep["seconds"]) for sweep in SWEEPS]
    assert sum(near) >= 0.8 * len(near)


WHOLE, SIZE = 10.0, 64
BLIND = Expected((SIZE,), False, "none")


def complete(trial: int, seconds: float = WHOLE) -> Finished:
    return ended(trial, SIZE, "complete", 1.0, float(trial), seconds, seconds)


def state(total: int, *trials: Running, runs: Sequence[AuxiliaryRun] = (), **more: Any) -> Snapshot:
    return Snapshot(total, list(trials), **{"state": "open", **more}, stopped=None,
                    hand_back=False, auxiliary_runs=list(runs))  # fmt: skip


def test_nothing_is_said_before_a_training_shows_its_pace_or_while_the_study_is_paused() -> None:
    time_left = TimeLeft(BLIND, 1, [])
    assert time_left.look(state(10), [], 0.0) is None
    assert time_left.look(state(10, running(0, SIZE, None)), [], 1.0) is None
    assert time_left.look(state(10, running(0, SIZE, 0.2)), [], 4.0) is not None
    assert time_left.look(state(10, running(0, SIZE, 0.2), state="paused"), [], 5.0) is None


def test_a_resumed_sweep_knows_its_pace_at_once() -> None:
    time_left = TimeLeft(BLIND, 2, [complete(trial) for trial in range(30)])
    assert time_left.look(state(50), [], 0.0) == pytest.approx(10 * WHOLE, rel=0.02)


@pytest.mark.parametrize(("workers", "rounds"), [(1, 9), (2, 5), (3, 3)])
def test_the_workers_share_the_trials(workers: int, rounds: int) -> None:
    time_left = TimeLeft(BLIND, workers, [complete(trial) for trial in range(30)])
    left = time_left.look(state(39), [], 0.0)
    assert left == pytest.approx(rounds * WHOLE, rel=0.02)


def test_a_running_trial_counts_as_far_as_it_is() -> None:
    time_left = TimeLeft(BLIND, 1, [complete(trial) for trial in range(30)])
    trial = running(30, SIZE, 0.75)
    assert time_left.look(state(31, trial), [], 0.0) == pytest.approx(2.5, rel=0.02)
    assert time_left.look(state(31, trial), [], 2.0) == pytest.approx(0.5, rel=0.1)


def test_trials_end_as_early_as_the_latest_did() -> None:
    pruned = [ended(k, SIZE, "pruned", 0.2, 1.0, 2.0, 2.0) for k in range(30)]
    time_left = TimeLeft(BLIND, 1, pruned)
    share = (6 * 0.97 + 30 * 0.2) / 36  # the pruner "none" usually ends no trial
    left = time_left.look(state(40), [], 0.0)
    assert left == pytest.approx(10 * share * WHOLE, rel=0.02)


def test_the_confirmation_is_counted_before_it_begins_and_by_its_runs_afterwards() -> None:
    expected = replace(BLIND, top=2, seeds=3)
    time_left = TimeLeft(expected, 1, [complete(trial) for trial in range(30)])
    assert time_left.look(state(30), [], 0.0) == pytest.approx(6 * WHOLE, rel=0.02)
    runs = [
        auxiliary("confirm", 0, 0, SIZE, "done", "complete", 1.0),
        auxiliary("confirm", 1, 1, SIZE, "done", "dropped", None),
        auxiliary("confirm", 2, 0, SIZE, "running", None, 0.5),
        auxiliary("confirm", 3, 0, SIZE, "open", None, None),
    ]
    begun = TimeLeft(expected, 1, [complete(trial) for trial in range(30)])
    assert begun.look(state(30, runs=runs), [], 0.0) == pytest.approx(1.5 * WHOLE, rel=0.02)


def test_a_smaller_batch_takes_longer_by_what_was_measured() -> None:
    measured = [Measured(16, 8.0, 1.0), Measured(128, 1.0, 1.0), Measured(64, 2.0, 1.0)]
    pace = Pace.fitted(measured * 5)
    assert pace is not None
    for one in measured:
        assert pace.seconds(one.batch_size) == pytest.approx(one.seconds, rel=0.1)
    assert pace.seconds(32) == pytest.approx(4.0, rel=0.1)
    assert Pace.fitted([]) is None


@given(
    st.lists(st.floats(0, 100), max_size=6), st.integers(0, 300), st.floats(0.01, 50),
    st.integers(1, 8),
)  # fmt: skip
def test_workers_take_the_next_training_as_soon_as_they_are_free(
    now: list[float], count: int, each: float, workers: int
) -> None:
    free = sorted([*now, *[0.0] * (workers - len(now))])
    for _ in range(count):
        free.append(free.pop(0) + each)
        free.sort()
    assert seconds_until_done(now, count, each, workers) == pytest.approx(free[-1])


def test_a_large_sweep_is_reckoned_at_once() -> None:
    assert seconds_until_done([3.0], 10_000_000, 1.0, 2) == pytest.approx(5_000_002, abs=2)


def test_before_it_begins_all_trials_and_the_confirmation_are_to_come() -> None:
    expected = Expected((16, 64), False, "none", top=3, seeds=2)
    seconds = predicted_seconds(expected, 10, {16: 3.0, 64: 1.0}, 2)
    assert seconds == pytest.approx(5 * 0.97 * 2 + 3 * 2, rel=0.05)

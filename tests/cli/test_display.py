"""What the screen shows of the runs outside the budget."""

from __future__ import annotations

import dataclasses
import io
from itertools import pairwise

import pytest
from rich.console import Console

from lrsearch.analysis.auxiliary_runs import auxiliary_work
from lrsearch.cli.display import (
    LiveDisplay,
    NotebookDisplay,
    PlainDisplay,
    Shown,
    at_epoch,
    make_console,
)
from lrsearch.settings import MetricSettings
from lrsearch.study.progress import AuxiliaryRun, Finished, Losses, Running, Snapshot
from lrsearch.study.time_left import Expected

RECIPE = {"lr": 0.1, "batch_size": 32, "optimizer": {"name": "sgd"},
          "scheduler": {"name": "constant"}, "warmup": 0.0, "grad_clip": None}  # fmt: skip


def run(
    number: int, trial: int, state: str, outcome: str | None = None, **more: object
) -> AuxiliaryRun:
    known = {"kind": "confirm", "seed": 7, "owner": None, "value": None, "reason": None,
             "recipe": RECIPE, "seconds": None, "result": None, **more}  # fmt: skip
    return AuxiliaryRun(number=number, trial=trial, state=state, outcome=outcome, **known)  # type: ignore[arg-type]


def snapshot(*runs: AuxiliaryRun) -> Snapshot:
    return Snapshot(2, [], "open", None, False, list(runs))


def test_it_says_how_far_the_confirmation_is() -> None:
    runs = [run(0, 4, "done", "complete"), run(1, 9, "running"), run(2, 4, "open")]
    assert auxiliary_work(runs) == "confirming the best 2: 1 of 3 runs"
    assert auxiliary_work([run(0, 4, "open")]) == "confirming the best: 0 of 1 run"
    assert auxiliary_work([run(0, 4, "done"), run(0, 4, "open", kind="test")]) == (
        "testing the confirmed winner"
    )
    assert auxiliary_work([run(0, 4, "done")]) is None
    assert auxiliary_work([]) is None
    dropped = [*runs, run(3, 9, "done", "dropped")]
    assert auxiliary_work(dropped) == "confirming the best 2: 1 of 3 runs"


def test_a_file_gets_a_line_for_each_run_that_ends_and_for_what_was_dropped_at_the_end() -> None:
    text = io.StringIO()
    display = PlainDisplay(Console(file=text, width=200), Shown(), [])
    first = run(0, 4, "done", "complete", value=0.25, seconds=2.0)
    dropped = run(1, 9, "done", "dropped")
    display.update(snapshot(first, run(1, 9, "open"), run(2, 4, "open")), [])
    assert text.getvalue() == ""  # it had ended before this look began
    ended = run(2, 4, "done", "out_of_memory")
    display.update(snapshot(first, dropped, run(2, 4, "running")), [])
    assert text.getvalue() == ""
    display.update(snapshot(first, dropped, ended), [])
    test = run(0, 4, "done", "complete", kind="test", value=0.125)
    display.update(snapshot(first, dropped, ended, test), [])
    assert text.getvalue().splitlines() == [
        "[confirm] trial 9 again, seed 7: dropped",
        "[confirm 2/2] trial 4 again, seed 7: out of memory",
        "[test 1/1] trial 4 on the test part: complete 0.125",
    ]


@pytest.mark.parametrize(
    ("point", "shown", "hidden"),
    [
        ({"value": 0.75}, "accuracy", "val"),
        ({"value": 0.75, "val_loss": 0.5}, "val", "accuracy"),
    ],
)
def test_a_metric_stands_where_there_is_no_loss(
    point: dict[str, float], shown: str, hidden: str
) -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=True, color_system=None)
    curve = {"curve": [{"epoch": 3.0, "lr": 0.1, **point}]}
    display = LiveDisplay(console, Shown(MetricSettings("accuracy", "max")), [])
    console.print(display.render(snapshot(run(0, 4, "running", owner="h/1/1.0", result=curve))))
    (header,) = [line for line in text.getvalue().splitlines() if "recipe" in line]
    assert shown in header.split()
    assert hidden not in header.split()


def test_a_terminal_shows_the_runs_at_work_with_their_last_evaluation() -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=True, color_system=None)
    curve = {"curve": [{"epoch": 3.0, "train_loss": 0.75, "val_loss": 0.5, "lr": 0.1}]}
    display = LiveDisplay(console, Shown(), [])
    console.print(display.render(snapshot(run(0, 4, "running", owner="h/1/1.0", result=curve))))
    shown = text.getvalue()
    assert "confirming the best: 0 of 1 run" in shown
    assert "0.75" in shown
    assert "lr=0.1" in shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_trial_that_failed_or_never_had_a_value_says_why(is_terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=is_terminal, color_system=None)
    display = (LiveDisplay if is_terminal else PlainDisplay)(console, Shown(), [])
    new = [
        Finished(k, k, k, 0, outcome, value, reason, 1.0, RECIPE, None)
        for k, (outcome, value, reason) in enumerate(
            [
                ("failed", None, "Traceback\n  a frame\nKeyError: 'x'"),
                ("diverged", None, "none of the evaluations has a finite val_f1"),
                ("diverged", 9.0, "diverged at step 40"),
                ("complete", 0.5, None),
            ]
        )
    ]
    with display:
        display.update(Snapshot(4, [], "open", None, False, []), new)
    shown = text.getvalue()
    assert "KeyError: 'x'" in shown
    assert "a finite val_f1" in shown
    assert "at step 40" not in shown
    assert "a frame" not in shown
    if is_terminal:
        assert "trial 0 failed: KeyError" in shown
        assert "trial 1 diverged: none of" in shown


def ended(trial: int, seconds: float = 2.0) -> Finished:
    return Finished(
        trial, trial, trial, 0, "complete", 0.5, None, seconds, RECIPE, None, None, 1.0, seconds
    )


def at_work(trial: int, share: float | None, curve: tuple[Losses, ...] = ()) -> Running:
    epoch = None if share is None else 6 * share
    return Running(trial, "h/1/1", RECIPE, epoch, 0.75, 0.5, 0.5, 0.1, share, curve)


def state(total: int, *running: Running, starting: int = 0) -> Snapshot:
    return Snapshot(total, list(running), "open", None, False, starting=starting)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of displays, in a list of one number."""
    now = [100.0]
    monkeypatch.setattr("lrsearch.cli.display.monotonic", lambda: now[0])
    return now


def test_workers_are_said_to_start_for_as_long_as_they_do(clock: list[float]) -> None:
    text = io.StringIO()
    plain = PlainDisplay(Console(file=text, width=200), Shown(), [])
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=True, color_system=None)
    live = LiveDisplay(console, Shown(), [])
    for at, snapshot, said in [
        (100.0, state(20, starting=2), "0/20 trials, starting 2 workers; 0s"),
        (104.0, state(20, starting=2), "0/20 trials, starting 2 workers; 4s"),
        (105.0, state(20, at_work(0, None), starting=1), "1 running, starting 1 worker; 5s"),
        (106.0, state(20, at_work(0, None), at_work(1, None)), "2 running; 6s"),
    ]:
        clock[0] = at
        plain.update(snapshot, [])
        live.update(snapshot, [])
        screen.truncate(0)
        console.print(live.render(snapshot))
        assert said in screen.getvalue()
    assert text.getvalue().splitlines() == ["starting 2 workers"]


def test_the_time_left_counts_down_between_the_ends_of_trials(clock: list[float]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=True, color_system=None)
    display = LiveDisplay(console, Shown(expected=Expected((32,), False), workers=1), [])
    left = []
    for trial in range(4):
        for tick in range(5):
            new = [ended(trial - 1, 10.0)] if trial and not tick else []
            display.update(state(12, at_work(trial, 0.2 * tick or None)), new)
            left.append(display.tally.left)
            clock[0] += 2.0
    assert left[0] is None
    known = [seconds for seconds in left if seconds is not None]
    assert all(0 < before - after < 5 for before, after in pairwise(known[-8:]))
    assert known[-1] == pytest.approx(82.0, rel=0.05)


def test_a_sweep_with_a_time_limit_has_no_more_than_that_left(clock: list[float]) -> None:
    text = io.StringIO()
    sweep = Shown(expected=Expected((32,), False), limit=60.0, spent=20.0, workers=1)
    display = PlainDisplay(Console(file=text, width=200), sweep, [])
    for trial in range(3):
        clock[0] += 10.0
        display.update(state(1000, at_work(trial + 1, None)), [ended(trial, 10.0)])
    assert text.getvalue().splitlines()[-1].endswith("10.0s  (50s, about 10s left)")


@pytest.mark.parametrize(
    ("display_type", "width"),
    [(LiveDisplay, 80), (LiveDisplay, 100), (LiveDisplay, 120), (NotebookDisplay, 150)],
)
def test_a_running_trial_is_shown_with_its_epochs_and_a_line_of_each_loss(
    display_type: type[LiveDisplay], width: int
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    curve = tuple(Losses(train, val, None) for train, val in [(1.0, 3.0), (0.9, 2.0), (0.75, 0.5)])
    display = display_type(console, Shown(epochs=6.0), [])
    snapshot = state(12, at_work(7, 0.5, curve), at_work(8, None))
    console.print(display.render(snapshot))
    (row,) = [line for line in screen.getvalue().splitlines() if line.split()[:1] == ["7"]]
    assert row.split()[:7] == ["7", "3/6", "0.75", "█▅▁", "0.5", "█▅▁", "0.1"]
    (other,) = [line for line in screen.getvalue().splitlines() if line.split()[:1] == ["8"]]
    assert other.split()[1] == "0/6"
    assert "lr=0.1" in row
    assert max(map(len, screen.getvalue().splitlines())) <= width


@pytest.mark.parametrize(("rate", "shown"), [(2.2423e-05, "2.24e-05"), (0.00045123, "0.000451")])
def test_a_small_learning_rate_is_shown_whole(rate: float, shown: str) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    running = dataclasses.replace(at_work(7, 0.5), lr=rate)
    console.print(LiveDisplay(console, Shown(), []).render(state(12, running)))
    assert shown in screen.getvalue().split()


def test_the_length_of_a_training_follows_from_its_progress_where_no_key_says_it() -> None:
    assert at_epoch(at_work(0, 0.5)) == "3/6"
    assert at_epoch(at_work(0, None)) == "-"
    assert at_epoch(dataclasses.replace(at_work(0, None), epoch=2.0)) == "2"


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("cannot read a://b:a://b, :warning:", markup=False)
    assert capsys.readouterr().out.strip() == "cannot read a://b:a://b, :warning:"


def test_an_outcome_is_named_in_words() -> None:
    text = io.StringIO()
    display = PlainDisplay(Console(file=text, width=200), Shown(), [])
    ended = Finished(0, 0, 0, 0, "out_of_memory", None, None, 1.0, RECIPE, None)
    display.update(snapshot(), [ended])
    assert "trial 0 out of memory" in text.getvalue()

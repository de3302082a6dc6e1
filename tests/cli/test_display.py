"""What the screen shows of the runs outside the budget."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lrsearch.analysis.auxiliary_runs import auxiliary_work
from lrsearch.cli.display import LiveDisplay, PlainDisplay, make_console
from lrsearch.settings import MetricSettings
from lrsearch.study.progress import AuxiliaryRun, Finished, Snapshot

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
    display = PlainDisplay(Console(file=text, width=200), MetricSettings(), [])
    first = run(0, 4, "done", "complete", value=0.25, seconds=2.0)
    dropped = run(1, 9, "done", "dropped")
    display.update(snapshot(first, run(1, 9, "open"), run(2, 4, "open")), [])
    assert text.getvalue() == ""  # it had ended before this look began
    ended = run(2, 4, "done", "complete", value=0.5)
    display.update(snapshot(first, dropped, run(2, 4, "running")), [])
    assert text.getvalue() == ""
    display.update(snapshot(first, dropped, ended), [])
    test = run(0, 4, "done", "complete", kind="test", value=0.125)
    display.update(snapshot(first, dropped, ended, test), [])
    assert text.getvalue().splitlines() == [
        "[confirm] trial 9 again, seed 7: dropped",
        "[confirm 2/2] trial 4 again, seed 7: complete 0.5",
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
    display = LiveDisplay(console, MetricSettings("accuracy", "max"), [])
    console.print(display.render(snapshot(run(0, 4, "running", owner="h/1/1.0", result=curve))))
    (header,) = [line for line in text.getvalue().splitlines() if "recipe" in line]
    assert shown in header.split()
    assert hidden not in header.split()


def test_a_terminal_shows_the_runs_at_work_with_their_last_evaluation() -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=True, color_system=None)
    curve = {"curve": [{"epoch": 3.0, "train_loss": 0.75, "val_loss": 0.5, "lr": 0.1}]}
    display = LiveDisplay(console, MetricSettings(), [])
    console.print(display.render(snapshot(run(0, 4, "running", owner="h/1/1.0", result=curve))))
    shown = text.getvalue()
    assert "confirming the best: 0 of 1 run" in shown
    assert "0.75" in shown
    assert "lr=0.1" in shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_trial_that_failed_or_never_had_a_value_says_why(is_terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=is_terminal, color_system=None)
    display = (LiveDisplay if is_terminal else PlainDisplay)(console, MetricSettings(), [])
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


def test_the_time_left_is_by_the_clock_and_not_said_before_a_trial_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("lrsearch.cli.display.monotonic", lambda: now)
    text = io.StringIO()
    display = PlainDisplay(Console(file=text, width=200), MetricSettings(), [])

    def show(*outcomes: str) -> None:
        new = [
            Finished(k, k, k, 0, outcome, 0.5, None, 1.0, RECIPE, None)
            for k, outcome in enumerate(outcomes)
        ]
        display.update(Snapshot(40, [], "open", None, False, []), new)

    now = 150.0  # spent on starting up
    show()
    now = 155.0
    show(*["pruned"] * 5)
    assert "left" not in text.getvalue()
    now = 160.0
    show(*["complete"] * 5)
    assert text.getvalue().splitlines()[-1].endswith(" 30.0s left")  # 10 in 10 s, 30 to go


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("cannot read a://b:a://b, :warning:", markup=False)
    assert capsys.readouterr().out.strip() == "cannot read a://b:a://b, :warning:"

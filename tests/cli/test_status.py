"""`status`: once and watched, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import Command

from lrsearch.cli import status
from lrsearch.queue.endings import Ending
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.settings import QueueSettings
from lrsearch.storage.database import Database
from lrsearch.study.follow_up import follow_up
from lrsearch.study.study import load_row


@pytest.fixture
def open_unit(swept: Path) -> TrialClaims:
    """The swept study with one more unit to do, and a worker that could do it."""
    database = Database("sqlite:///lrsearch.db")
    study_id = load_row(database, "digits").study_id
    Queue(database.session, study_id).add([({}, 1)], first=6)
    return TrialClaims(database.session, study_id, "far-away/1/1.00", follow_up, QueueSettings())


def test_a_finished_study_says_how_long_it_took(command: Command, swept: Path) -> None:
    code, out, _ = command("status", "digits")
    assert code == 0
    assert "done     6/6 done" in out
    assert "6 complete; " in out
    assert "; 0.0s of wall clock" not in out


def test_for_programs_it_is_json_and_nothing_else(command: Command, swept: Path) -> None:
    one = json.loads(command("status", "digits", "--json")[1])
    assert (one["study"], one["state"], one["total"], one["done"]) == ("digits", "done", 6, 6)
    assert one["outcomes"] == {"complete": 6}
    assert one["seconds"] > 0
    assert json.loads(command("status", "--json")[1]) == [one]


def test_trials_that_wait_for_a_worker_are_told_with_how_to_start_one(
    command: Command, open_unit: TrialClaims
) -> None:
    said = (
        "1 trial waits, no worker is at it; to start one: python -m lrsearch worker --sweep digits"
    )
    for names in ((), ("digits",)):
        assert said in command("status", *names)[1]
    assert json.loads(command("status", "digits", "--json")[1])["lacks_workers"]
    assert open_unit.claim(take_over=False) is not None
    assert "no worker" not in command("status", "digits")[1]
    assert not json.loads(command("status", "digits", "--json")[1])["lacks_workers"]


def test_watching_what_is_done_says_each_line_once(command: Command, swept: Path) -> None:
    for names in ((), ("digits",)):
        _, out, _ = command("status", *names, "--watch")
        assert out.count("6/6 done") == 1


def test_watching_ends_when_the_study_is_done_with_a_line_for_each_trial(
    command: Command, open_unit: TrialClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(seconds: float) -> None:
        claim = open_unit.claim(take_over=False)
        assert claim is not None
        open_unit.finish(claim, Ending("failed", reason="no disk"), 1.0)

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=work))
    code, out, _ = command("status", "digits", "--watch")
    assert code == 0
    assert "1 trial waits, no worker is at it" in out
    assert "[7/7] trial 6 failed" in out
    assert "1 failed" in out


def test_watching_all_shows_each_change_and_ends_with_the_last(
    command: Command, open_unit: TrialClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(seconds: float) -> None:
        claim = open_unit.claim(take_over=False)
        assert claim is not None
        open_unit.finish(claim, Ending("failed", reason="no disk"), 1.0)

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=work))
    code, out, _ = command("status", "--watch")
    assert code == 0
    assert out.index("6/7 done") < out.index("7/7 done")


@pytest.mark.parametrize("names", [(), ("digits",)])
def test_ctrl_c_ends_watching_quietly(
    command: Command,
    open_unit: TrialClaims,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=interrupt))
    code, _, error = command("status", *names, "--watch")
    assert (code, error) == (130, "")


def test_bad_input_is_refused(command: Command, swept: Path) -> None:
    for arguments, said in (
        (("digist",), "did you mean digits?"),
        (("digits", "more"), "one word too many"),
        (("--watch", "--json"), "give one of them"),
        (("storage.url=sqlite:///typo.db",), "there is no database"),
    ):
        code, out, error = command("status", *arguments)
        assert (code, out) == (2, "")
        assert said in error

"""Notes and figures, as the dashboard itself reads them."""

from __future__ import annotations

from typing import Any

import optuna
import optuna_dashboard
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from sqlalchemy.exc import IntegrityError

from lrsearch.dashboard import attributes
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import StudyRow

LONG = "é" * 150_000


class Board:
    """A study of a database, and what the dashboard reads of it."""

    def __init__(self, url: str) -> None:
        self.studies = Studies(url)
        self.database = Database(url, self.studies.engine)
        self.study_id = self.studies.create("one", "min", "val_loss")
        with self.database.session.begin() as session:
            session.add(StudyRow(study_id=self.study_id, name="one", config={}, record={}))
        self.study = optuna.load_study(study_name="one", storage=url)

    def stored(self) -> attributes.Attributes:
        with self.database.session() as session:
            return attributes.read(session, self.study_id)

    def write(self, changes: attributes.Changes) -> None:
        with self.database.session.begin() as session:
            attributes.write(session, self.study_id, changes)

    def system(self) -> dict[str, Any]:
        return self.study._storage.get_study_system_attrs(self.study_id)


@pytest.fixture
def board(either_url: str) -> Board:
    return Board(either_url)


@pytest.mark.parametrize(
    "body", ["short", LONG, "a 'quote' \\ and <b>"], ids=["short", "long", "special"]
)
def test_the_dashboard_reads_the_notes_of_the_study_and_of_a_trial(board: Board, body: str) -> None:
    trial = board.study.ask()
    board.write(attributes.note(board.stored(), body))
    board.write(attributes.note(board.stored(), f"{body}!", trial._trial_id))
    assert optuna_dashboard.get_note(board.study) == body + attributes.KEPT_BELOW
    assert optuna_dashboard.get_note(trial) == f"{body}!{attributes.KEPT_BELOW}"


def test_the_same_note_again_changes_nothing_and_a_shorter_one_leaves_no_rest(board: Board) -> None:
    board.write(attributes.note(board.stored(), LONG))
    assert attributes.note(board.stored(), LONG) == {}
    board.write(attributes.note(board.stored(), "short"))
    assert optuna_dashboard.get_note(board.study) == "short" + attributes.KEPT_BELOW
    assert board.system()["dashboard:note_ver"] == 2


def test_what_somebody_has_added_to_a_note_stays(board: Board) -> None:
    board.write(attributes.note(board.stored(), "first"))
    body = optuna_dashboard.get_note(board.study) + "my own words\n"
    optuna_dashboard.save_note(board.study, body)
    board.write(attributes.note(board.stored(), "second"))
    after = optuna_dashboard.get_note(board.study)
    assert after.startswith("second\n")
    assert after.endswith("my own words\n")


def test_notes_of_trials_that_have_none_any_more_go_unless_somebody_has_added_to_them(
    board: Board,
) -> None:
    kept, gone, edited, theirs = (board.study.ask() for _ in range(4))
    for trial in (kept, gone, edited):
        board.write(attributes.note(board.stored(), LONG, trial._trial_id))
    optuna_dashboard.save_note(edited, optuna_dashboard.get_note(edited) + "my own words")
    optuna_dashboard.save_note(theirs, "all mine")
    board.write(attributes.note(board.stored(), "of the study"))
    board.write(attributes.old_notes(board.stored(), {kept._trial_id}))
    assert optuna_dashboard.get_note(kept) == LONG + attributes.KEPT_BELOW
    assert optuna_dashboard.get_note(gone) == ""
    assert optuna_dashboard.get_note(edited).endswith("my own words")
    assert optuna_dashboard.get_note(theirs) == "all mine"
    assert optuna_dashboard.get_note(board.study) == "of the study" + attributes.KEPT_BELOW
    assert not [key for key in board.system() if f":{gone._trial_id}:" in key]


def test_a_note_that_is_somebody_elses_is_left_alone(board: Board) -> None:
    optuna_dashboard.save_note(board.study, "mine alone " * 1000)
    assert attributes.note(board.stored(), "lrsearch's") == {}


def test_the_dashboard_reads_the_figures_and_those_that_are_gone_disappear(board: Board) -> None:
    theirs = '{"data": ["theirs"]}'
    board.study._storage.set_study_system_attr(board.study_id, "dashboard:plot_data:own:0", theirs)
    drawn = {"lrsearch-a": LONG, "lrsearch-b": "{}"}
    board.write(attributes.figures(board.stored(), drawn))
    assert get_plotly_graph_objects(board.system()) == {**drawn, "own": theirs}
    assert attributes.figures(board.stored(), drawn) == {}
    board.write(attributes.figures(board.stored(), {"lrsearch-a": "{}"}))
    assert get_plotly_graph_objects(board.system()) == {"lrsearch-a": "{}", "own": theirs}


def test_a_mark_is_remembered_for_each_study(board: Board) -> None:
    board.write(attributes.marked("abc"))
    board.write(attributes.marked("def"))
    with board.database.session() as session:
        assert attributes.marks(session) == {board.study_id: "def"}


def test_who_writes_the_same_at_the_same_moment_is_told_and_nothing_is_there_twice(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = attributes.note(board.stored(), "both")
    board.write(changes)
    monkeypatch.setattr(attributes, "_batches", lambda keys: [])  # deletes before the other's write
    with pytest.raises(IntegrityError):
        board.write(changes)
    assert optuna_dashboard.get_note(board.study) == "both" + attributes.KEPT_BELOW


@given(st.lists(st.text(max_size=30), max_size=6))
def test_whatever_is_written_in_turn_the_last_note_is_what_is_read(bodies: list[str]) -> None:
    stored: attributes.Attributes = {}
    for body in bodies:
        for key, value in attributes.note(stored, body, 7).items():
            stored.pop(key, None)
            if value is not None:
                stored[key] = value
        assert attributes._text(stored, "dashboard:7:note_str:") == body + attributes.KEPT_BELOW

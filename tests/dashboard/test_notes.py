"""What the notes say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from told_sweep import ToldSweep

from lrsearch.analysis.study_data import read_study
from lrsearch.dashboard import notes
from lrsearch.dashboard.notes import study_note, trial_note
from lrsearch.states import Outcome
from lrsearch.storage.optuna_bridge import picture_id


def the_note(sweep: ToldSweep, *findings: str) -> str:
    return study_note(read_study(sweep.database, "digits"), "Use trial 1.", findings)


def test_the_note_of_a_study_says_how_far_it_is_what_is_best_and_how_to_run_it(
    sweep: ToldSweep,
) -> None:
    sweep.trial(0.5)
    best = sweep.trial(0.25)
    sweep.trial(1e-9, Outcome.DIVERGED)
    note = the_note(sweep, "cosine was best")
    assert "3 of 6 trials have ended (2 complete, 1 diverged)" in note
    assert f"Trial {best.trial_number}: val\\_loss 0.25" in note
    assert f"python -m lrsearch train digits --trial {best.trial_number}" in note
    assert "batch_size:" in note
    assert "- cosine was best" in note
    picture = f"/artifacts/{sweep.study_id}/{best.trial_id}/{picture_id(best.trial_id)}"
    assert f"![Losses and learning rate of trial {best.trial_number}]({picture})" in note


def test_a_study_in_which_nothing_has_completed_has_no_best_recipe(sweep: ToldSweep) -> None:
    sweep.trial(1e-9, Outcome.DIVERGED)
    sweep.trial(None, Outcome.OUT_OF_MEMORY, evaluations=0)
    note = the_note(sweep)
    assert "No trial has completed yet" in note
    assert "1e-09" not in note


def test_the_note_of_a_trial_says_how_and_why_it_ended(sweep: ToldSweep) -> None:
    failed = sweep.trial(
        None, Outcome.FAILED, evaluations=1, reason="Traceback\n```\n<b>ValueError</b>"
    )
    running = sweep.begin()
    study = read_study(sweep.database, "digits")
    note = trial_note(study.trial(failed.trial_number), study)
    assert note.startswith("**failed**, after 1.5s, 1 epoch, on cpu")
    assert "````text\nTraceback\n```\n<b>ValueError</b>\n````" in note
    assert "scheduler:" in note
    assert trial_note(study.trial(running.trial_number), study).startswith("**running**")


def test_a_name_with_blanks_is_quoted_in_commands_and_plain_in_text(url: str) -> None:
    sweep = ToldSweep(url, 1, "study.name='my *best* try'")
    sweep.trial()
    note = study_note(read_study(sweep.database, "my *best* try"), "Use trial 1.", [])
    assert "lrsearch train 'my *best* try' --trial 0" in note
    assert note.startswith("# my \\*best\\* try\n")
    sweep.close()


@pytest.mark.parametrize("text", ["<script>", "*a*", "[x](http://y)", "`code`", "a & b"])
def test_nothing_in_a_plain_text_is_markup(text: str) -> None:
    escaped = notes._plain(text)
    assert re.sub(r"\\(.)", r"\1", escaped) == text
    assert not re.search(r"(?<!\\)[<>*\[\]`&]", escaped)


@given(st.text())
def test_no_text_leaves_its_block_of_code(text: str) -> None:
    fence, *inside, end = notes._fenced(text).split("\n")
    assert end == fence.removesuffix("text")
    assert not any(line.startswith(end) for line in inside)


def test_the_note_of_a_confirmed_study_leads_with_what_was_confirmed(url: str) -> None:
    from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
    from lrsearch.queue.endings import Ending
    from lrsearch.study.follow_up import follow_up

    sweep = ToldSweep(url, 2, "confirm.top=2", "confirm.seeds=2")
    sweep.trial(0.25)
    lucky = sweep.trial(0.2)
    assert "Not confirmed yet (confirming the best 2: 0 of 4 runs)" in the_note(sweep)
    side = AuxiliaryClaims(sweep.database.session, sweep.study_id, "far/1/1.00", follow_up)
    for value in (0.4, 0.26, 0.41, 0.27):
        claim = side.claim(take_over=False)
        assert claim is not None
        side.finish(claim, Ending(Outcome.COMPLETE, value), {}, 1.0)
    note = the_note(sweep)
    assert "Trial 0, confirmed: val\\_loss" in note
    assert "on fresh seeds, mean of 2 runs (lower is better)" in note
    assert (
        f"the best of the search, trial {lucky.trial_number}, had 0.2 (optimistic: the best of 2)"
        in note
    )
    sweep.close()

"""Trials that are runs of a script, as a worker serves them."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Command
from documentation import EXAMPLES, Section
from local_worker import serve, submit
from taken import Taken

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.objectives.command import CommandObjective

REPORTS = """
printf "trial with rate $1 \\n"
epoch=$(cat $2/epoch 2> /dev/null || echo 0)
while [ $epoch -lt 3 ]; do
    epoch=$((epoch + 1))
    echo "{\\"epoch\\": $epoch, \\"val_loss\\": 0.$epoch}" >> $LRSEARCH_REPORT
    until [ $(wc -l < $LRSEARCH_TRIAL/answers.jsonl) = $(wc -l < $LRSEARCH_REPORT) ]; do
        sleep 0.01
    done
    echo $epoch > $2/epoch
    tail -1 $LRSEARCH_TRIAL/answers.jsonl | grep -q continue || exit 0
done
"""


def study(name: str, script: str, *overrides: str) -> None:
    """Store a study of a shell script, which is written to the current folder."""
    Path("train.sh").write_text(script)
    submit(
        "+sweep=digits",
        f"study.name={name}",
        "study.n_trials=2",
        "train.epochs=3",
        "train.device=cpu",
        "pruner=none",
        'objective.command=[bash, train.sh, "{lr}", "{checkpoint_dir}"]',
        *overrides,
    )


def rows(query: str) -> list[tuple[Any, ...]]:
    """The rows of a query to the database in the current folder."""
    with closing(sqlite3.connect("lrsearch.db")) as database:
        return database.execute(query).fetchall()


def outcomes() -> list[tuple[Any, ...]]:
    """How all trials ended, and why."""
    return rows("select outcome, reason from lrsearch_units order by unit_id")


def test_a_script_is_served_and_confirmed_on_fresh_seeds(
    own_folder: Path, command: Command
) -> None:
    study("script", REPORTS, "confirm={top: 1, seeds: 2}")
    serve()
    assert outcomes() == [("complete", None)] * 2
    evaluations = rows("select epoch, val_loss from lrsearch_epochs order by trial_id, epoch")
    assert evaluations == [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)] * 2
    runs = rows("select kind, outcome from lrsearch_side_runs order by side_run_id")
    assert runs[:2] == [("confirm", "complete")] * 2
    code, printed, _ = command("show", "script", "1", "--log")
    assert code == 0
    assert printed.startswith("trial with rate 0.")
    code, printed, _ = command("best", "script", "--format", "python")
    assert "bash" in printed


@pytest.mark.parametrize(
    "example",
    [one for one in EXAMPLES if one.page == "scripts.md" and not one.commands],
    ids=lambda one: one.title,
)
def test_the_scripts_of_the_documentation_report(own_folder: Path, example: Section) -> None:
    example.write(own_folder)
    sweep = next(Path(name).stem for name in example.files if name.endswith(".yaml"))
    settings = load_settings([f"+sweep={sweep}", "train.device=cpu"])
    objective, taken = CommandObjective(settings, torch.device("cpu"), own_folder), Taken()
    recipe = settings.space.sample(random.Random(0))
    objective.run(recipe, 0, taken, lambda: False, NoCheckpoints())
    assert [epoch for epoch, _ in taken.reported] == [
        float(epoch) for epoch in range(1, int(settings.train.epochs) + 1)
    ]
    assert taken.warnings == []


def test_a_script_that_is_handed_back_goes_on_from_its_own_files(own_folder: Path) -> None:
    study("script", REPORTS, "study.n_trials=1", "objective.grace=0")
    serve(stop_when=lambda: rows("select epoch from lrsearch_epochs") != [])
    assert rows("select state from lrsearch_units") == [("open",)]
    serve()
    assert outcomes() == [("complete", None)]
    assert rows("select epoch from lrsearch_epochs") == [(1.0,), (2.0,), (3.0,)]
    assert rows("select attempts, deaths from lrsearch_units") == [(2, 0)]


def test_a_failure_has_the_last_of_the_output(own_folder: Path, command: Command) -> None:
    study("script", "echo the cause; exit 7", "study.n_trials=1")
    serve()
    ((outcome, reason),) = outcomes()
    assert outcome == "failed"
    assert "exit code 7" in reason
    assert reason.endswith("the cause")
    assert "Traceback" not in reason
    assert "the cause" in command("show", "script", "0")[1]


def test_out_of_memory_is_infeasible(own_folder: Path) -> None:
    study("script", "echo 'RuntimeError: CUDA out of memory.'; exit 1")
    serve()
    assert [outcome for outcome, _ in outcomes()] == ["out_of_memory"] * 2


@pytest.mark.parametrize("words", ["[no-such-program]", "[python, absent.py]"])
def test_a_program_that_is_not_there_is_said_before_anything_is_stored(
    own_folder: Path, command: Command, words: str
) -> None:
    code, _, errors = command("+sweep=digits", f"objective.command={words}")
    assert code == 2
    assert "objective.command: there is no" in errors
    assert not Path("lrsearch.db").exists()


def test_a_dry_run_shows_the_command(own_folder: Path, command: Command) -> None:
    code, printed, _ = command("+sweep=digits", "dry_run=true", 'objective.command=[echo, "{lr}"]')
    assert code == 0
    assert "objective: echo '{lr}'" in printed

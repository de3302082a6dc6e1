"""Whole sweeps through the command line, on real data, as a user runs them."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import psutil
import pytest
import yaml
from command_line import BUGGY, Query, Run

QUICK = ("+sweep=digits", "study.n_trials=6", "train.epochs=3")


def states(query: Query) -> list[tuple[object, ...]]:
    return query("select number, state from trials order by number")


def test_a_sweep_finds_a_recipe_and_leaves_everything_in_place(
    sweep_folder: Path, lrsearch: Run, query: Query, tmp_path: Path
) -> None:
    shutil.copytree(sweep_folder, tmp_path, dirs_exist_ok=True)
    printed = (tmp_path / "printed.txt").read_text()
    assert "[6/6]" in printed
    assert "best trial" in printed
    assert states(query) == [(number, "COMPLETE") for number in range(6)]

    # The tables: a row for each evaluation, rates as the optimizer held them.
    rows = query("select trial_id, count(*), max(step) from lrsearch_epochs group by trial_id")
    assert [count for _, count, _ in rows] == [3] * 6
    assert query(
        "select count(*) from lrsearch_epochs where lr_start <= 0 or val_loss is null"
    ) == [(0,)]

    # The files.
    output = tmp_path / "outputs" / "digits"
    record = yaml.safe_load((output / "best.yaml").read_text())
    best = optuna.load_study(
        study_name="digits", storage=f"sqlite:///{tmp_path / 'lrsearch.db'}"
    ).best_trial
    assert (record["trial"], record["value"]) == (best.number, best.value)
    assert record["machine"]["device"] == "cpu"
    with (output / "trials.csv").open() as file:
        assert [row["trial"] for row in csv.DictReader(file)] == [str(k) for k in range(6)]

    # The best again, from both files, to the last bit.
    again = lrsearch("train", "outputs/digits/best.yaml")
    assert again.returncode == 0, again.stderr
    assert "equal to the last bit" in again.stdout
    script = subprocess.run(
        [sys.executable, str(output / "best.py")], capture_output=True, text=True, cwd=tmp_path
    )
    assert script.returncode == 0, script.stderr
    assert script.stdout.splitlines()[-1] == f"val_loss {record['value']!r}"
    assert "lrsearch" not in re.sub(r'"""[\s\S]*?"""', "", (output / "best.py").read_text())


@pytest.mark.slow
def test_the_linear_sweep_begins_with_five_textbook_schedules(lrsearch: Run, query: Query) -> None:
    done = lrsearch("+sweep=linear", "study.n_trials=5")
    assert done.returncode == 0, done.stderr
    rows = query(
        "select json_extract(u.recipe, '$.scheduler.name'), e.lr_end, e.train_loss "
        "from lrsearch_epochs e join lrsearch_units u using (trial_id) "
        "where e.step = 100 order by u.number"
    )
    names = [name for name, _, _ in rows]
    assert names == ["constant", "step", "cosine", "exponential", "plateau"]
    rates = [rate for _, rate, _ in rows[:4]]
    assert rates == [0.25, 6.640349721896886e-06, 0, 0.0014801323050834992]
    assert all(abs(float(str(loss)) - 0.0404) < 0.006 for _, _, loss in rows[:4])


@pytest.mark.slow
def test_the_same_command_resumes_extends_and_refuses_another_set_up(
    lrsearch: Run, query: Query
) -> None:
    assert lrsearch(*QUICK).returncode == 0
    before = states(query)
    again = lrsearch(*QUICK)
    assert again.returncode == 0
    assert "goes on at 6 of 6" in again.stdout
    assert states(query) == before
    longer = lrsearch("+sweep=digits", "study.n_trials=8", "train.epochs=3", "sampler=random")
    assert "extended from 6 to 8 trials" in longer.stdout
    assert "sampler is now random" in longer.stdout
    assert len(states(query)) == 8
    other = lrsearch("+sweep=digits", "study.n_trials=8", "train.epochs=4")
    assert other.returncode == 2
    assert "train.epochs: was 3, is 4" in other.stderr
    assert len(states(query)) == 8


@pytest.mark.slow
def test_random_search_gives_the_same_trials_and_no_two_alike_whatever_the_number_of_workers(
    lrsearch: Run, query: Query
) -> None:
    def recipes(name: str, workers: int) -> list[tuple[object, ...]]:
        done = lrsearch(
            *QUICK, "sampler=random", "pruner=none", f"study.name={name}", f"workers={workers}"
        )
        assert done.returncode == 0, done.stderr
        found = query(
            "select u.number, u.recipe, u.value from lrsearch_units u join lrsearch_studies s "
            f"using (study_id) where s.name = '{name}' order by u.number"
        )
        assert len({recipe for _, recipe, _ in found}) == 6  # no two alike
        return found

    assert recipes("one", 1) == recipes("three", 3)


@pytest.mark.slow
def test_three_failures_in_a_row_stop_the_sweep_with_the_cause_on_screen(
    lrsearch: Run, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "buggy.py").write_text(BUGGY)
    done = lrsearch("+sweep=digits", "model._target_=buggy.Net", "~model.hidden", "workers=1")
    assert done.returncode == 1
    assert "3 trials failed in a row" in done.stdout
    assert "a bug in the model" in done.stdout
    assert states(query) == [(0, "FAIL"), (1, "FAIL"), (2, "FAIL")]
    assert all("ValueError" in str(reason) for reason, in query(
        "select reason from lrsearch_units where outcome = 'failed'"))  # fmt: skip


@pytest.fixture
def started(tmp_path: Path, environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Starts a sweep that takes a while and waits until a trial has been evaluated."""

    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lrsearch", "+sweep=digits", "study.n_trials=4",
             "train.epochs=250", "pruner=none", "workers=2", *more],
            cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    return start


def wait_for(query: Query, sql: str, wanted: Callable[[list[tuple[object, ...]]], bool]) -> None:
    """Polls the database until it says so; the test's timeout is the bound."""
    import sqlite3

    while True:
        try:
            if wanted(query(sql)):
                return
        except sqlite3.OperationalError:
            pass  # the tables are not there yet
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running_and_the_next_run_finishes_the_total(
    started: Callable[..., subprocess.Popen[str]], query: Query, lrsearch: Run
) -> None:
    process = started()
    wait_for(query, "select count(distinct trial_id) from lrsearch_epochs", lambda r: r[0] >= (2,))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; to go on: python -m lrsearch +sweep=digits" in output
    assert not [state for _, state in states(query) if state == "RUNNING"]
    done = lrsearch(
        "+sweep=digits", "study.n_trials=4", "train.epochs=250", "pruner=none", "workers=2"
    )
    assert done.returncode == 0, done.stderr
    assert states(query) == [(number, "COMPLETE") for number in range(4)]
    rows = query("select trial_id, count(*), count(distinct step) from lrsearch_epochs group by 1")
    assert [(count, distinct) for _, count, distinct in rows] == [(250, 250)] * 4


@pytest.mark.slow
def test_ctrl_c_twice_stops_at_once_and_still_leaves_nothing_running(
    started: Callable[..., subprocess.Popen[str]], query: Query
) -> None:
    process = started()
    wait_for(query, "select count(*) from lrsearch_epochs", lambda r: r[0] >= (1,))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not [state for _, state in states(query) if state == "RUNNING"]


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_replaced_and_no_trial_is_lost(
    started: Callable[..., subprocess.Popen[str]], query: Query
) -> None:
    process = started()
    wait_for(query, "select count(distinct trial_id) from lrsearch_epochs", lambda r: r[0] >= (2,))
    workers = [
        child for child in psutil.Process(process.pid).children() if "worker" in child.cmdline()
    ]
    workers[0].kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert f"(process {workers[0].pid}" in output
    assert "died (signal 9)" in output
    assert states(query) == [(number, "COMPLETE") for number in range(4)]
    assert query("select max(attempts) from lrsearch_units") == [(2,)]


@pytest.mark.slow
def test_workers_whose_parent_is_killed_stop_and_the_next_run_takes_over(
    started: Callable[..., subprocess.Popen[str]], query: Query, lrsearch: Run
) -> None:
    process = started()
    wait_for(query, "select count(*) from lrsearch_epochs", lambda r: r[0] >= (5,))
    workers = psutil.Process(process.pid).children()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert len(gone) >= 2
    done = lrsearch(
        "+sweep=digits", "study.n_trials=4", "train.epochs=250", "pruner=none", "workers=2"
    )
    assert done.returncode == 0, done.stderr
    assert states(query) == [(number, "COMPLETE") for number in range(4)]


@pytest.mark.slow
def test_a_timeout_ends_the_sweep_and_hands_running_trials_back(
    lrsearch: Run, query: Query
) -> None:
    done = lrsearch(
        "+sweep=digits", "study.n_trials=2", "train.epochs=100000", "pruner=none",
        "study.timeout=6", "workers=1",
    )  # fmt: skip
    assert done.returncode == 1  # no trial has completed
    assert not [state for _, state in states(query) if state == "RUNNING"]
    assert query("select seconds >= 6 from lrsearch_studies") == [(1,)]


@pytest.mark.slow
def test_without_mnist_the_digits_stand_in_and_every_result_says_so(
    lrsearch: Run, query: Query, tmp_path: Path
) -> None:
    command = (
        "+sweep=mnist", "study.n_trials=1", "train.epochs=1", f"data.root={tmp_path / 'none'}"
    )  # fmt: skip
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = lrsearch(*command, **proxy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("WARNING: not mnist: digits stand in for it") == 2
    assert query("select name from lrsearch_studies") == [("mnist-on-digits",)]
    (warning,) = query("select value_json from study_user_attributes where key = 'WARNING'")
    assert "not mnist" in str(warning)
    output = tmp_path / "outputs" / "mnist-on-digits"
    assert "not mnist" in yaml.safe_load((output / "best.yaml").read_text())["WARNING"]
    assert "WARNING: not mnist" in (output / "best.py").read_text()
    script = subprocess.run(
        [sys.executable, str(output / "best.py")], capture_output=True, text=True, cwd=tmp_path
    )
    assert script.returncode == 0, script.stderr
    refused = lrsearch(*command, "data.fallback=null", **proxy)
    assert refused.returncode == 2
    assert "train-images-idx3-ubyte.gz" in refused.stderr
    assert "data.root=" in refused.stderr

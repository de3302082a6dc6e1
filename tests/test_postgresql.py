"""A sweep on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from command_line import Run
from sqlalchemy import create_engine, inspect, text

REPO = Path(__file__).resolve().parents[1]
TALKATIVE = """
import os, pathlib, warnings

def train(recipe, report):
    url = os.environ["LRSEARCH_STORAGE"]
    pathlib.Path("cmdline").write_bytes(pathlib.Path("/proc/self/cmdline").read_bytes())
    print("printed:", url)
    warnings.warn(f"warned of {url}")
    raise ValueError(f"raised with {url!r} or {url.split(':')[2].split('@')[0]}")
"""
"""An objective that tells the secret by all the means it has."""


@pytest.mark.slow
def test_two_workers_share_a_study_resume_it_and_the_password_is_never_shown(
    lrsearch: Run, new_database: Callable[[], str], tmp_path: Path
) -> None:
    server_url = new_database()
    command = ("+sweep=digits", "train.epochs=2", "workers=2", f"storage.url={server_url}")
    for n_trials in (4, 5):
        done = lrsearch(*command, f"study.n_trials={n_trials}")
        assert done.returncode == 0, done.stderr
        assert "hunter2" not in done.stdout + done.stderr
    trials = optuna.load_study(study_name="digits", storage=server_url).trials
    assert [trial.number for trial in trials] == list(range(5))
    assert all(trial.state.is_finished() for trial in trials)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"best.yaml", "best.py", "trials.csv"} <= {path.name for path in written}
    assert not [path for path in written if "hunter2" in path.read_text(errors="replace")]
    assert not (tmp_path / "lrsearch.db").exists()


@pytest.mark.slow
def test_no_file_row_or_process_shows_a_password_that_the_users_own_code_tells(
    lrsearch: Run, new_database: Callable[[], str], tmp_path: Path
) -> None:
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    url = new_database()
    environment = {"LRSEARCH_STORAGE": url, "PYTHONPATH": f"{tmp_path}:{REPO}"}
    sweep = ("+sweep=digits", "objective._target_=talkative.train", "workers=1")
    shown = [lrsearch(*sweep, "study.n_trials=3", **environment)]
    for command in (("status", "digits"), ("show", "digits", "0"), ("report", "digits"),
                    ("export", "digits", "--format", "json"), ("doctor",)):  # fmt: skip
        shown.append(lrsearch(*command, **environment))
    said = "".join(done.stdout + done.stderr for done in shown)
    assert "raised with" in said
    assert "hunter2" not in said
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"worker-0.log", "report.html", "cmdline"} <= {path.name for path in written}
    logged = next(path for path in written if path.name == "worker-0.log").read_text()
    assert "printed: postgresql+psycopg://postgres:***@" in logged
    assert "warned of" in logged
    assert not [path for path in written if b"hunter2" in path.read_bytes()]
    engine = create_engine(url)
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            rows = connection.execute(text(f'select * from "{table}"')).all()
            assert "hunter2" not in repr(rows), table
    engine.dispose()

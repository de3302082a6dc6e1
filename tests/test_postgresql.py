"""A sweep on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from command_line import Run


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

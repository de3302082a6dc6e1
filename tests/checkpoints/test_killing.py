"""A trial that is killed at any point and taken over ends as one that ran through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrsearch.schedules.families import SCHEDULERS

SCRIPT = Path(__file__).with_name("killing.py")


@pytest.mark.slow
def test_killed_at_random_points_in_every_scheduler_family(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path = os.pathsep.join([environment["PYTHONPATH"], str(SCRIPT.parents[1])])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "0"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == set(SCHEDULERS)
    wrong = {name: one for name, one in told.items() if not one["same_evaluations"]}
    wrong |= {name: one for name, one in told.items() if not one["same_weights"]}
    assert wrong == {}
    assert all(one["kills"] > 0 for one in told.values())
    # The test is of taking over, not of beginning again.
    assert sum(one["went_on_at"] > 0 for one in told.values()) > len(SCHEDULERS) // 2

"""A short form of `make chaos`: no fault costs a trial.

The kinds `creation`, `two_parents` and `upgrade` take minutes: `make chaos` alone has them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).resolve().parent.parent / "benchmarks" / "chaos.py"
FLEET = ("--workers=2", "--trials=5", "--epochs=100", "--first=6", "--every=3", "--attack=60",
         "--limit=280")  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kinds",
    [
        ("fleet",),
        ("range_test", "confirmation"),
        ("hung", "user_errors"),
        ("disk_full",),
    ],
    ids=" ".join,
)
def test_faults_lose_nothing(
    environment: dict[str, str], tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, str(CHAOS), "--short", *FLEET, *(f"--only={kind}" for kind in kinds)],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    said = done.stdout + done.stderr
    if "only root can mount" in said:
        pytest.skip("only root can mount a small disk")
    assert done.returncode == 0, said
    assert "all in all" in done.stdout

"""A short form of `make chaos`: a fleet that is killed, stopped and cut off loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).resolve().parent.parent / "benchmarks" / "chaos.py"


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql"])
def test_a_fleet_under_attack_ends_with_the_undisturbed_results(
    environment: dict[str, str], tmp_path: Path, database: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(CHAOS), f"--database={database}", "--workers=2", "--trials=5",
         "--epochs=100", "--first=6", "--every=3", "--limit=280"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "injected: " in done.stdout

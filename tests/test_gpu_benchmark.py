"""A short form of `benchmarks/gpu.py`: every row that needs no card is right on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GPU = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_gpu_benchmark_runs_on_the_cpu(environment: dict[str, str], tmp_path: Path) -> None:
    record = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, str(GPU), "--short", "--device", "cpu", "--output", str(record)],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(record.read_text())["rows"]
    assert len(rows) >= 14
    assert sum(row["ok"] is True for row in rows) >= 10
    assert not any("Error" in row["found"] for row in rows)

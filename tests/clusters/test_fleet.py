"""A small fleet of simulated workers behind a PgBouncer: nothing is lost, and nothing goes wrong.

`benchmarks/fleet_scale.py` measures large ones; nothing is timed here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FLEET = Path(__file__).resolve().parents[2] / "benchmarks" / "fleet_scale.py"
SMALL = ("--workers=32", "--processes=4", "--every=0.5", "--evaluations=10", "--finished=50",
         "--ramp=4", "--warm-up=0", "--seconds=10", "--pool=5")  # fmt: skip


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("more", [(), ("--direct",)], ids=["pgbouncer", "direct"])
def test_a_fleet_loses_no_report_and_meets_no_error(
    environment: dict[str, str], tmp_path: Path, more: tuple[str, ...]
) -> None:
    needed = {"pgbouncer": shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"),
              "postgresql": [*Path("/usr/lib/postgresql").glob("*/bin")]}  # fmt: skip
    if missing := [package for package, is_there in needed.items() if not is_there]:
        reason = f"Debian's {' and '.join(missing)} must be installed"
        if os.environ.get("LRSEARCH_CLUSTER_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    record = tmp_path / "fleet.json"
    done = subprocess.run(
        [sys.executable, str(FLEET), *SMALL, *more, "--output", str(record)],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(record.read_text())["rows"]
    assert row["reported"] >= 32
    assert (row["lost"], row["wrong"], row["problems"]) == (0, [], [])

"""Who owns a unit, and who is known to be dead."""

from __future__ import annotations

import os
import subprocess
import sys

from lrsearch.study.owners import host_name, is_dead, owner_name


def test_an_owner_is_dead_when_its_process_is_gone_and_nobody_elses_is_judged() -> None:
    host, pid, started = owner_name().rsplit("/", 2)
    assert host == host_name()
    assert not is_dead(owner_name())
    assert is_dead(f"{host}/{pid}/{float(started) - 100:.2f}")  # the number was used again
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_dead(f"{host}/{child.pid}/1.00")
    assert not is_dead(f"another-host/{os.getpid()}/1.00")

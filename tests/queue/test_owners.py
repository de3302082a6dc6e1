"""Who owns a unit, and who is known to be dead."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from lrsearch.queue.owners import host_name, is_dead, owner_name


def test_an_owner_is_dead_when_its_process_is_gone_and_nobody_elses_is_judged() -> None:
    host, pid, started = owner_name().rsplit("/", 2)
    assert host == host_name()
    assert not is_dead(owner_name())
    assert is_dead(f"{host}/{pid}/{int(started) - 100}")  # the number was used again
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_dead(f"{host}/{child.pid}/1.00")
    assert not is_dead(f"another-host/{os.getpid()}/1.00")


def test_an_owner_lives_on_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owner_name()
    # Linux tells when it was booted by the clock as it is now.
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self, *_, **__: 1.0)
    assert owner_name() == owner
    assert not is_dead(owner)

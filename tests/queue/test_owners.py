"""Who owns work, and who is known to be dead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from shop import TERMS, Shop

from lrsearch.queue import owners
from lrsearch.queue.owners import host_name, is_dead, owner_name, process_in_words, process_name
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.states import WorkState
from lrsearch.storage.tables import TrialSlotRow
from lrsearch.study.follow_up import follow_up


def ended_process() -> int:
    """The id of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file with the boot id of this machine, as it is; written to, this is another machine."""
    file = tmp_path / "boot_id"
    file.write_text(owners._BOOT_ID.read_text())
    monkeypatch.setattr(owners, "_BOOT_ID", file)
    return file


def test_an_owner_is_dead_when_its_process_is_gone_and_nobody_elses_is_judged() -> None:
    name, started = owner_name().rsplit("/", 1)
    assert name == process_name(os.getpid())
    assert not is_dead(owner_name())
    assert is_dead(f"{name}/{int(started) - 100}")  # the number was used again
    assert is_dead(f"{process_name(ended_process())}/1.00")
    assert not is_dead(f"another-host:1:2/{os.getpid()}/1.00")


def test_an_owner_lives_on_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owner_name()
    # Linux tells when it was booted by the clock as it is now.
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self, *_, **__: 1.0)
    assert owner_name() == owner
    assert not is_dead(owner)


def test_machines_of_one_host_name_do_not_judge_each_others_processes(machine: Path) -> None:
    theirs = f"{process_name(ended_process())}/1.00"
    assert is_dead(theirs)
    machine.write_text(f"{uuid.uuid4()}\n")
    assert theirs.startswith(f"{host_name()}:")
    assert not is_dead(theirs)
    assert not is_dead(owner_name())


def test_containers_of_one_machine_do_not_judge_each_others_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = f"{process_name(ended_process())}/1.00"
    monkeypatch.setattr(owners, "_NAMESPACE", tmp_path)
    assert not is_dead(theirs)


def test_a_machine_that_changes_its_name_knows_its_own_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, ended = owner_name(), f"{process_name(ended_process())}/1.00"
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert owner_name() != owner
    assert not is_dead(owner)
    assert is_dead(ended)


def test_where_there_is_no_boot_id_the_hardware_address_tells_machines_apart(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.unlink()
    monkeypatch.setattr(uuid, "getnode", lambda: 1)
    ended = f"{process_name(ended_process())}/1.00"
    assert is_dead(ended)
    monkeypatch.setattr(uuid, "getnode", lambda: 2)
    assert not is_dead(ended)


class Slots(Shop[TrialClaims]):
    """A study of two trials."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({}, 0), ({}, 1)])

    def claim(self) -> None:
        """Claim a trial as a process of this machine that has ended."""
        owner = f"{process_name(ended_process())}/1.00"
        session = self.database.session
        assert TrialClaims(session, self.study_id, owner, follow_up, TERMS).claim(take_over=False)


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    slots = Slots(f"sqlite:///{tmp_path / 'slots.db'}")
    yield slots
    slots.close()


def test_a_launcher_takes_no_trial_from_a_machine_of_the_same_name(
    slots: Slots, machine: Path
) -> None:
    slots.claim()  # which lives, as far as this machine can know
    machine.write_text(f"{uuid.uuid4()}\n")
    slots.claim()
    slots.reclaim_dead(is_dead)
    assert slots.queue.counts()[WorkState.RUNNING] == 1


def test_an_owner_is_named_by_its_host_and_process_for_people() -> None:
    assert process_in_words(owner_name()) == f"{host_name()}, process {os.getpid()}"
    assert process_in_words("far-away/1/1.00") == "far-away, process 1"

"""Workers as processes: what becomes of those that hang, and of all that they have started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, cast

import optuna
import psutil
import pytest
from command_line import Query, Run
from fake_gpus import TWO, FakeMachine
from shop import TERMS, Shop
from sqlalchemy import select

from lrsearch.cli.compose import load_configuration
from lrsearch.errors import UserError
from lrsearch.launchers import build_launcher
from lrsearch.launchers.base import Sweep, WorkersFailed
from lrsearch.launchers.local import Local
from lrsearch.launchers.supervisor import Supervisor
from lrsearch.launchers.worker_process import WorkerProcess
from lrsearch.queue.endings import Ending, Endings
from lrsearch.queue.owners import process_name
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.states import Outcome
from lrsearch.storage.tables import TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.progress import Finished, Progress, Snapshot
from lrsearch.training.out_of_memory import OomKills
from lrsearch.workers.device_slots import DeviceSlot
from lrsearch.workers.heartbeat import HeartbeatListener
from lrsearch.workers.locations import Locations

HANGS = """
import ctypes, os, subprocess, time
from pathlib import Path

def objective(recipe, report, how="sleep"):
    report(1, 1.0)
    if recipe.lr > 0.05:
        return
    child = subprocess.Popen(["sleep", "1000"])
    Path("pids").write_text(f"{os.getpid()} {child.pid}")
    if how == "holding the lock":
        ctypes.PyDLL(None).sleep(1000)
    while True:
        time.sleep(1)
"""
SWEEP = ("+sweep=digits", "objective._target_=hangs.objective", "study.n_trials=2", "workers=1",
         "study.name=h", "study.try_first=[{lr: 0.01}, {lr: 0.1}]", "sampler=random")  # fmt: skip
TIMEOUT = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a training that hangs at a low learning rate, after it has begun a child."""
    (tmp_path / "hangs.py").write_text(HANGS)
    return tmp_path


def started(folder: Path) -> list[int]:
    """The worker that hangs, and its child."""
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits; fails after a minute."""
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# Where workers run


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs."""
    machine = FakeMachine(tmp_path, monkeypatch)
    machine.nvidia_smi(TWO)
    machine.torch(["NVIDIA H100", "NVIDIA H100"])


def checked(*given: str) -> Local:
    """The launcher of a command, after its checks."""
    configuration = load_configuration(["+sweep=digits", *given])
    launcher = build_launcher(configuration.runtime.launcher)
    launcher.check(configuration.settings, configuration.runtime)
    assert isinstance(launcher, Local)
    return launcher


@pytest.mark.usefixtures("two_gpus")
def test_workers_share_each_gpu_as_many_as_are_asked_for() -> None:
    assert checked().most() == 2
    launcher = checked("launcher.per_gpu=3")
    gpus = Counter(slot.environment["CUDA_VISIBLE_DEVICES"] for slot in launcher.slots)
    assert gpus == {"GPU-aaaa-1": 3, "GPU-bbbb-2": 3}
    assert launcher.describe() == "6 workers; a trial takes 0.333 of a GPU"


@pytest.mark.usefixtures("two_gpus")
def test_a_share_of_a_gpu_is_given_once() -> None:
    with pytest.raises(UserError, match=r"launcher\.per_gpu: 2, and train\.gpus is 0\.5"):
        checked("launcher.per_gpu=2", "train.gpus=0.5")


# Workers that hang


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sleep", "holding the lock"])
def test_a_training_that_hangs_is_given_up_and_the_sweep_goes_on(
    lrsearch: Run, query: Query, folder: Path, how: str
) -> None:
    done = lrsearch(*SWEEP, f"+objective.how={how}", "queue.stall_timeout=2",
                    "queue.max_attempts=2")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = query("select outcome, deaths, reason from lrsearch_units order by number")
    (first, deaths, reason), (second, none, _) = rows
    assert (first, deaths, second, none) == ("crashed", 2, "complete", 0)
    assert re.search(r"no progress for \d+ s .*queue\.stall_timeout", str(reason))
    assert len(re.findall("was ended: .* no progress", done.stdout)) == 2
    assert all(map(gone, started(folder)))


@pytest.mark.slow
def test_a_worker_that_hangs_ends_with_its_parent_and_so_does_what_it_has_started(
    folder: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "lrsearch", *SWEEP]
    parent = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    wait_until((folder / "pids").exists)
    parent.kill()
    parent.wait()
    wait_until(lambda: all(map(gone, started(folder))))


@pytest.mark.slow
def test_a_worker_started_by_hand_ends_itself_with_words_and_an_exit_code_of_its_own(
    lrsearch: Run, query: Query, folder: Path
) -> None:
    assert lrsearch("submit", *SWEEP, "queue.stall_timeout=2").returncode == 0
    done = lrsearch("worker", "--sweep", "h")
    assert done.returncode == 70
    assert "no progress" in done.stderr
    assert 'hangs.py", line' in done.stderr  # where
    assert query("select state, deaths from lrsearch_units where number = 0") == [("open", 1)]
    assert all(map(gone, started(folder)))


@pytest.mark.slow
def test_a_worker_that_was_stopped_and_wakes_goes_on(
    lrsearch: Run, query: Query, folder: Path, environment: dict[str, str]
) -> None:
    (folder / "slow.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "def objective(recipe, report):\n"
        "    Path('pids').write_text(str(os.getpid()))\n"
        "    for epoch in range(1, 7):\n"
        "        time.sleep(0.5)\n"
        "        report(epoch, 1.0)\n"
    )
    command = [sys.executable, "-m", "lrsearch", *SWEEP, "objective._target_=slow.objective",
               "study.n_trials=1", "queue.stall_timeout=2"]  # fmt: skip
    parent = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    wait_until((folder / "pids").exists)
    (worker,) = started(folder)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(20)  # longer than the limit and what the parent adds to it
    os.kill(worker, signal.SIGCONT)
    assert parent.wait(TIMEOUT) == 0
    assert query("select outcome, deaths, attempts from lrsearch_units") == [("complete", 0, 1)]


# Workers that die, in the place of which shells stand


class Silent:
    """A display that keeps what is said."""

    interval = 0.005

    def __init__(self) -> None:
        self.said: list[str] = []

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None: ...

    def say(self, line: str) -> None:
        self.said.append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...


class Shells(Local):
    """Its workers are shells, which end as their trials say."""

    commands: dict[int, str]
    """By the number of a trial, how the shell that has claimed it ends; the others complete it."""
    idle: str | None = None
    """How shells end before they claim anything, where they do."""
    shop: Units
    number = 0

    def _start(self, slot_index: int) -> WorkerProcess:
        process = subprocess.Popen(
            ["sh", "-c", 'read line; eval "$line"'], stdin=subprocess.PIPE, start_new_session=True
        )
        worker = self.shop.worker(process_name(process.pid))
        claim = None if self.idle else worker.claim(take_over=False)
        command = self.idle or "exit 0"
        if claim is not None and (command := self.commands.get(claim.number, "")) == "":
            worker.finish(claim, Ending(Outcome.COMPLETE, 0.5), 1.0)
            command = "exit 0"
        assert process.stdin is not None
        process.stdin.write(f"{command}\n".encode())
        process.stdin.close()
        heartbeat = HeartbeatListener()
        heartbeat.started()
        self.number += 1
        log = self.sweep.logs / "log"
        return WorkerProcess(self.number, slot_index, self.slots[0], process, heartbeat, log)


class Units(Shop[TrialClaims]):
    """A study of four trials."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({}, number) for number in range(4)])

    def worker(self, name: str) -> TrialClaims:
        session = self.database.session
        return TrialClaims(session, self.study_id, f"{name}/1.00", follow_up, TERMS)

    def optuna(self) -> optuna.Study:
        return optuna.load_study(study_name="one", storage=self.url)

    def ends(self) -> list[tuple[str | None, int]]:
        with self.database.session() as session:
            rows = session.execute(
                select(TrialSlotRow.outcome, TrialSlotRow.deaths).order_by(TrialSlotRow.number)
            )
            return [(outcome, deaths) for outcome, deaths in rows]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Units]:
    shop = Units(f"sqlite:///{tmp_path / 'shop.db'}")
    yield shop
    shop.close()


class Shift(Supervisor):
    """A supervisor of one worker at a time, with what was said."""

    launcher: Shells
    display: Silent


@pytest.fixture
def shift(shop: Units, tmp_path: Path) -> Shift:
    session, display, shells = shop.database.session, Silent(), Shells()
    sweep = Sweep(
        "one",
        shop.study_id,
        Locations(shop.url),
        tmp_path,
        session,
        shop.queue,
        Endings(shop.study_id, TERMS.max_attempts, follow_up),
        display.say,
    )
    shells.attach(sweep)
    shells.slots, shells.shop, shells.commands = [DeviceSlot("cpu", {})], shop, {}
    return Shift(sweep, shells, Progress(session, shop.study_id), display)


DIES = "kill -9 $$"
DONE = ("complete", 0)


def test_a_trial_that_ends_its_workers_is_given_up_and_the_sweep_goes_on(
    shift: Shift, shop: Units
) -> None:
    shift.launcher.commands = {0: DIES, 2: "exit 1"}
    shift.run(None)
    assert shop.ends() == [("crashed", 3), DONE, ("crashed", 3), DONE]
    assert len(shift.display.said) == 6
    with shop.database.session() as session:
        seconds = session.scalars(select(TrialSlotRow.seconds).order_by(TrialSlotRow.number)).all()
    assert seconds[1] == 1.0
    assert all(0.0 < (seconds[k] or 0.0) < 60.0 for k in (0, 2))


def test_workers_that_die_whatever_the_trial_end_the_sweep(shift: Shift, shop: Units) -> None:
    shift.launcher.commands = dict.fromkeys(range(4), DIES)
    with pytest.raises(WorkersFailed, match="signal 9"):
        shift.run(None)
    assert shop.ends() == [("crashed", 3), ("crashed", 3), (None, 1), (None, 0)]


def test_workers_that_die_before_they_claim_anything_end_the_sweep(
    shift: Shift, shop: Units
) -> None:
    shift.launcher.idle = "exit 1"
    with pytest.raises(WorkersFailed, match="exit code 1"):
        shift.run(None)
    assert len(shift.display.said) == 2
    assert shop.ends() == [(None, 0)] * 4


class Kills:
    """The kernel's kills for want of memory: as many as a test wants, one at a time."""

    def __init__(self, count: int) -> None:
        self.left = count

    def new(self) -> int:
        self.left -= 1
        return int(self.left >= 0)


def test_a_worker_that_is_killed_for_want_of_memory_makes_its_trial_infeasible(
    shift: Shift, shop: Units
) -> None:
    shift.launcher.commands = dict.fromkeys(range(3), DIES)
    shift.launcher._kills = cast(OomKills, Kills(2))
    shift.run(None)
    # The third is killed by somebody else, as far as the kernel's count says.
    assert [outcome for outcome, _ in shop.ends()] == [
        "out_of_memory", "out_of_memory", "crashed", "complete",
    ]  # fmt: skip
    reason = shop.optuna().trials[0].user_attrs["reason"]
    assert "the kernel killed it" in reason
    assert shop.optuna().trials[0].state == optuna.trial.TrialState.PRUNED
    assert shop.optuna().trials[0].constraints == {"works": 1.0}


def test_a_worker_that_ends_otherwise_while_the_kernel_kills_has_crashed(
    shift: Shift, shop: Units
) -> None:
    shift.launcher.commands = {0: "kill -11 $$"}
    shift.launcher._kills = cast(OomKills, Kills(1))
    shift.run(None)
    assert shop.ends() == [("crashed", 3), DONE, DONE, DONE]

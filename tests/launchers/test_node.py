"""Several workers on one machine: which are replaced, and the one exit code of all."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from lrsearch.launchers import node
from lrsearch.launchers.node import LIMIT, Node, code_of_all
from lrsearch.launchers.worker_process import WorkerProcess
from lrsearch.workers.device_slots import DeviceSlot
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.heartbeat import HeartbeatListener
from lrsearch.workers.stop import Stop

DONE, DIES = "exit 0", "kill -9 $$"
WAITS = "trap 'exit 75' TERM; echo ready > ready-$0; while :; do sleep 0.02; done"
WORKED = "echo worked > /proc/self/fd/$1"
Run = Callable[..., tuple[ExitCode, list[int]]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs workers that are shells: the exit code, and the slots on which they began, in order.

    `commands` are those of each slot, one after another.
    """

    def run(*commands: list[str], stop: Stop | None = None) -> tuple[ExitCode, list[int]]:
        begun: list[int] = []

        def start(
            number: int,
            slot_index: int,
            slot: DeviceSlot,
            words: Sequence[str],
            environment: Mapping[str, str],
        ) -> WorkerProcess:
            heartbeat = HeartbeatListener()
            command = commands[slot_index][begun.count(slot_index)]
            begun.append(slot_index)
            process = subprocess.Popen(
                ["sh", "-c", command, str(slot_index), str(heartbeat.write)],
                start_new_session=True,
                pass_fds=(heartbeat.write,),
                cwd=tmp_path,
            )
            heartbeat.started()
            return WorkerProcess(number, slot_index, slot, process, heartbeat)

        monkeypatch.setattr(node.WorkerProcess, "start", start)
        slots = [DeviceSlot(f"core {number}") for number in range(len(commands))]
        event = threading.Event()
        stop = stop or Stop(event.is_set, event.wait)
        return Node(slots, ["worker"], {}, stop, interval=0.01).run(), begun

    return run


def test_it_ends_when_all_have_ended(run: Run) -> None:
    assert run([DONE], [DONE]) == (ExitCode.DONE, [0, 1])
    assert run(["exit 3"], ["exit 3"]) == (ExitCode.REFUSED, [0, 1])


@pytest.mark.parametrize("how", [DIES, "exit 1", "exit 70", "exit 75"])
def test_who_dies_stalls_or_is_stopped_from_outside_is_replaced(run: Run, how: str) -> None:
    code, begun = run([how, how, DONE], [DONE])
    assert (code, begun.count(0), begun.count(1)) == (ExitCode.DONE, 3, 1)


def test_a_slot_whose_workers_cannot_work_is_given_up(run: Run) -> None:
    code, begun = run([DIES] * LIMIT, [DONE])
    assert (code, begun.count(0)) == (ExitCode.DONE, LIMIT)
    code, begun = run(["exit 1"] * LIMIT, ["exit 1"] * LIMIT)
    assert (code, len(begun)) == (ExitCode.BROKEN, 2 * LIMIT)


def test_stalls_are_the_training_s_fault_and_give_no_slot_up(run: Run) -> None:
    assert run([*["exit 70"] * (LIMIT + 1), DONE])[0] == ExitCode.DONE


def test_who_has_ended_some_work_begins_anew(run: Run) -> None:
    dies_later = f"{WORKED}; {DIES}"
    assert run([DIES, DIES, *[dies_later] * LIMIT, DIES, DONE])[0] == ExitCode.DONE


def test_a_request_to_stop_is_passed_on_and_waited_for(run: Run, tmp_path: Path) -> None:
    ready = [tmp_path / "ready-0", tmp_path / "ready-1"]

    def is_set() -> bool:
        return all(file.exists() for file in ready)

    stop = Stop(is_set, lambda seconds: is_set())
    assert run([WAITS], [WAITS], stop=stop) == (ExitCode.HANDED_BACK, [0, 1])


def test_one_that_is_told_to_stop_before_it_begins_starts_none(run: Run) -> None:
    stop = Stop(lambda: True, lambda seconds: True)
    assert run([DONE], stop=stop) == (ExitCode.HANDED_BACK, [])


def test_bad_input_ends_all(run: Run) -> None:
    code, begun = run(["while ! [ -e ready-1 ]; do sleep 0.02; done; exit 2"], [WAITS])
    assert (code, begun) == (ExitCode.BAD_INPUT, [0, 1])


def test_the_code_of_all_is_that_of_what_is_left() -> None:
    done, refused, broken = ExitCode.DONE, ExitCode.REFUSED, ExitCode.BROKEN
    assert code_of_all([refused, done, broken], was_stopped=False) == done
    assert code_of_all([refused, broken], was_stopped=False) == refused
    assert code_of_all([broken, broken], was_stopped=False) == broken
    assert code_of_all([broken, broken], was_stopped=True) == ExitCode.HANDED_BACK
    assert code_of_all([done, ExitCode.HANDED_BACK], was_stopped=True) == ExitCode.HANDED_BACK

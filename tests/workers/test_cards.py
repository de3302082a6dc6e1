"""Workers share a GPU, and one of them can have it alone."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from fake_gpus import CARDS, GIB, TWO, FakeMachine

from lrsearch.training.device_memory import DeviceMemory
from lrsearch.workers import cards as module
from lrsearch.workers.cards import NO_CARDS, Cards


class Left(Exception):
    """The worker was told to stop."""


def leave(_: float) -> None:
    raise Left


@pytest.fixture
def two(tmp_path: Path) -> tuple[Cards, Cards]:
    """Two workers on the same GPU."""
    return cards(tmp_path, "GPU-a"), cards(tmp_path, "GPU-a")


def cards(folder: Path, *names: str) -> Cards:
    return Cards(torch.device("cuda"), names, folder / "locks")


def test_trainings_share_a_gpu(two: tuple[Cards, Cards]) -> None:
    one, other = two
    with one.shared(leave), other.shared(leave):
        pass


def test_who_has_it_alone_keeps_all_others_out(two: tuple[Cards, Cards], tmp_path: Path) -> None:
    one, other = two
    with one.alone(leave) as is_alone:
        assert is_alone
        with pytest.raises(Left), other.shared(leave):
            raise AssertionError
        with pytest.raises(Left), other.alone(leave):
            raise AssertionError
        with cards(tmp_path, "GPU-b").shared(leave):  # on another GPU
            pass
    with other.shared(leave):
        pass


def test_who_wants_it_alone_waits_for_those_at_work_and_none_begins_meanwhile(
    two: tuple[Cards, Cards], tmp_path: Path
) -> None:
    one, other = two
    at_work, waited = ExitStack(), []
    at_work.enter_context(one.shared(leave))

    def wait(_: float) -> None:
        waited.append(True)
        with pytest.raises(Left), cards(tmp_path, "GPU-a").shared(leave):
            raise AssertionError
        at_work.close()

    with other.alone(wait) as is_alone:
        assert is_alone
    assert waited == [True]


def test_memory_is_released_for_who_waits(
    two: tuple[Cards, Cards], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    freed: list[str] = []
    monkeypatch.setattr(module, "free_unused", lambda: freed.append("freed"))
    at_work = ExitStack()
    at_work.enter_context(one.shared(leave))
    with other.alone(lambda _: at_work.close()):
        assert freed == ["freed"]
        with pytest.raises(Left), one.shared(leave):
            raise AssertionError
        assert freed == ["freed", "freed"]
    with one.shared(leave):
        pass
    assert freed == ["freed", "freed"]


def test_the_wait_is_bounded(two: tuple[Cards, Cards], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    one, other = two
    with one.shared(leave), other.alone(leave) as is_alone:
        assert not is_alone
    with one.alone(leave) as is_alone:
        assert is_alone


def hold(folder: Path, ready: Callable[[], None]) -> None:
    with cards(folder, "GPU-a").alone(leave):
        ready()
        os._exit(9)  # as if it were killed


def test_the_end_of_a_process_releases_its_gpu(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready.set))
    process.start()
    process.join()
    assert ready.is_set()
    with cards(tmp_path, "GPU-a").alone(leave) as is_alone:
        assert is_alone


def test_without_a_folder_for_locks_trainings_go_on_and_none_is_alone(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file")
    one = cards(tmp_path, "GPU-a")
    with one.shared(leave):
        pass
    with one.alone(leave) as is_alone:
        assert not is_alone


# Which GPUs, and who holds their memory


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine that has what a test gives it."""
    return FakeMachine(tmp_path, monkeypatch)


def test_a_worker_on_the_cpu_has_no_cards(machine: FakeMachine) -> None:
    assert Cards.of(torch.device("cpu"), 1) == NO_CARDS
    assert NO_CARDS.neighbours("CUDA out of memory") is None


def test_cards_have_the_same_names_in_all_processes(machine: FakeMachine) -> None:
    machine.torch(["H100", "H100"])
    assert Cards.of(torch.device("cuda"), 0.5).names == ["GPU-uuid-0"]
    assert Cards.of(torch.device("cuda:1"), 1).names == ["GPU-uuid-1"]
    assert Cards.of(torch.device("cuda"), 2).names == ["GPU-uuid-0", "GPU-uuid-1"]
    machine.environment(CUDA_VISIBLE_DEVICES="MIG-cccc-3")
    assert Cards.of(torch.device("cuda"), 1).names == ["MIG-cccc-3"]


def test_neighbours_are_measured_where_the_message_does_not_tell(machine: FakeMachine) -> None:
    machine.torch(["H100"], free=2 * GIB, total=80 * GIB, reserved=20 * GIB)
    ours = Cards.of(torch.device("cuda"), 1)
    found = ours.neighbours("CUDNN_STATUS_ALLOC_FAILED")
    assert found == DeviceMemory(80 * GIB, 2 * GIB, 20 * GIB)
    assert ours.neighbours("DefaultCPUAllocator: can't allocate memory") is None
    machine.torch(["H100"], free=2 * GIB, total=80 * GIB, reserved=78 * GIB)
    assert ours.neighbours("CUDNN_STATUS_ALLOC_FAILED") is None


def test_after_a_script_its_neighbours_hold_what_is_in_use(machine: FakeMachine) -> None:
    machine.torch(["H100"])
    ours = Cards(torch.device("cuda"), ["GPU-aaaa-1"])
    machine.nvidia_smi(TWO, CARDS.replace("81559, 1024", "81920, 51200"))
    assert ours.neighbours("RESOURCE_EXHAUSTED") == DeviceMemory(80 * GIB, 30 * GIB, 0)
    machine.nvidia_smi(TWO, code=1)
    machine.torch(["H100"], free=30 * GIB, total=80 * GIB)
    assert ours.neighbours("RESOURCE_EXHAUSTED") == DeviceMemory(80 * GIB, 30 * GIB, 0)


def test_a_gpu_that_cannot_be_asked_has_no_neighbours(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(device: object) -> tuple[int, int]:
        raise RuntimeError("CUDA error: unspecified launch failure")

    machine.torch(["H100"])
    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert Cards(torch.device("cuda"), ["GPU-a"]).neighbours("RESOURCE_EXHAUSTED") is None

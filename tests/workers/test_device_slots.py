"""Slots of workers: which GPUs, shares of a GPU or cores each worker gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lrsearch.errors import UserError
from lrsearch.workers import device_slots as module
from lrsearch.workers.device_slots import DeviceSlot, device_slots, in_words, visible_gpus

TWO = "GPU 0: NVIDIA H100 (UUID: GPU-aaaa-1)\nGPU 1: NVIDIA H100 (UUID: GPU-bbbb-2)\n"
DIVIDED = (
    "GPU 0: NVIDIA H100 (UUID: GPU-aaaa-1)\n"
    "  MIG 3g.40gb     Device  0: (UUID: MIG-cccc-3)\n"
    "  MIG 3g.40gb     Device  1: (UUID: MIG-dddd-4)\n"
)
Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose nvidia-smi prints a listing."""

    def made(listing: str, visible: str | None = None, order: str | None = None) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("CUDA_DEVICE_ORDER", order)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return made


def chosen(slots: list[DeviceSlot]) -> list[str]:
    """What each worker sees."""
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]


def test_each_gpu_has_a_worker_and_is_named_by_its_uuid(machine: Machine) -> None:
    machine(TWO)
    assert chosen(device_slots("auto", "auto", 1)) == ["GPU-aaaa-1", "GPU-bbbb-2"]


def test_a_trial_of_two_gpus_has_both(machine: Machine) -> None:
    machine(TWO)
    assert chosen(device_slots("auto", "cuda", 1, gpus=2)) == ["GPU-aaaa-1,GPU-bbbb-2"]


@pytest.mark.parametrize(("gpus", "each"), [(0.5, 2), (0.3, 3), (1 / 3, 3), (0.7, 1)])
def test_workers_share_a_gpu(machine: Machine, gpus: float, each: int) -> None:
    machine(TWO)
    assert sorted(chosen(device_slots("auto", "auto", 1, gpus=gpus))) == sorted(
        ["GPU-aaaa-1", "GPU-bbbb-2"] * each
    )


def test_workers_and_what_a_trial_takes_are_said(machine: Machine) -> None:
    machine(TWO)
    for gpus, said in (
        (1, "2 workers"),
        (2, "1 worker; a trial takes 2 GPUs"),
        (0.5, "4 workers; a trial takes 0.5 of a GPU"),
    ):
        assert in_words(device_slots("auto", "auto", 1, gpus), gpus) == said
    on_cpu = device_slots(3, "cpu", 1, 2)
    assert in_words(on_cpu, 2) == "3 workers; a trial takes 2 processes on the CPU"


def test_a_number_of_workers_goes_round_the_gpus(machine: Machine) -> None:
    machine(TWO)
    assert chosen(device_slots(3, "auto", 1)) == ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-aaaa-1"]


def test_what_the_environment_restricts_is_respected(machine: Machine) -> None:
    machine(TWO, visible="1")
    assert chosen(device_slots("auto", "auto", 1)) == ["1"]  # fastest first may be another order
    machine(TWO, visible="1", order="PCI_BUS_ID")
    assert chosen(device_slots("auto", "auto", 1)) == ["GPU-bbbb-2"]
    machine(TWO, visible="GPU-bbbb")
    assert chosen(device_slots("auto", "auto", 1)) == ["GPU-bbbb"]
    machine(TWO, visible="0,-1,1")
    assert visible_gpus() == ["0"]
    machine(TWO, visible="")
    assert device_slots(1, "auto", 1)[0].environment == {}


def test_each_mig_slice_has_a_worker_and_none_has_two(machine: Machine) -> None:
    machine(DIVIDED)
    assert chosen(device_slots("auto", "auto", 1)) == ["MIG-cccc-3", "MIG-dddd-4"]
    with pytest.raises(UserError, match="one MIG slice alone"):
        device_slots("auto", "auto", 1, gpus=2)


def test_more_gpus_than_there_are_is_an_error(machine: Machine) -> None:
    machine(TWO)
    with pytest.raises(UserError, match="takes 3 GPUs, and 2 of this machine are visible"):
        device_slots("auto", "auto", 1, gpus=3)


def test_without_gpus_slots_are_cores(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("", visible="")
    monkeypatch.setattr(module, "available_cores", lambda: 8)
    assert len(device_slots("auto", "auto", 2)) == 4
    assert len(device_slots("auto", "cpu", 2, gpus=2)) == 2
    assert [slot.name for slot in device_slots(2, "cpu", 1)] == ["core 0", "core 1"]
    with pytest.raises(UserError, match=r"train\.device=cpu"):
        device_slots("auto", "auto", 1, gpus=2)

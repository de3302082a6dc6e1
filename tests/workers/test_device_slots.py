"""Slots of workers: which GPUs, shares of a GPU or cores each worker gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_gpus import DIVIDED, TWO, FakeMachine

from lrsearch.errors import UserError
from lrsearch.workers import device_slots as module
from lrsearch.workers.device_slots import (
    DeviceSlot,
    available_cores,
    device_slots,
    in_words,
    visible_gpus,
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine that has what a test gives it."""
    return FakeMachine(tmp_path, monkeypatch)


def chosen(slots: list[DeviceSlot]) -> list[str]:
    """What each worker sees."""
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]


def test_each_gpu_has_a_worker_and_is_named_by_its_uuid(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    assert chosen(device_slots("auto", "auto", 1)) == ["GPU-aaaa-1", "GPU-bbbb-2"]


def test_a_trial_of_two_gpus_has_both(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    assert chosen(device_slots("auto", "cuda", 1, gpus=2)) == ["GPU-aaaa-1,GPU-bbbb-2"]


@pytest.mark.parametrize(("gpus", "each"), [(0.5, 2), (0.3, 3), (1 / 3, 3), (0.7, 1)])
def test_workers_share_a_gpu(machine: FakeMachine, gpus: float, each: int) -> None:
    machine.nvidia_smi(TWO)
    assert sorted(chosen(device_slots("auto", "auto", 1, gpus=gpus))) == sorted(
        ["GPU-aaaa-1", "GPU-bbbb-2"] * each
    )


def test_workers_and_what_a_trial_takes_are_said(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    for gpus, said in (
        (1, "2 workers"),
        (2, "1 worker; a trial takes 2 GPUs"),
        (0.5, "4 workers; a trial takes 0.5 of a GPU"),
    ):
        assert in_words(device_slots("auto", "auto", 1, gpus), gpus) == said
    on_cpu = device_slots(3, "cpu", 1, 2)
    assert in_words(on_cpu, 2) == "3 workers; a trial takes 2 processes on the CPU"


def test_a_number_of_workers_goes_round_the_gpus(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    assert chosen(device_slots(3, "auto", 1)) == ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-aaaa-1"]


def test_what_the_environment_restricts_is_respected(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    machine.environment(CUDA_VISIBLE_DEVICES="1")
    assert chosen(device_slots("auto", "auto", 1)) == ["1"]  # fastest first may be another order
    machine.nvidia_smi(TWO)
    machine.environment(CUDA_VISIBLE_DEVICES="1", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert chosen(device_slots("auto", "auto", 1)) == ["GPU-bbbb-2"]
    machine.environment(CUDA_VISIBLE_DEVICES="GPU-bbbb")
    assert chosen(device_slots("auto", "auto", 1)) == ["GPU-bbbb"]
    machine.environment(CUDA_VISIBLE_DEVICES="0,-1,1")
    assert visible_gpus() == ["GPU-aaaa-1"]
    machine.environment(CUDA_VISIBLE_DEVICES="")
    assert device_slots(1, "auto", 1)[0].environment == {}


def test_each_mig_slice_has_a_worker_and_none_has_two(machine: FakeMachine) -> None:
    machine.nvidia_smi(DIVIDED)
    assert chosen(device_slots("auto", "auto", 1)) == ["MIG-cccc-3", "MIG-dddd-4"]
    with pytest.raises(UserError, match="one MIG slice alone"):
        device_slots("auto", "auto", 1, gpus=2)


def test_more_gpus_than_there_are_is_an_error(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    with pytest.raises(UserError, match="takes 3 GPUs, and 2 of this machine are visible"):
        device_slots("auto", "auto", 1, gpus=3)


def test_without_gpus_slots_are_cores(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nvidia_smi("")
    machine.environment(CUDA_VISIBLE_DEVICES="")
    monkeypatch.setattr(module, "available_cores", lambda: 8)
    assert len(device_slots("auto", "auto", 2)) == 4
    assert len(device_slots("auto", "cpu", 2, gpus=2)) == 2
    assert [slot.name for slot in device_slots(2, "cpu", 1)] == ["core 0", "core 1"]
    with pytest.raises(UserError, match=r"train\.device=cpu"):
        device_slots("auto", "auto", 1, gpus=2)


# AMD


@pytest.mark.parametrize(
    ("variables", "each"),
    [
        ({}, ["0", "1"]),
        ({"HIP_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, ["0"]),
        ({"ROCR_VISIBLE_DEVICES": "3,4"}, ["0", "1"]),
        ({"ROCR_VISIBLE_DEVICES": "3,4", "HIP_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_with_rocm_hip_visible_devices_chooses(
    machine: FakeMachine, variables: dict[str, str], each: list[str]
) -> None:
    machine.rocm_driver(True)
    machine.torch(["AMD MI300X", "AMD MI300X"], cuda=None, hip="6.2")
    machine.environment(**variables)
    slots = device_slots("auto", "auto", available_cores())
    environments = [slot.environment for slot in slots]
    assert environments == ([{"HIP_VISIBLE_DEVICES": name} for name in each] or [{}])


def test_amds_driver_beside_a_torch_of_another_platform_gives_no_slots(
    machine: FakeMachine,
) -> None:
    machine.rocm_driver(True)
    assert visible_gpus() == []

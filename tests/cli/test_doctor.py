"""What `doctor` says of the GPUs of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command
from fake_gpus import GIB, NO_DRIVER, TWO, FakeMachine

from lrsearch.training import devices


@pytest.fixture
def machine(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine that has what a test gives it, whose GPUs compute."""
    monkeypatch.setattr(devices, "try_device", lambda device: None)
    return FakeMachine(tmp_path, monkeypatch)


def test_it_tells_driver_cards_memory_and_mig(command: Command, machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    machine.torch(["NVIDIA H100", "NVIDIA H100"])
    machine.environment(CUDA_VISIBLE_DEVICES="0,1")
    code, out, _ = command("doctor")
    assert code == 0, out
    assert "for CUDA 13.0; NVIDIA's driver 550.54.15; CUDA_VISIBLE_DEVICES=0,1" in out
    assert "NVIDIA H100, GPU-aaaa-1: 1,024 MiB of 79.6 GiB in use\n" in out
    assert "GPU-bbbb-2: 0 MiB of 79.6 GiB in use; divided by MIG" in out
    assert out.count("are free") == 2


def test_it_warns_of_memory_that_others_hold(command: Command, machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    machine.torch(["NVIDIA H100"], free=20 * GIB, total=80 * GIB)
    code, out, _ = command("doctor")
    assert code == 0
    assert "warning  memory: cuda:0 (NVIDIA H100): " in out
    assert "other processes hold" in out


def test_a_gpu_that_cannot_compute_is_a_problem(
    command: Command, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nvidia_smi(TWO)
    machine.torch(["NVIDIA H100"])
    monkeypatch.setattr(devices, "try_device", lambda device: "uncorrectable ECC error")
    code, out, _ = command("doctor")
    assert code == 1
    assert "problem  device: cuda:0 (NVIDIA H100) cannot be used: uncorrectable ECC error" in out


def test_a_broken_driver_is_a_warning_and_a_problem_where_a_gpu_is_named(
    command: Command, machine: FakeMachine
) -> None:
    machine.nvidia_smi(f"{NO_DRIVER}\n", cards=f"{NO_DRIVER}\n", code=9)
    code, out, _ = command("doctor")
    assert code == 0
    assert "warning  driver: " in out
    assert NO_DRIVER in out
    machine.environment(CUDA_VISIBLE_DEVICES="0")
    code, out, _ = command("doctor")
    assert code == 1
    assert "problem  device: train.device: CUDA_VISIBLE_DEVICES=0 names a GPU" in out
    assert command("doctor", "train.device=cpu")[0] == 0


def test_rocm_is_told(command: Command, machine: FakeMachine) -> None:
    machine.rocm_driver(True)
    machine.torch(["AMD MI300X"], cuda=None, hip="6.2")
    machine.environment(HIP_VISIBLE_DEVICES="0")
    code, out, _ = command("doctor")
    assert code == 0, out
    assert "for ROCm (HIP 6.2); no nvidia-smi here; HIP_VISIBLE_DEVICES=0" in out
    assert "AMD MI300X" in out

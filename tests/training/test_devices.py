"""The device of a training: which one it is, and what is said where it is missing or broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fake_gpus import GIB, NO_DRIVER, TWO, FakeMachine

from lrsearch.errors import UserError
from lrsearch.launchers.local import check_device
from lrsearch.training.devices import memory_of, resolve_device, try_device


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine that has what a test gives it."""
    return FakeMachine(tmp_path, monkeypatch)


def refusal(device: str = "auto") -> str:
    """What a sweep says before it begins, which is what a worker says too."""
    with pytest.raises(UserError) as caught:
        check_device(device)
    with pytest.raises(UserError) as of_worker:
        resolve_device(device)
    assert str(of_worker.value) == str(caught.value)
    return str(caught.value)


def test_a_machine_without_gpus_trains_on_its_cpu(machine: FakeMachine) -> None:
    check_device("auto")
    assert resolve_device("auto") == torch.device("cpu")
    machine.nvidia_smi("")  # the tool is there, and lists none
    assert resolve_device("auto") == torch.device("cpu")
    machine.nvidia_smi(NO_DRIVER, code=9)  # as on a CPU host that runs an image for GPUs
    assert resolve_device("auto") == torch.device("cpu")


def test_a_gpu_that_works_is_taken(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    machine.torch(["NVIDIA H100", "NVIDIA H100"])
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match=r"'cuda:2' is not on this machine; use train\.device=cpu"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("chosen", ["", "-1", "NoDevFiles", "none"])
def test_who_hides_all_gpus_wants_the_cpu(machine: FakeMachine, chosen: str) -> None:
    machine.nvidia_smi(TWO)
    machine.environment(CUDA_VISIBLE_DEVICES=chosen)
    assert resolve_device("auto") == torch.device("cpu")


def test_a_chosen_gpu_without_a_driver_is_said(machine: FakeMachine) -> None:
    machine.environment(CUDA_VISIBLE_DEVICES="0")
    said = refusal()
    assert "CUDA_VISIBLE_DEVICES=0 names a GPU, and torch finds none: nvidia-smi" in said
    assert said.endswith("set train.device=cpu")
    machine.nvidia_smi(NO_DRIVER + "\n", code=9)
    assert f"exit code 9: {NO_DRIVER}" in refusal()
    assert NO_DRIVER in refusal("cuda")
    check_device("cpu")
    assert resolve_device("cpu") == torch.device("cpu")


def test_listed_gpus_that_torch_does_not_find_are_said(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    machine.torch((), error="The NVIDIA driver on your system is too old (found version 11040).")
    said = refusal()
    assert "nvidia-smi lists 2 GPUs, and torch finds none: The NVIDIA driver on your" in said
    assert "more" not in said
    machine.environment(CUDA_VISIBLE_DEVICES="7")
    assert "nvidia-smi lists 2 GPUs; is 7 among them?" in refusal()


def test_a_torch_for_the_cpu_alone_is_said(machine: FakeMachine) -> None:
    machine.nvidia_smi(TWO)
    machine.torch((), cuda=None)
    assert "is built for the CPU alone; install a build for the GPU" in refusal()


@pytest.mark.parametrize("variable", ["HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"])
def test_a_gpu_of_amd_without_a_driver_is_said(machine: FakeMachine, variable: str) -> None:
    machine.environment(**{variable: "0"})
    machine.torch((), cuda=None, hip="6.2", error="No HIP GPUs are available")
    assert f"{variable}=0 names a GPU" in refusal()
    assert "AMD's driver is not loaded" in refusal()
    machine.rocm_driver(True)
    assert "No HIP GPUs are available" in refusal()


def test_memory_of_others_is_what_neither_is_free_nor_our_own(machine: FakeMachine) -> None:
    machine.torch(["NVIDIA H100"], free=10 * GIB, total=80 * GIB, reserved=20 * GIB)
    assert memory_of(torch.device("cuda")).others == 49 * GIB  # 1 GiB may be our own context
    machine.torch(["NVIDIA H100"], free=59 * GIB, total=80 * GIB, reserved=20 * GIB)
    assert memory_of(torch.device("cuda")).others == 0


def test_a_device_is_tried_by_computing_on_it() -> None:
    assert try_device(torch.device("cpu")) is None
    assert try_device(torch.device("meta")) is not None

"""Errors, outputs and kills that mean that memory ran out, and those that do not."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy
import pytest
import torch

from lrsearch.errors import OwnCodeError, UserError
from lrsearch.training.out_of_memory import (
    OomKills,
    is_out_of_memory,
    out_of_memory_message,
    was_child_killed,
)
from lrsearch.training.task import OutOfMemory

MESSAGES = [
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB",
    "HIP out of memory. Tried to allocate 2.00 GiB",
    "XPU out of memory. Tried to allocate 2.00 GiB",
    "MPS backend out of memory (MPS allocated: 5.98 GB, other allocations: 2.95 GB)",
    "Invalid buffer size: 14.19 GiB",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "CUDA driver error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "HIP error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "miopenStatusAllocFailed",
    "NCCL error: unhandled cuda error: Cuda failure 2 'out of memory'",
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 4000000000000 bytes.",
    "RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.",
    "std::bad_alloc",
]
"""Messages of allocators of memory, as torch, JAX and the libraries below them write them."""
OTHERS = [
    "mat1 and mat2 shapes cannot be multiplied (32x5 and 4x3)",
    "CUDA error: device-side assert triggered",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: invalid argument",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "view size is not compatible with input tensor's size and stride: out of range",
    "DataLoader worker (pid 12) is killed by signal: Segmentation fault.",
    "shared memory is out of date",
    "the memory of the study: 12 trials",
]


class CupyOutOfMemoryError(MemoryError):
    """As CuPy's."""


class Unprintable(RuntimeError):
    def __str__(self) -> str:
        raise ZeroDivisionError


def handled() -> BaseException:
    """An error of a clean-up, raised while an out-of-memory error was being handled."""
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise ValueError("the logger is closed")
    except ValueError as error:
        return error


def replaced() -> BaseException:
    """An error that the user's code raised in place of another, on purpose."""
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError("a setting is wrong") from None
    except ValueError as error:
        return error


def caused() -> BaseException:
    error = ValueError("cannot train")
    error.__cause__ = RuntimeError(MESSAGES[0])
    return error


def circular() -> BaseException:
    error = ValueError("cannot train")
    error.__cause__ = error
    return error


@pytest.mark.parametrize("message", MESSAGES)
def test_an_allocators_message_in_a_runtime_error_and_in_an_output(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
    output = f"epoch 1: 0.3\n[rank1]: RuntimeError: {message}\nterminating\n"
    assert message.splitlines()[0] in str(out_of_memory_message(output))


@pytest.mark.parametrize("message", OTHERS)
def test_other_errors_are_none(message: str) -> None:
    assert not is_out_of_memory(RuntimeError(message))
    assert out_of_memory_message(message) is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("anything"),
        torch.cuda.OutOfMemoryError("anything"),
        MemoryError(),
        CupyOutOfMemoryError(),
        OutOfMemory(3, 0.1, 64),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ExceptionGroup("ranks", [ValueError(), ExceptionGroup("of them", [MemoryError()])]),
        OwnCodeError("mypkg.loss failed: MemoryError: \nTraceback ...\nMemoryError"),
        caused(),
        handled(),
    ],
    ids=repr,
)
def test_errors_of_a_lack_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        replaced(),
        circular(),
        Unprintable(),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError(MESSAGES[0]),  # no allocator raises one
        UserError("queue.lease: 0 is out of range"),
        ExceptionGroup("ranks", [ValueError()]),
        KeyboardInterrupt(),
        SystemExit(1),
    ],
    ids=repr,
)
def test_other_errors(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_what_the_installed_libraries_raise_for_more_than_any_machine_has() -> None:
    raised: list[Exception] = []
    for allocate in (
        lambda: torch.empty(2**58),
        lambda: numpy.ones(2**58),
        lambda: bytearray(2**58),
    ):
        with pytest.raises(Exception) as error:  # noqa: PT011 - what is raised is the question
            allocate()
        raised.append(error.value)
    assert all(map(is_out_of_memory, raised)), raised


def test_a_traceback_is_known_by_its_last_line_and_the_line_is_given() -> None:
    assert out_of_memory_message("Traceback ...\n  x = load()\nMemoryError\n") == "MemoryError"
    assert out_of_memory_message("[rank0]: MemoryError: \n") == "[rank0]: MemoryError:"
    raised = "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 2. EiB"
    assert out_of_memory_message(f"{raised}\nwandb: done") == raised
    assert out_of_memory_message("except MemoryError as error:\nValueError: 3") is None
    assert out_of_memory_message("") is None


def test_a_process_that_the_training_had_started_may_be_the_one_that_was_killed() -> None:
    killed = RuntimeError("DataLoader worker (pid 31) is killed by signal: Killed. ")
    exited = RuntimeError("DataLoader worker (pid(s) 31, 32) exited unexpectedly")
    assert was_child_killed(killed)
    assert was_child_killed(exited)
    assert not was_child_killed(RuntimeError(OTHERS[6]))


# Kills, by the files of cgroups


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


V1 = "12:cpu,cpuacct:/other\n4:memory:/jobs/7\n0::/jobs/7\n"
V2 = "0::/jobs/7\n"


@pytest.mark.parametrize(
    ("own", "file"),
    [
        (V1, "memory/jobs/7/memory.oom_control"),
        (V1, "memory/memory.oom_control"),  # in a container
        ("4:cpu:/jobs/7\n0::/jobs/7\n", "unified/jobs/7/memory.events"),
        (V2, "jobs/7/memory.events"),
        (V2, "memory.events"),  # in a container
        ("0::/\n", "memory.events"),
    ],
)
def test_kills_of_the_own_cgroup_are_counted(own: str, file: str, tmp_path: Path) -> None:
    named = write(tmp_path / "own", own)
    counter = write(tmp_path / "cgroup" / file, "low 0\noom 5\noom_kill 2\noom_group_kill 0\n")
    kills = OomKills(tmp_path / "cgroup", named)
    assert kills.new() == 0  # those of before do not count
    counter.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    assert kills.new() == 2
    assert kills.new() == 0


def test_kills_of_other_cgroups_are_not(tmp_path: Path) -> None:
    named = write(tmp_path / "own", V2)
    own = write(tmp_path / "jobs/7/memory.events", "oom_kill 0\n")
    other = write(tmp_path / "jobs/8/memory.events", "oom_kill 0\n")
    kills = OomKills(tmp_path, named)
    other.write_text("oom_kill 1\n")
    write(tmp_path / "memory.events", "oom_kill 1\n")
    assert kills.new() == 0
    own.write_text("oom_kill 1\n")
    assert kills.new() == 1


@pytest.mark.parametrize("text", ["", "oom_kill\n", "oom_kill many\n", "\n\n"])
def test_without_a_count_there_are_no_kills(text: str, tmp_path: Path) -> None:
    named = write(tmp_path / "own", V2)
    assert OomKills(tmp_path, named).new() == 0
    assert OomKills(tmp_path, tmp_path / "none").new() == 0
    write(tmp_path / "memory.events", text)
    assert OomKills(tmp_path, named).new() == 0


def test_the_cgroup_of_this_process_can_be_read() -> None:
    assert OomKills().new() >= 0

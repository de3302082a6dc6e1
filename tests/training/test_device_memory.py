"""What torch's messages about a lack of memory tell of neighbours on the GPU."""

from __future__ import annotations

import pytest
from fake_gpus import GIB
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.training.device_memory import CONTEXT, DeviceMemory, is_of_host, memory_in

CROWDED = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 80.00 GiB of "
    "which 4.00 GiB is free. Process 4711 has 65.00 GiB memory in use. Including non-PyTorch "
    "memory, this process has 10.90 GiB memory in use. Of the allocated memory 8.00 GiB is "
    "allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated. If reserved but "
    "unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid "
    "fragmentation."
)
ROCM = CROWDED.replace("CUDA", "HIP")
ALONE = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1024.00 TiB. GPU 0 has a total "
    "capacity of 79.18 GiB of which 78.65 GiB is free. Including non-PyTorch memory, this process "
    "has 520.00 MiB memory in use. Of the allocated memory 0 bytes is allocated by PyTorch, and "
    "0 bytes is reserved by PyTorch but unallocated."
)
OLD = (
    "CUDA out of memory. Tried to allocate 1.95 GiB (GPU 0; 23.70 GiB total capacity; 2.00 GiB "
    "already allocated; 20.31 MiB free; 3.00 GiB reserved in total by PyTorch)"
)


def test_a_message_tells_of_total_free_and_own_memory() -> None:
    half = GIB // 2
    for message in (CROWDED, ROCM):
        assert memory_in(message) == DeviceMemory(80 * GIB, 4 * GIB, 8 * GIB + half)
    memory = memory_in(ALONE)
    assert memory is not None
    assert (memory.own, memory.others) == (0, 0)
    old = memory_in(OLD)
    assert old is not None
    assert old.own == 3 * GIB
    assert 19 * GIB < old.others < 20 * GIB


@pytest.mark.parametrize(
    "message",
    ["CUDA out of memory", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "", "8.00 GiB is free"],
)
def test_a_message_may_tell_nothing(message: str) -> None:
    assert memory_in(message) is None


@given(*[st.integers(0, 2**40)] * 3)
def test_others_hold_what_is_left_and_never_less_than_nothing(
    free: int, own: int, others: int
) -> None:
    memory = DeviceMemory(free + own + others, free, own)
    assert memory.others == max(0, others - CONTEXT)


@pytest.mark.parametrize(
    ("message", "is_host"),
    [
        ("DefaultCPUAllocator: can't allocate memory", True),
        ("MemoryError: ", True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB", True),
        ("out of memory: the kernel killed 1 process of the script for want of memory", True),
        (f"OutOfMemoryError: {CROWDED}", False),
        (f"torch.OutOfMemoryError: {CROWDED}", False),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate", False),
    ],
)
def test_memory_of_the_machine_is_told_from_that_of_a_gpu(message: str, is_host: bool) -> None:
    assert is_of_host(message) == is_host

"""Functions that run in two processes with a gloo process group, and give back what rank 0 has."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def on_two_ranks(function: Callable[..., T], folder: Path, *arguments: Any) -> list[T]:
    """Call `function(rank, *arguments)` on two ranks; return both results, rank 0's first.

    The processes are started anew, so `function` must be in a module that can be imported. They
    meet in a file of `folder`.
    """
    meeting = folder / "meeting"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        calls = [pool.submit(_begin, function, rank, str(meeting), arguments) for rank in range(2)]
        return [call.result() for call in calls]


def _begin(function: Callable[..., T], rank: int, meeting: str, arguments: tuple[Any, ...]) -> T:
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        return function(rank, *arguments)
    finally:
        dist.destroy_process_group()

"""Restore process-wide settings that a training may have changed.

The user's code may set a default dtype, leave gradients off, change the working directory or
install signal handlers; the next trial in the same process must start from the same settings.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np
import torch

from lrsearch.text.redaction import GuardedOutput

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
Setting = tuple[Callable[[], Any], Callable[[Any], object]]
"""Functions that read and set one process-wide setting."""


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Restore the signal handlers, by which a worker is stopped, after the block."""
    handlers = [] if _is_side_thread() else [_handler(number) for number in _SIGNALS]
    with _restored(handlers), _one_process():
        yield


@contextlib.contextmanager
def surroundings_kept() -> Iterator[None]:
    """Restore all process-wide settings after the block, the signal handlers included."""
    with signals_kept(), _restored(_settings()), _outputs_kept(), _one_process():
        yield


@contextlib.contextmanager
def _one_process() -> Iterator[None]:
    """Exit a process that was forked within the block when it leaves the block.

    It would go on as a second worker, with the connections and the lease of the first.
    """
    own = os.getpid()
    code = 0
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        raise
    finally:
        if os.getpid() != own:
            os._exit(code)


@contextlib.contextmanager
def _outputs_kept() -> Iterator[None]:
    """Reopen file descriptors 1 and 2, a worker's log, if they were closed in the block."""
    copies: dict[int, int] = {}
    for number in (1, 2):
        with contextlib.suppress(OSError):
            copies[number] = os.dup(number)
    try:
        yield
    finally:
        for number, copy in copies.items():
            with contextlib.suppress(OSError):
                if not _is_open_on(number, copy):
                    os.dup2(copy, number)
                os.close(copy)


def _is_open_on(number: int, copy: int) -> bool:
    try:
        return os.path.sameopenfile(number, copy)
    except OSError:  # it is closed
        return False


@contextlib.contextmanager
def _restored(settings: list[Setting]) -> Iterator[None]:
    before = []
    for read, write in settings:
        # A setting that cannot be read, such as a deleted working directory, is not restored.
        with contextlib.suppress(Exception):
            before.append((read, write, read()))
    try:
        yield
    finally:
        for read, write, value in before:
            if not _is(read, value):
                with contextlib.suppress(Exception):
                    write(value)


def _is(read: Callable[[], Any], value: Any) -> bool:
    try:
        return bool(read() == value)
    except Exception:  # noqa: BLE001 - for example, the working directory was deleted
        return False


def _is_side_thread() -> bool:
    """Return whether this is not the main thread, which alone may set signal handlers."""
    return threading.current_thread() is not threading.main_thread()


def _handler(number: signal.Signals) -> Setting:
    return lambda: signal.getsignal(number), lambda handler: signal.signal(number, handler)


def _alarm_is_set() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _autocast(device: str) -> Setting:
    return (
        lambda: torch.is_autocast_enabled(device),
        lambda enabled: torch.set_autocast_enabled(device, enabled),
    )


def _attribute(owner: Any, name: str) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _stream(name: str, number: int) -> Setting:
    def read() -> tuple[TextIO, bool]:
        stream = getattr(sys, name)
        return stream, stream.closed

    def write(before: tuple[TextIO, bool]) -> None:
        stream, was_closed = before
        # If it was closed in the block, the next write to it would fail.
        if stream.closed and not was_closed:
            reopened = os.fdopen(number, "w", 1, errors="backslashreplace", closefd=False)
            if isinstance(stream, GuardedOutput):
                stream.reopen(reopened)  # log handlers refer to it, too
            else:
                stream = reopened
        setattr(sys, name, stream)

    return read, write


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]


def _settings() -> list[Setting]:
    cudnn = torch.backends.cudnn
    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, _set_default_device),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        *(_autocast(device) for device in ("cpu", "cuda")),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        *(_attribute(cudnn, name) for name in ("benchmark", "deterministic", "enabled")),
        (np.geterr, lambda state: np.seterr(**state)),
        (lambda: list(warnings.filters), _set_filters),
        (lambda: logging.root.manager.disable, logging.disable),
        (gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
        (sys.getrecursionlimit, sys.setrecursionlimit),
        (os.getcwd, os.chdir),
        _stream("stdout", 1),
        _stream("stderr", 2),
        (_alarm_is_set, lambda _: signal.setitimer(signal.ITIMER_REAL, 0)),
    ]


def _set_default_device(device: torch.device) -> None:
    # Any default device, the CPU included, slows down every call of torch; None does not.
    torch.set_default_device(None if device.type == "cpu" else device)

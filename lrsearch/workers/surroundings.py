"""What a training may change in its process, put back when it has ended.

The user's code may set a default dtype, leave gradients off, change the working directory or take
the signals: the next trial in this process must find things as this one did.
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
"""How something is read, and how it is set."""


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Put back the handlers by which a worker is told to stop."""
    handlers = [] if _is_beside() else [_handler(number) for number in _SIGNALS]
    with _put_back(handlers), _one_process():
        yield


@contextlib.contextmanager
def surroundings_kept() -> Iterator[None]:
    """Put back all that one training could leave behind for the next, the signals included."""
    with signals_kept(), _put_back(_settings()), _outputs_kept(), _one_process():
        yield


@contextlib.contextmanager
def _one_process() -> Iterator[None]:
    """End a copy of this process that was forked in the block and leaves it.

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
    """Put back what the standard output and error write to, a worker's log, if it was closed."""
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
def _put_back(settings: list[Setting]) -> Iterator[None]:
    before = []
    for read, write in settings:
        # What cannot be read, such as a folder that is gone, is not put back.
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
    except Exception:  # noqa: BLE001 - such as of a folder that was deleted
        return False


def _is_beside() -> bool:
    """Whether this is not the main thread, which alone may take signals."""
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
        # One that was closed in between would fail whoever writes to it next.
        if stream.closed and not was_closed:
            again = os.fdopen(number, "w", 1, errors="backslashreplace", closefd=False)
            if isinstance(stream, GuardedOutput):
                stream.reopen(again)  # handlers of the log hold it, too
            else:
                stream = again
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
    # None costs nothing; any device, the CPU included, looks at every call of torch.
    torch.set_default_device(None if device.type == "cpu" else device)

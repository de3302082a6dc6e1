"""The GPUs on which a worker trains: its neighbours there, and how it has a GPU to itself.

Trainings of lrsearch's workers share a GPU. One that ran out of memory because of its neighbours is
repeated alone. This is held by two file locks for each GPU, in a folder of the user:

- a training holds the GPU's lock, shared, and passes its gate before it takes that;
- who wants the GPU alone closes the gate, then waits for the trainings that hold the lock.

The system releases the locks of a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from lrsearch.training.device_memory import DeviceMemory, is_of_host, memory_in
from lrsearch.training.devices import card_names, memory_of
from lrsearch.training.drivers import DriverFault, cards
from lrsearch.training.memory import free_unused

PATIENCE = 3600.0
"""Longest time in seconds that a training waits for its GPUs to itself."""
_LOOK = 0.5
"""Seconds between two tries to take a lock."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cards:
    """The GPUs of one worker; none where it trains on the CPU."""

    device: torch.device
    """The first of them."""
    names: Sequence[str] = ()
    """Their names, which are the same in each process of this machine."""
    folder: Path = Path(tempfile.gettempdir()) / f"lrsearch-gpus-{os.getuid()}"
    """Folder of the locks."""

    @classmethod
    def of(cls, device: torch.device, gpus: float) -> Cards:
        """Return those of a worker whose trials take so many GPUs, from `device` on."""
        if device.type != "cuda":
            return cls(device)
        return cls(device, card_names(device, math.ceil(gpus)))

    def neighbours(self, said: str) -> DeviceMemory | None:
        """Return the memory of a GPU where a training ran out of it beside other processes.

        `said` is the message about it, which may tell of the memory at that time. None where the
        training was alone, or the memory of the machine ran out.
        """
        if not self.names or is_of_host(said):
            return None
        memory = memory_in(said) or self._measured()
        return memory if memory is not None and memory.others > 0 else None

    def _measured(self) -> DeviceMemory | None:
        """Measure the memory now; after a script has ended, what is in use is that of others."""
        try:
            if torch.cuda.memory_reserved(self.device) == 0:  # a script trained
                with contextlib.suppress(DriverFault):
                    found = [card for card in cards() if card.uuid in self.names]
                    if found:
                        fullest = max(found, key=lambda card: card.used)
                        return DeviceMemory(fullest.total, fullest.total - fullest.used, 0)
            return memory_of(self.device)
        except Exception as error:  # noqa: BLE001 - a GPU may be beyond use after an error
            _log.warning("the memory of %s cannot be measured: %r", self.device, error)
            return None

    @contextmanager
    def shared(self, wait: Callable[[float], None]) -> Iterator[None]:
        """Hold the GPUs together with other trainings.

        Waits while one of these has or wants a GPU alone. `wait(seconds)` is called again and
        again meanwhile, and raises to leave.
        """
        with ExitStack() as held:
            for name in self.names:
                with _Lock(self.folder, f"{name}.gate") as gate:
                    if not gate.take(fcntl.LOCK_SH):
                        _log.info("waiting for a trial that trains alone on %s", name)
                        free_unused()
                        while not gate.take(fcntl.LOCK_SH):
                            wait(_LOOK)
                    card = held.enter_context(_Lock(self.folder, f"{name}.lock"))
                    while not card.take(fcntl.LOCK_SH):
                        wait(_LOOK)
            try:
                yield
            finally:
                if any(map(self._is_wanted, self.names)):
                    free_unused()

    def _is_wanted(self, name: str) -> bool:
        """Return whether a worker waits until it has a GPU alone."""
        with _Lock(self.folder, f"{name}.gate") as gate:
            return not gate.take(fcntl.LOCK_SH)

    @contextmanager
    def alone(self, wait: Callable[[float], None]) -> Iterator[bool]:
        """Hold the GPUs alone, once the trainings on them have ended; yields whether that was so.

        They are waited for `PATIENCE` seconds in all, with `wait` as in `shared`.
        """
        deadline = time.monotonic() + PATIENCE
        with ExitStack() as held:
            locks = [
                held.enter_context(_Lock(self.folder, f"{name}.{kind}"))
                for name in self.names
                for kind in ("gate", "lock")
            ]
            yield all(_taken(lock, wait, deadline) for lock in locks)


NO_CARDS = Cards(torch.device("cpu"))
"""Those of a worker that trains on the CPU, or does not train by itself."""


def _taken(lock: _Lock, wait: Callable[[float], None], deadline: float) -> bool:
    """Take a lock alone until a time of the monotonic clock; return whether that was possible."""
    while not lock.take(fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            return False
        wait(_LOOK)
    return lock.is_usable


class _Lock:
    """A lock on a file, which is released at the end of a `with` block."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file: int | None = None
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _log.warning("%s cannot be locked, and so is shared: %s", name, error)

    @property
    def is_usable(self) -> bool:
        """Whether there is a file to lock."""
        return self._file is not None

    def take(self, kind: int) -> bool:
        """Try to take the lock, shared or alone; return whether it was free for that.

        Without a file nothing is locked, and all is free.
        """
        if self._file is None:
            return True
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> _Lock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            # A process that the training has forked has the file open, too.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
            self._file = None

"""Signals that stop a worker; each case runs in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest
from processes import in_a_process

from lrsearch.workers.stop import stop_on_signals


def own_handler(number: int) -> None:
    signal.signal(number, lambda *_: None)


def exits(number: int) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(3)

    signal.signal(number, leave)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("replace", [lambda number: None, own_handler, exits])
def test_a_signal_stops_whoever_handles_it(number: int, replace: Callable[[int], None]) -> None:
    def act() -> None:
        stop = stop_on_signals(parent=None)
        replace(number)
        assert not stop.is_set()
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), number)
        assert stop.is_set()
        assert stop.wait(60.0)  # at once
        assert stop.is_set()

    assert in_a_process(act)() == 0


def test_below_a_parent_the_end_of_the_parent_stops_and_not_ctrl_c() -> None:
    def act() -> None:
        stop = stop_on_signals(parent=os.getppid())
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop.is_set()
        assert stop_on_signals(parent=1 + os.getppid()).is_set()

    assert in_a_process(act)() == 0


def test_a_signal_to_a_forked_process_is_its_own() -> None:
    def act() -> None:
        stop = stop_on_signals(parent=None)
        wait = in_a_process(lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert wait() == 0
        assert not stop.is_set()

    assert in_a_process(act)() == 0


def test_other_signals_do_not_stop() -> None:
    def act() -> None:
        stop = stop_on_signals(parent=None)
        own_handler(signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert not stop.is_set()

    assert in_a_process(act)() == 0

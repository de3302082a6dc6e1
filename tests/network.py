"""Machines with a network between them, on one machine: network namespaces joined by a bridge.

A namespace lives as long as the process that holds it, which the kernel kills, as it kills all that
was started in it, when this process ends in whatever way: nothing is left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from servers import NEWEST, UNPRIVILEGED, PostgreSQL, postgresql

_PROGRAMS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux",
             "setpriv": "util-linux"}  # fmt: skip
_PATIENCE = 120.0
"""Seconds within which servers start, and programs end."""


def missing() -> str | None:
    """Return why there can be no such network on this machine; None where there can."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} of Debian's package {package} is not installed"
    if os.geteuid() != 0:
        return "network namespaces need the rights of root"
    made = subprocess.run(["unshare", "--net", "ip", "link", "add", "type", "bridge"],
                          capture_output=True, text=True)  # fmt: skip
    return None if made.returncode == 0 else f"no bridge can be made here: {made.stderr.strip()}"


class Namespace:
    """A network namespace, empty at first."""

    def __init__(self) -> None:
        # Ready once it has written a line: `unshare` has then done its work.
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c",
             "echo; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.pid = self._holder.pid
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> None:
        """Run the command `ip` in it."""
        subprocess.run([*self._enter(), "ip", *arguments], check=True, capture_output=True)

    def start(
        self, command: Sequence[str | Path], user: str | None = None, **options: object
    ) -> subprocess.Popen[bytes]:
        """Start a program in it, as a user of this machine or as this one."""
        as_user = () if user is None else (f"--reuid={user}", "--regid=nogroup", "--clear-groups")
        ends = ("setpriv", *as_user, "--pdeathsig", "KILL", "--")
        return subprocess.Popen([*self._enter(), *ends, *command], **options)  # type: ignore[call-overload, no-any-return]

    def _enter(self) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net", "--")

    def close(self) -> None:
        """End it, once nothing runs in it."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Network:
    """Machines with the addresses 10.77.0.1, 10.77.0.2 and so on, each by a link to a switch."""

    def __init__(self, count: int) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self.machines: list[Namespace] = []
        self._switch = Namespace()
        self._switch.ip("link", "add", "switch", "type", "bridge")
        self._switch.ip("link", "set", "switch", "up")
        for number in range(count):
            machine = Namespace()
            self.machines.append(machine)
            machine.ip("link", "add", "eth0", "type", "veth", "peer", "name", _port(number),
                       "netns", str(self._switch.pid))  # fmt: skip
            machine.ip("address", "add", f"{self.address(number)}/24", "dev", "eth0")
            machine.ip("link", "set", "eth0", "up")
            self._switch.ip("link", "set", _port(number), "up")
            self.join(number)

    @staticmethod
    def address(number: int) -> str:
        """Return the address of a machine, numbered from 0."""
        return f"10.77.0.{number + 1}"

    def cut(self, number: int) -> None:
        """Lose all that a machine sends and is sent: neither side is told of it."""
        self._switch.ip("link", "set", _port(number), "nomaster")

    def join(self, number: int) -> None:
        """Join a machine to the switch, for the first time or again."""
        self._switch.ip("link", "set", _port(number), "master", "switch")

    def start(
        self,
        number: int,
        command: Sequence[str | Path],
        folder: Path,
        output: IO[bytes],
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program on a machine, which ends with the network."""
        process = self.machines[number].start(
            command, user, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output,
        )  # fmt: skip
        self._running.append(process)
        return process

    def close(self) -> None:
        """End all that runs on its machines, and the machines."""
        for process in self._running:
            process.kill()
            process.wait()
        for machine in (*self.machines, self._switch):
            machine.close()


def _port(number: int) -> str:
    return f"port{number}"


@contextlib.contextmanager
def network(count: int) -> Iterator[Network]:
    """Make a network of so many machines for the length of the block."""
    made = Network(count)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def server_on(network: Network, machine: int) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL server on a machine for the length of the block."""

    def start(command: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return network.start(machine, command, log.parent, output, user=UNPRIVILEGED)

    with postgresql(NEWEST, network.address(machine), start) as server:
        yield server


def until(condition: Callable[[], object], said: Callable[[], str] = lambda: "") -> None:
    """Wait until a condition holds; fail with `said()` after a long time."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain:\n{said()[-4000:]}"
        time.sleep(0.05)

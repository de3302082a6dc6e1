"""`lrsearch dashboard` in a process of its own, and requests to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest


def clean_environment() -> dict[str, str]:
    """An environment without settings of lrsearch."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("LRSEARCH_")}
    return {**mine, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


@dataclass
class Server:
    """A dashboard in a process of its own."""

    process: subprocess.Popen[str]
    announced: str
    port: int

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (in lower case) and body of a request; the path is sent as it is."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        text = b"" if body is None else json.dumps(body).encode()
        given = {"Host": f"127.0.0.1:{self.port}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host=True)
        for name, value in {**given, "Content-Length": str(len(text))}.items():
            connection.putheader(name, value)
        connection.endheaders(text)
        answer = connection.getresponse()
        result = (
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
        )
        connection.close()
        return result


@contextmanager
def serving(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[Server]:
    """A dashboard on a free port, up when it has said so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lrsearch", "dashboard", "--port", "0", *arguments],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whoever runs the tests in the background has made them deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        announced = process.stdout.readline()
        if not announced:
            pytest.fail(process.communicate()[1])
        port = int(announced.partition("http://")[2].partition("/")[0].rpartition(":")[2])
        yield Server(process, announced, port)
    finally:
        process.kill()
        process.communicate()

"""A real server on real sockets, and clients that do not finish what they begin.

Nothing here waits for a time: what is waited for is an answer or the end of a connection. Linux
has more than one address for itself, so that there can be several clients.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lrsearch.dashboard.clients import networks
from lrsearch.dashboard.connections import Limits, Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only 127.0.0.1 is this machine")

PATIENCE = 60.0
"""Seconds; nothing takes so long unless it is broken."""
LASTING = Limits(headers=600, body=600, answer=600)
Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server within limits; its port."""
    running: list[tuple[Server, threading.Thread, socket.socket]] = []

    def start(limits: Limits, *proxies: str) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(echo, listener, limits, networks(proxies))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread, listener))
        return int(listener.getsockname()[1])

    yield start
    for server, thread, listener in running:
        server.stop()
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive()


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answers with the body of the request; `/large` with more than a connection holds."""
    large = environ["PATH_INFO"] == "/large"
    body = bytes(8_000_000) if large else environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def connect(port: int, address: str = "127.0.0.1", first: bytes = b"") -> socket.socket:
    connection = socket.create_connection(
        ("127.0.0.1", port), timeout=PATIENCE, source_address=(address, 0)
    )
    connection.sendall(first)
    return connection


def headers(method: str = "GET", length: int = 0, **more: str) -> bytes:
    lines = [f"{method} / HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def is_answered(connection: socket.socket, request: bytes = headers()) -> bool:
    """Whether a request gets an answer; false where the connection has ended."""
    try:
        connection.sendall(request)
        return connection.recv(100).startswith(b"HTTP/1.1 200")
    except (ConnectionError, BrokenPipeError):
        return False


def ends(connection: socket.socket, drip: bytes = b"") -> bool:
    """Whether the server ends the connection, though its client sends a byte again and again."""
    connection.settimeout(0.05 if drip else PATIENCE)
    for _ in range(int(PATIENCE / 0.05)):
        try:
            connection.sendall(drip)
            return connection.recv(100) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


BEGUN = b"GET / HTTP/1.1\r\nX: "
BODY = headers("POST", 1000)


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "dripping"])
@pytest.mark.parametrize("begun", [b"", BEGUN, BODY], ids=["nothing", "headers", "body"])
def test_a_request_has_to_be_complete_in_time(serve: Serve, begun: bytes, drip: bytes) -> None:
    port = serve(Limits(headers=0.2, body=0.2))
    assert ends(connect(port, first=begun), drip)


def test_a_connection_that_stays_open_between_requests_has_time_anew(serve: Serve) -> None:
    port = serve(LASTING)
    connection = connect(port)
    for _ in range(3):
        assert is_answered(connection)


def test_an_answer_that_nobody_takes_is_given_up(serve: Serve) -> None:
    port = serve(Limits(headers=600, answer=0.2, connections_of_client=1))
    idle = connect(port, first=headers().replace(b"GET /", b"GET /large"))
    assert idle.recv(1, socket.MSG_PEEK)
    while not is_answered(connect(port)):  # until the only connection of this client is free
        assert idle.recv(1, socket.MSG_PEEK)


def test_half_open_requests_of_one_client_leave_room_for_others(serve: Serve) -> None:
    port = serve(Limits(headers=600, body=600, connections=20, connections_of_client=5))
    kept = [connect(port, first=begun) for begun in (BEGUN, BODY, b"", BEGUN, BODY)]
    assert all(ends(connect(port)) for _ in range(30))
    assert is_answered(connect(port, "127.0.0.2"))
    kept.pop().close()
    connection = connect(port)
    while not is_answered(connection):  # until the server has noticed
        connection = connect(port)


def test_when_all_is_taken_who_has_waited_longest_makes_room(serve: Serve) -> None:
    port = serve(Limits(headers=600, body=600, connections=6, connections_of_client=2))
    held = [connect(port, f"127.0.0.{number}", BEGUN) for number in range(2, 8)]
    newcomers = [connect(port, f"127.0.0.{number}") for number in range(10, 13)]
    assert all(is_answered(connection) for connection in newcomers)
    assert all(ends(connection) for connection in held[:3])
    assert is_answered(held[-1], b"x\r\n\r\n")


def test_a_trusted_proxy_has_no_bound_and_those_behind_it_have(serve: Serve) -> None:
    port = serve(Limits(headers=600, body=600, connections_of_client=3), "127.0.0.1")
    idle = [connect(port) for _ in range(10)]
    held = [connect(port, first=headers("POST", 9, X_Forwarded_For="1.1.1.1")) for _ in range(3)]
    assert ends(connect(port, first=headers("POST", 9, X_Forwarded_For="1.1.1.1")))
    assert not is_answered(connect(port), headers(X_Forwarded_For="9.9.9.9, 1.1.1.1"))
    assert is_answered(connect(port), headers(X_Forwarded_For="2.2.2.2"))
    assert is_answered(idle[0])
    assert is_answered(held[0], b"123456789")


def test_who_is_no_trusted_proxy_cannot_speak_for_others(serve: Serve) -> None:
    port = serve(Limits(headers=600, body=600, connections_of_client=3), "127.0.0.9")
    requests = [headers("POST", 9, X_Forwarded_For=f"1.1.1.{number}") for number in range(3)]
    held = [connect(port, first=request) for request in requests]
    assert not is_answered(connect(port), headers(X_Forwarded_For="2.2.2.2"))
    assert is_answered(held[0], b"123456789")

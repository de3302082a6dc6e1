"""The HTTP server: waitress, with limits that no half-open request can get around.

waitress reads requests without occupying a thread, but it has no time limit for a request of which
a byte comes now and then, and no bound for a single client. Both are added here, in the one module
that builds on waitress's classes `TcpWSGIServer` and `HTTPChannel`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

from lrsearch.dashboard.clients import Network, client_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

THREADS = 4
_LARGEST_BODY = 1 << 20  # bytes; it is read before anyone asks for the password
_LARGEST_HEADERS = 1 << 16


@dataclass(frozen=True)
class Limits:
    """Limits on a client's use of the server. Times are in seconds."""

    headers: float = 20.0
    """Longest time from the connection, or the last response, to complete headers."""
    body: float = 30.0
    """Longest time from the end of the headers to the complete body."""
    answer: float = 60.0
    """Longest time in which the client reads nothing of a response."""
    connections: int = 256
    """Largest number of connections; beyond, the oldest incomplete request is closed."""
    connections_of_client: int = 32
    """Largest number of connections of one client; clients behind a trusted proxy count singly."""


class _Channel(HTTPChannel):
    """A connection that knows how long it has been waiting for the rest of a request."""

    server: Server

    def __init__(self, server: Server, *arguments: Any, **more: Any) -> None:
        self.since = time.monotonic()
        """When the part of the request that is being waited for could begin."""
        self.in_body = False
        super().__init__(server, *arguments, **more)
        self._direct = client_of(self.addr[0], None, server.proxies)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its client to complete a request."""
        return not self.requests and not self.total_outbufs_len

    @property
    def client(self) -> str | None:
        """The client, as far as it is known by now; see `client_of`."""
        if self._direct is not None:
            return self._direct
        requests = [*self.requests, self.request]
        headers = next(
            (request.headers for request in requests if request and request.headers_finished), {}
        )
        return client_of(self.addr[0], headers.get("X_FORWARDED_FOR"), self.server.proxies)

    def received(self, data: bytes) -> bool:
        result = bool(super().received(data))
        in_body = self.request is not None and self.request.headers_finished
        if in_body and not self.in_body:
            self.since = time.monotonic()
        self.in_body = in_body
        # Who is behind a proxy is known only now.
        if (self.in_body or self.requests) and self.server.has_too_many(self.client):
            self.end()
        return result

    def look(self, now: float) -> None:
        """End the connection if it is beyond a time limit."""
        limits = self.server.limits
        if self.total_outbufs_len and time.time() - self.last_activity > limits.answer:
            self.end()
        elif not self.is_waiting:
            self.since, self.in_body = now, False
        elif now - self.since > (limits.body if self.in_body else limits.headers):
            self.end()

    def end(self) -> None:
        """Close the connection at the loop's next turn, whatever its client does."""
        self.cancel()
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # else a full buffer would keep it open


class Server(TcpWSGIServer):
    """Answers requests to a listening socket, within limits."""

    channel_class = _Channel
    _map: dict[int, Any]

    def __init__(
        self,
        application: WSGIApplication,
        listener: socket.socket,
        limits: Limits,
        proxies: tuple[Network, ...],
    ) -> None:
        self.limits, self.proxies = limits, proxies
        settings = Adjustments(
            sockets=[listener],
            threads=THREADS,
            ident="lrsearch",
            max_request_body_size=_LARGEST_BODY,
            max_request_header_size=_LARGEST_HEADERS,
            # It refuses newcomers; here they are let in, and others make room.
            connection_limit=2 * limits.connections + 16,
            cleanup_interval=1,
            clear_untrusted_proxy_headers=False,  # the guard decides which to believe
            asyncore_use_poll=True,  # select knows no descriptor above 1,023
        )
        super().__init__(
            application,
            _sock=listener,
            adj=settings,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        )

    def accept(self) -> tuple[socket.socket, Any] | None:
        """A new connection, unless its client has too many already."""
        accepted = super().accept()
        if accepted is None:
            return None
        connection, address = accepted
        if self.has_too_many(client_of(address[0], None, self.proxies), one_more=True):
            connection.close()
            return None
        self._make_room()
        return connection, address

    def has_too_many(self, client: str | None, one_more: bool = False) -> bool:
        """Whether a client has more connections than it may have."""
        if client is None:
            return False
        same = sum(channel.client == client for channel in self._open())
        return same + one_more > self.limits.connections_of_client

    def _make_room(self) -> None:
        if len(self._open()) < self.limits.connections:
            return
        waiting = [channel for channel in self._open() if channel.is_waiting]
        if waiting:
            min(waiting, key=lambda channel: channel.since).end()

    def _open(self) -> list[_Channel]:
        channels = cast("dict[int, _Channel]", self.active_channels).values()
        return [channel for channel in channels if not channel.will_close]

    def maintenance(self, now: float) -> None:
        """waitress calls it every second; `now` is of a clock that can be set."""
        for channel in self._open():
            channel.look(time.monotonic())

    def stop(self) -> None:
        """End `run`, from another thread."""
        cast("Any", self.trigger).pull_trigger(self._close_all)

    def _close_all(self) -> None:
        self.task_dispatcher.shutdown()
        self.asyncore.close_all(self._map)

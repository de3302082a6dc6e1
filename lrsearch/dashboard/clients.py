"""The client of a request, and limits on its wrong passwords."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lrsearch.errors import UserError

Network = IPv4Network | IPv6Network

_FREE_ATTEMPTS = 5
"""Wrong passwords in a row after which a client has to wait."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds of the first wait; each further wrong password doubles it."""
_FORGOTTEN_AFTER = 900.0
"""Seconds without a wrong password after which a client starts anew."""
_MOST_CLIENTS = 10_000
"""Clients that are remembered; beyond, the one that was silent longest is forgotten."""


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """The addresses and networks (`10.0.0.0/8`) of trusted proxies. Raises UserError."""
    networks = []
    for name in names:
        try:
            networks.append(ip_network(name, strict=False))
        except ValueError:
            raise UserError(
                f"--trusted-proxy: {name!r} is neither an address, such as 127.0.0.1, nor a "
                f"network, such as 10.0.0.0/8"
            ) from None
    return tuple(networks)


def client_of(peer: str, forwarded_for: str | None, proxies: Iterable[Network]) -> str | None:
    """The client behind a connection from `peer`; None where a trusted proxy names none.

    `forwarded_for` is the header X-Forwarded-For, to which each proxy appends whom it heard from.
    It counts from a trusted proxy only: the last address in it that is not a trusted proxy's. Of
    IPv6, where a single user has 2^64 addresses, the network is the client.
    """
    if not _is_in(peer, proxies):
        return _client(peer)
    for hop in reversed((forwarded_for or "").split(",")):
        name = hop.strip().strip('"')
        if name and not _is_in(name, proxies):
            return _client(name)
    return None


def _is_in(name: str, proxies: Iterable[Network]) -> bool:
    address = _address(name)
    return address is not None and any(address in network for network in proxies)


def _client(name: str) -> str:
    address = _address(name)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address) if address is not None else name[:64]


def _address(name: str) -> IPv4Address | IPv6Address | None:
    """An address as sockets and proxies write it: `::1`, `[::1]`, `[::1]:80`, `127.0.0.1:80`."""
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


@dataclass
class _Failures:
    count: int
    last: float
    """When the last one was, in seconds of the clock."""

    @property
    def wait(self) -> float:
        """Seconds after the last wrong password in which further ones are refused unread."""
        over = self.count - _FREE_ATTEMPTS
        # The exponent is bounded: a float ends at 2^1024.
        return 0.0 if over < 0 else min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(over, 30))


class PasswordCheck:
    """Compares passwords in constant time, and slows down clients that try wrong ones.

    A client that tries too early is refused at once, with the seconds to wait; its password is not
    compared. Other clients are not affected. Safe to use from several threads.
    """

    def __init__(self, password: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest, self._clock = _digest(password), clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, client: str, given: bytes | None) -> float | None:
        """None where `given` is the password; else the seconds until the next attempt may be made.

        None given, or an attempt too early, counts as no attempt.
        """
        if given is None:
            return 0.0
        with self._lock:
            now = self._clock()
            failures = self._failures.get(client)
            if failures is None or now - failures.last > _FORGOTTEN_AFTER:
                failures = _Failures(0, now)
            if (left := failures.last + failures.wait - now) > 0:
                return left
            if hmac.compare_digest(_digest(given), self._digest):
                self._failures.pop(client, None)
                return None
            self._failures[client] = _Failures(failures.count + 1, now)
            self._failures.move_to_end(client)
            if len(self._failures) > _MOST_CLIENTS:
                self._failures.popitem(last=False)
            return 0.0


def _digest(password: bytes) -> bytes:
    """Return a digest, whose length is the same for all passwords: timing shows nothing of it."""
    return hashlib.sha256(password).digest()

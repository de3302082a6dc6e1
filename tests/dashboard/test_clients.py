"""Who a request comes from, and how wrong passwords are slowed down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.dashboard.clients import PasswordCheck, client_of, networks
from lrsearch.errors import UserError

PROXIES = networks(["10.0.0.1", "172.16.0.0/12", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # anybody can write the header
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),  # the first was there before
        ("10.0.0.1", "203.0.113.7, 172.20.0.3", "203.0.113.7"),  # two proxies in a row
        ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("::1", '"[2001:db8:1:2:3::4]:80"', "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", None, "203.0.113.7"),
        ("fe80::1%eth0", None, "fe80::/64"),
        ("10.0.0.1", "unknown", "unknown"),
        ("10.0.0.1", None, None),
        ("10.0.0.1", " , ", None),
        ("10.0.0.1", "172.20.0.3", None),
    ],
)
def test_the_client_is_whom_the_last_trusted_proxy_heard_from(
    peer: str, forwarded: str | None, client: str | None
) -> None:
    assert client_of(peer, forwarded, PROXIES) == client


@given(st.text(), st.text())
def test_a_header_of_anything_counts_from_a_trusted_proxy_alone(peer: str, forwarded: str) -> None:
    assert client_of(peer, forwarded, PROXIES) == client_of(peer, None, PROXIES)
    found = client_of("10.0.0.1", forwarded, PROXIES)
    assert (found is None) == all(not hop.strip().strip('"') for hop in forwarded.split(","))


def test_a_proxy_that_is_no_address_is_bad_input() -> None:
    with pytest.raises(UserError, match="--trusted-proxy: 'caddy'"):
        networks(["127.0.0.1", "caddy"])


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def attempts(check: PasswordCheck, client: str, count: int) -> list[float | None]:
    return [check.check(client, b"wrong") for _ in range(count)]


def test_a_few_wrong_passwords_are_free_and_then_each_doubles_the_wait() -> None:
    clock = Clock()
    check = PasswordCheck(b"right", clock)
    assert attempts(check, "a", 5) == [0.0] * 5
    waits = []
    for _ in range(9):
        wait = check.check("a", b"right")  # too early: it is not even looked at
        assert wait
        waits.append(wait)
        clock.now += wait
        assert check.check("a", b"wrong") == 0.0
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_the_right_one_after_the_wait_lets_in_and_forgets_the_wrong_ones() -> None:
    clock = Clock()
    check = PasswordCheck(b"right", clock)
    attempts(check, "a", 6)
    clock.now += 1.0
    assert check.check("a", b"right") is None
    assert attempts(check, "a", 5) == [0.0] * 5


def test_others_and_requests_without_a_password_are_not_concerned() -> None:
    check = PasswordCheck(b"right", Clock())
    attempts(check, "a", 6)
    assert check.check("a", None) == 0.0
    assert check.check("b", b"right") is None


def test_after_a_quarter_of_an_hour_a_client_starts_anew() -> None:
    clock = Clock()
    check = PasswordCheck(b"right", clock)
    attempts(check, "a", 5)
    clock.now += 901.0
    assert attempts(check, "a", 5) == [0.0] * 5


def test_clients_without_number_fill_no_memory() -> None:
    clock = Clock()
    check = PasswordCheck(b"right", clock)
    for number in range(10_100):
        attempts(check, f"client {number}", 1)
    assert len(check._failures) == 10_000

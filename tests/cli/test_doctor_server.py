"""What `doctor` says of a server: its version, its connections, and a pooler before it."""

from __future__ import annotations

import pytest
from command_line import Command
from servers import NEWEST, OLDEST, pgbouncer, postgresql, url_of


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_connections_are_counted_unless_a_pooler_shares_them(
    command: Command, version: str
) -> None:
    with postgresql(version, max_connections=10) as server:
        url = server.new_database("sweeps")
        _, few, _ = command("doctor", "workers=2", LRSEARCH_STORAGE=url)
        _, many, _ = command("doctor", "workers=9", LRSEARCH_STORAGE=url)
        with pgbouncer(server) as port:
            _, pooled, _ = command("doctor", "workers=9", LRSEARCH_STORAGE=url_of(port, "sweeps"))
    assert f"ok       server: PostgreSQL {version}" in few
    assert "ok       connections: 1 of 7 in use; 2 workers here take up to 3" in few
    assert "problem  connections: 1 of 7 in use; 9 workers here take up to 10" in many
    assert "ok       connections: a pooler is before the server" in pooled

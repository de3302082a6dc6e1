"""What commands say of a server that does not let them in: at once, in words, with exit code 2."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_line import Command
from sqlalchemy.engine import make_url

COMMANDS = (
    ("+sweep=digits",), ("submit", "+sweep=digits"), ("worker",), ("worker", "--until-empty"),
    ("status",), ("status", "digits"), ("best", "digits"), ("show", "digits", "0"),
    ("compare", "digits", "0", "1"), ("report", "digits"), ("export", "digits"),
    ("try", "digits", "lr=0.1"), ("pause", "digits"), ("resume", "digits"), ("stop", "digits"),
    ("delete", "digits", "--yes"), ("upgrade",), ("dashboard", "--port", "0"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"username": "nobody", "password": "s3cret"}, 'role "nobody" does not exist'),
    ],
    ids=["database", "user"],
)
def test_every_command_ends_at_once_with_words(
    command: Command, new_database: Callable[[], str], change: dict[str, str], said: str
) -> None:
    url = make_url(new_database()).set(**change).render_as_string(hide_password=False)
    for words in COMMANDS:
        code, out, errors = command(*words, LRSEARCH_STORAGE=url)
        assert code == 2, (words, out, errors)
        assert said in errors, words
        assert "s3cret" not in out + errors
        assert "Traceback" not in errors

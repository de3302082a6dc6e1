"""Passwords that are given in files, as Docker, Kubernetes and systemd hand them over."""

from __future__ import annotations

from pathlib import Path

from lrsearch.errors import UserError


def read_secret(path: str | Path, name: str) -> str:
    """The one line of a secret file; `name` says in an error who has named the file.

    Raises UserError when it cannot be read, is empty or has several lines.
    """
    try:
        text = Path(path).expanduser().read_text()
    except OSError as error:
        raise UserError(f"{name}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{name}: {path} is not a text file") from None
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise UserError(f"{name}: {path} must hold the password in one line, nothing else")
    return lines[0]

"""Commands that are printed for the user to paste: quoted so that a shell changes nothing."""

from __future__ import annotations

import shlex


def command(*words: str) -> str:
    """A command of lrsearch as a shell takes it."""
    return shlex.join(["python", "-m", "lrsearch", *words])


def name_word(name: str) -> str:
    """The word that names a study in a command.

    `study.name=...` stands before a name that would be taken for an option, a file or a setting.
    """
    is_clear = name and not name.startswith("-") and "=" not in name
    return name if is_clear and not name.endswith((".yaml", ".yml")) else f"study.name={name}"

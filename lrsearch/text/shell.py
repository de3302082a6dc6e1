"""Commands that are printed for the user to paste into a shell, quoted where necessary."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

_PROGRAM = ("python", "-m", "lrsearch")


def command(*words: str, environment: Mapping[str, str] | None = None) -> str:
    """A command of lrsearch with these words as arguments, quoted for a shell.

    It begins with the assignments of the variables in `environment`.
    """
    variables = [f"{name}={shlex.quote(value)}" for name, value in (environment or {}).items()]
    return " ".join([*variables, shlex.join([*_PROGRAM, *words])])


def with_setting(line: str, key: str, value: str) -> str:
    """A line of `command` with `key=value` in place of what it has for the key."""
    words = shlex.split(line)
    start = words.index(_PROGRAM[0])
    variables = dict(word.split("=", 1) for word in words[:start])
    kept = [
        word for word in words[start + len(_PROGRAM) :] if word.lstrip("+").partition("=")[0] != key
    ]
    return command(*kept, f"{key}={value}", environment=variables)


def name_word(name: str) -> str:
    """The word that names a study in a command: its name, or `study.name=NAME`.

    The latter is used for a name that would be read as an option, a file or a setting.
    """
    is_clear = name and not name.startswith("-") and "=" not in name
    return name if is_clear and not name.endswith((".yaml", ".yml")) else f"study.name={name}"

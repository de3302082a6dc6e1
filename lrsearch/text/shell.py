"""Commands that are printed for the user to paste into a shell, quoted where necessary."""

from __future__ import annotations

import shlex


def command(*words: str) -> str:
    """A command of lrsearch with these words as arguments, quoted for a shell."""
    return shlex.join(["python", "-m", "lrsearch", *words])


def name_word(name: str) -> str:
    """The word that names a study in a command: its name, or `study.name=NAME`.

    The latter is used for a name that would be read as an option, a file or a setting.
    """
    is_clear = name and not name.startswith("-") and "=" not in name
    return name if is_clear and not name.endswith((".yaml", ".yml")) else f"study.name={name}"

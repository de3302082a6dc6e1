"""`completion`: scripts that complete the command line in a shell, and the words they ask for."""

from __future__ import annotations

from collections.abc import Sequence

from lrsearch.errors import UserError
from lrsearch.hints import unknown
from lrsearch.shell import name_word

_OF_A_STUDY = (
    "status", "best", "show", "compare", "export", "train", "try", "report",
    "pause", "resume", "stop", "delete",
)  # fmt: skip
_OF_A_SWEEP = ("run", "submit", "doctor", "preview", "range-test")
_PATIENCE = 2
"""Seconds that a shell waits for a server's studies."""

# Bash splits words at the `=` of `+sweep=mnist`; what is completed is the word as it was typed.
_BASH = r"""_lrsearch() {
    local line="${COMP_LINE:0:COMP_POINT}" words word tail found
    read -r -a words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    word="${words[-1]}"
    tail="$word"
    [[ "$COMP_WORDBREAKS" == *=* && "$word" == *=* ]] && tail="${word##*=}"
    COMPREPLY=()
    while IFS= read -r found; do
        [[ -n "$found" ]] && COMPREPLY+=("$(printf %q "${found:${#word}-${#tail}}")")
    done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
}
complete -o bashdefault -o default -F _lrsearch lrsearch
"""
_ZSH = r"""#compdef lrsearch
_lrsearch() {
    local -a found
    found=("${(@f)$(lrsearch complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( $#found )); then compadd -- "${found[@]}"; else _files; fi
}
compdef _lrsearch lrsearch
"""
_FISH = r"""function __lrsearch_words
    set -l typed (commandline -opc) (commandline -ct)
    lrsearch complete -- $typed[2..-1] 2>/dev/null
end
complete -c lrsearch -a '(__lrsearch_words)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def print_script(shell: str) -> None:
    """The script for a shell. Raises UserError for another one."""
    if shell not in _SCRIPTS:
        raise UserError(f"shell {unknown(shell, _SCRIPTS)}")
    print(_SCRIPTS[shell], end="")


def print_words(words: Sequence[str]) -> None:
    """What the last of the words may become, a line each; nothing where that is unknown."""
    *before, typed = words or [""]
    for word in _known(before, typed):
        if word.startswith(typed):
            print(word)


def _known(before: Sequence[str], typed: str) -> list[str]:
    from lrsearch.entry.commands import SHOWN

    command = before[0] if before else None
    if typed.startswith("-"):
        return _options(command)
    sweeps = _sweeps() if command is None or command in _OF_A_SWEEP else []
    if command is None:
        return sorted(SHOWN) + sweeps
    if command in _OF_A_STUDY and len(before) == 1:
        return _studies()
    if command == "completion" and len(before) == 1:
        return list(_SCRIPTS)
    return [] if any(word in sweeps for word in before) else sweeps


def _sweeps() -> list[str]:
    from lrsearch.entry.catalogue import find_sweeps

    names = [name for name, sweep in find_sweeps().items() if sweep.problem is None]
    return [f"+sweep={name}" for name in names if name.isprintable()]


def _options(command: str | None) -> list[str]:
    """The long options of a command."""
    from typer.main import get_command

    from lrsearch.entry.commands import app

    group = get_command(app)
    found = getattr(group, "commands", {}).get(command)
    if found is None:
        return ["--help", "--version", "--cfg"]
    options = [option for parameter in found.params for option in parameter.opts]
    return sorted({"--help", *(option for option in options if option.startswith("--"))})


def _studies() -> list[str]:
    """The studies of the default database; none where it cannot be read at once."""
    from sqlalchemy import create_engine, select
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from lrsearch.entry.places import read_here
    from lrsearch.study.database import existing
    from lrsearch.study.tables import StudyRow

    try:
        url = existing(read_here([])[0].url)
        server = make_url(url).get_backend_name() == "postgresql"
        engine = create_engine(
            url, connect_args={"connect_timeout": _PATIENCE} if server else {"timeout": _PATIENCE}
        )
        with engine.connect() as connection:
            names = connection.scalars(select(StudyRow.name).order_by(StudyRow.study_id))
            return [name_word(name) for name in names if name.isprintable()]
    except (SQLAlchemyError, UserError, ImportError):
        return []

"""The words that the command line can be completed with: studies, sweeps and settings.

Typer makes the scripts for the shells and asks these functions; they import no more than they need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from lrsearch.errors import UserError
from lrsearch.text.shell import name_word

VARIABLE = "_LRSEARCH_COMPLETE"
"""The environment variable by which a shell's script asks for words."""
_PATIENCE = 2
"""Seconds that a shell waits for a server's studies."""
_SWEEP = "+sweep"


@dataclass(frozen=True)
class Word:
    """A word to offer, with what Typer's classes for the shells read of it."""

    value: str
    help: str | None = None


def studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the studies of the default database for the first argument of a command."""
    return [] if _arguments(ctx) else list(_stored_studies())


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return sweeps and settings for a command's list of `key=value`."""
    return setting_words(_arguments(ctx), incomplete)


def service(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return studies for the first argument, and then what `lrsearch set` changes in one."""
    from lrsearch.settings import SERVICE_KEYS

    if not (before := _arguments(ctx)):
        return list(_stored_studies())
    offered = _settings()
    keys = {key: offered[f"study.{key}"] for key in SERVICE_KEYS}
    return _words_of(keys, before, incomplete)


def _arguments(ctx: typer.Context) -> Sequence[str]:
    """The command's arguments without a name, as far as they are typed."""
    return next((value for value in ctx.params.values() if isinstance(value, (list, tuple))), ())


def setting_words(before: Sequence[str], typed: str) -> list[str]:
    """Return what a word of settings may become, behind those before it."""
    return _words_of(_settings(), before, typed)


def _words_of(keys: Mapping[str, Sequence[str]], before: Sequence[str], typed: str) -> list[str]:
    """Return what a word of `key=value` may become, behind those before it.

    Bash passes `+sweep=mn` as three words; what it replaces is the last one.
    """
    before, prefix = list(before), ""
    if before[-1:] == ["="]:
        prefix = "".join(before[-2:])
        before = before[:-2]
    elif typed == "" and before and before[-1] in keys:
        prefix = f"{before.pop()}="  # the word is `=`, which Typer leaves out
    given = {word.partition("=")[0] for word in before}
    words = [
        f"{key}={value}" for key, values in keys.items() if key not in given for value in values
    ]
    start = prefix + typed
    return [word[len(prefix) :] for word in words if word.startswith(start)]


def _settings() -> dict[str, list[str]]:
    """The keys of the configuration, and values to offer: the sweeps, the catalogue, defaults."""
    from lrsearch.cli.catalogue import conf_folder, find_sweeps
    from lrsearch.text.yaml import read_file

    sweeps = [name for name, sweep in find_sweeps().items() if sweep.problem is None]
    known = {_SWEEP: [name for name in sweeps if name.isprintable()]}
    for folder in sorted(path for path in conf_folder().iterdir() if path.is_dir()):
        known[folder.name] = sorted(path.stem for path in folder.glob("*.yaml"))
    config = read_file(conf_folder() / "config.yaml")
    hidden = ("defaults", "hydra", "description")
    defaults = {key: value for key, value in config.items() if key not in hidden}
    return known | {key: [value] for key, value in _leaves(defaults)}


def _leaves(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their defaults, as they are typed."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        elif isinstance(value, str) and "${" in value:
            yield f"{above}{key}", ""
        elif isinstance(value, bool) or value is None:
            yield f"{above}{key}", {None: "null", True: "true", False: "false"}[value]
        else:
            yield f"{above}{key}", str(value)


def _stored_studies() -> Iterator[str]:
    """The studies of the default database; none where it cannot be read at once."""
    from sqlalchemy import create_engine, select
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from lrsearch.cli.locations import read_locations
    from lrsearch.storage.database import existing
    from lrsearch.storage.engine import server_arguments
    from lrsearch.storage.tables import StudyRow

    try:
        url = existing(read_locations([])[0].url)
        server = make_url(url).get_backend_name() == "postgresql"
        engine = create_engine(
            url,
            connect_args={**server_arguments(url), "connect_timeout": _PATIENCE}
            if server
            else {"timeout": _PATIENCE},
        )
        with engine.connect() as connection:
            names = connection.scalars(select(StudyRow.name).order_by(StudyRow.study_id))
            yield from (name_word(name) for name in names if name.isprintable())
    except (SQLAlchemyError, UserError, ImportError):
        return

"""What the reading commands share: the study that is meant, words as settings, JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrsearch.analysis.columns import finite
from lrsearch.entry.places import read_here
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.redaction import redacted
from lrsearch.shell import command
from lrsearch.storage.database import Database, open_existing
from lrsearch.storage.tables import StudyRow
from lrsearch.workers.here import Here


@dataclass(frozen=True)
class Asked:
    """A study that is asked for by name."""

    database: Database
    here: Here
    name: str
    words: list[str]
    """What stands behind the name."""

    @property
    def place(self) -> str:
        """What a command needs to find the same database."""
        return shown_place(self.here)


def shown_place(here: Here) -> str:
    """` storage.url=...` where a command needs it to find the same database, else nothing."""
    default = read_here([])[0].url
    shown = redacted(here.url)
    return "" if here.url == default else f" {shlex.quote(f'storage.url={shown}')}"


def start_a_worker(name: str, place: str) -> str:
    """Says that a study waits for a worker, and how to start one."""
    return (
        f"no worker is at it; to start one: "
        f"{command('worker', '--sweep', name, '--until-empty')}{place}"
    )


@contextmanager
def asked(arguments: Sequence[str], usage: str) -> Iterator[Asked]:
    """The study that the first word names, in the database that `storage.url` names.

    Raises UserError, with the studies there are, where there is no name, or no such study.
    """
    from lrsearch.study.study import load_row

    here, words = read_here(arguments)
    database = open_existing(here.url)
    try:
        if not words:
            names = ", ".join(study_names(database)) or "none"
            raise UserError(f"name a study: lrsearch {usage}; there: {names}")
        load_row(database, words[0])
        yield Asked(database, here, words[0], words[1:])
    finally:
        database.close()


def study_names(database: Database) -> list[str]:
    """The studies of a database, the oldest first."""
    from sqlalchemy import select

    with database.session() as session:
        return list(session.scalars(select(StudyRow.name).order_by(StudyRow.study_id)))


def no_more(words: Sequence[str], usage: str) -> None:
    """Raises UserError where there is a word too many."""
    if words:
        raise UserError(f"{words[0]!r} is one word too many: lrsearch {usage}")


def whole_number(word: str, what: str) -> int:
    """A word as a number from 0. Raises UserError."""
    if not word.isascii() or not word.isdigit():
        raise UserError(f"{what}: {word!r} is not a whole number from 0")
    return int(word)


def given_values(words: Sequence[str]) -> dict[str, Any]:
    """`lr=0.1 scheduler=cosine` as a mapping, values read as on the command line of a sweep.

    What is not of that grammar, such as a formula, is text. Raises ConfigErrors.
    """
    from hydra.errors import HydraException

    from lrsearch.entry.grammar import parse_override, value_of

    values: dict[str, Any] = {}
    problems = []
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals or not text:
            problems.append(f"{word!r} is not of the form key=value, such as lr=0.1")
            continue
        if key in values:
            problems.append(f"{key} is given twice")
        try:
            parsed = parse_override(word)
        except HydraException:
            values[key] = text
            continue
        if parsed.is_sweep_override():
            problems.append(f"{word}: one setting has one {key}; give each setting by itself")
            continue
        values[key] = value_of(parsed)
    if problems:
        raise ConfigErrors(problems)
    return values


def split_places(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that `read_here` understands (a name, `storage.url=...`), and other `key=value`."""
    from lrsearch.entry.places import NAME, PLACES

    mine: list[str] = []
    others: list[str] = []
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        (others if equals and key not in (*PLACES, NAME) else mine).append(argument)
    return mine, others


def output_folder(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder of outputs, and the other arguments."""
    folder, rest = "outputs", []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key == "output_dir":
            folder = value
        else:
            rest.append(argument)
    return Path(folder), rest


def print_json(document: Any) -> None:
    """A document on the standard output, and nothing else there; numbers round-trip."""
    print(json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False))

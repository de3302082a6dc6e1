"""Arguments that several commands share: a study by name, its database, settings as words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lrsearch.analysis.columns import finite
from lrsearch.cli.locations import read_locations
from lrsearch.config.storage import command_on
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.storage.database import Database, open_existing
from lrsearch.storage.tables import StudyRow
from lrsearch.text.redaction import redacted
from lrsearch.workers.locations import Locations


@dataclass(frozen=True)
class NamedStudy:
    """A study that a command names, in its open database."""

    database: Database
    locations: Locations
    name: str
    words: list[str]
    """The arguments after the name."""

    def command(self, *words: str) -> str:
        """A command on the same database, to be pasted into a shell."""
        return command_on(self.locations.url, *words)


def worker_advice(name: str, url: str, labels: Iterable[str] = ()) -> str:
    """Say that a study in a database waits for a worker, and how to start one."""
    return f"no worker is at it; to start one: {worker_command(name, url, labels)}"


def worker_command(name: str, url: str, labels: Iterable[str] = ()) -> str:
    """Return the command of a worker that serves one study, which needs `labels`, to its end."""
    given = [word for label in labels for word in ("--label", label)]
    return command_on(url, "worker", "--sweep", name, "--until-empty", *given)


def same_command(arguments: Sequence[str], url: str) -> str:
    """The command line of a sweep again, for any machine that reaches its database."""
    others = [word for word in arguments if word.lstrip("+").partition("=")[0] != "storage.url"]
    return command_on(url, *map(redacted, others))


@contextmanager
def named_study(arguments: Sequence[str], usage: str) -> Iterator[NamedStudy]:
    """Open the database of `storage.url=...` and find the study that the first word names.

    Raises UserError, listing the studies, where no study, or an unknown one, is named.
    """
    from lrsearch.study.study import load_row

    locations, words = read_locations(arguments)
    database = open_existing(locations.url)
    try:
        if not words:
            names = ", ".join(study_names(database)) or "none"
            raise UserError(f"name a study: lrsearch {usage}; there: {names}")
        load_row(database, words[0])
        yield NamedStudy(database, locations, words[0], words[1:])
    finally:
        database.close()


def study_names(database: Database) -> list[str]:
    """The studies of a database, the oldest first."""
    from sqlalchemy import select

    with database.session() as session:
        return list(session.scalars(select(StudyRow.name).order_by(StudyRow.study_id)))


def refuse_words(words: Sequence[str], usage: str) -> None:
    """Raise UserError for a word too many."""
    if words:
        raise UserError(f"{words[0]!r} is one word too many: lrsearch {usage}")


def whole_number(word: str, what: str) -> int:
    """Read a word as a number from 0. Raises UserError."""
    if not word.isascii() or not word.isdigit():
        raise UserError(f"{what}: {word!r} is not a whole number from 0")
    return int(word)


def parse_values(words: Sequence[str]) -> dict[str, Any]:
    """Read `lr=0.1 scheduler=cosine` as a mapping, values as on the command line of a sweep.

    A value outside that grammar, such as a formula, is text. Raises ConfigErrors.
    """
    from hydra.errors import HydraException

    from lrsearch.cli.grammar import parse_override, value_of

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


def split_locations(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what `read_locations` takes (a name, `storage.url=...`) from other `key=value`."""
    from lrsearch.cli.locations import LOCATIONS, NAME

    locations: list[str] = []
    others: list[str] = []
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        (others if equals and key not in (*LOCATIONS, NAME) else locations).append(argument)
    return locations, others


def print_json(document: Any) -> None:
    """Print a document as JSON; its numbers are read back to the last bit."""
    print(json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False))

"""`set`: change how workers serve a study, while it runs."""

from __future__ import annotations

from collections.abc import Sequence

from lrsearch.cli.arguments import named_study, parse_values, refuse_words, split_locations
from lrsearch.cli.grammar import as_word, written
from lrsearch.config.service import read_changes
from lrsearch.config.words import WORDS
from lrsearch.study.service import change_service, service_of
from lrsearch.study.study import load_row

USAGE = "set NAME key=value ... [storage.url=...]"


def set_service(arguments: Sequence[str]) -> None:
    """Change the values of a study's row; without any, print them. Raises UserError."""
    others, words = split_locations(arguments)
    with named_study(others, USAGE) as named:
        refuse_words(named.words, USAGE)
        if not words:
            shown = service_of(load_row(named.database, named.name))
            print("\n".join(f"{key}={written(value)}" for key, value in shown.items()))
            return
        is_word = [as_word(word, lambda key, _: f"study.{key}" in WORDS) for word in words]
        values = read_changes(parse_values(is_word))
        row = load_row(named.database, named.name)
        with named.database.session.begin() as session:
            changes = change_service(session, row.study_id, values)
    for change in changes:
        print(f"{named.name}: {change.key} is {written(change.new)} (was {written(change.old)})")
    if not changes:
        print(f"{named.name}: nothing has changed")

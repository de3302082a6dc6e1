"""`try`: queue a setting by hand as one more trial of a study."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lrsearch.cli.arguments import (
    named_study,
    parse_values,
    refuse_words,
    split_locations,
    worker_advice,
)
from lrsearch.config.load import stored_settings
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.queue.queue import Queue
from lrsearch.states import StudyState
from lrsearch.study.index import StudyIndex
from lrsearch.study.service import service_of
from lrsearch.study.study import load_row
from lrsearch.text.formatting import plural
from lrsearch.text.shell import name_word

USAGE = "try NAME lr=0.1 scheduler=cosine ... [storage.url=...]"


def try_setting(arguments: Sequence[str]) -> None:
    """Queue the setting as the next trial. Raises ConfigErrors where the space lacks it."""
    others, words = split_locations(arguments)
    with named_study(others, USAGE) as named:
        refuse_words(named.words, USAGE)
        row = load_row(named.database, named.name)
        settings = stored_settings(row.config)
        if not words:
            names = ", ".join(settings.space.names())
            raise UserError(f"say what to try: lrsearch {USAGE}; {named.name} has {names}")
        wanted = parse_values(words)
        try:
            parameters, problems = settings.space.parameters_for(wanted)
            implied = settings.space.implied(wanted)
        except UserError as error:
            problems = [str(error)]
        if problems:
            raise ConfigErrors(problems)
        queue = Queue(named.database.session, row.study_id)
        queue.add_by_hand(parameters, settings.study.seed)
        print(f"queued as the next trial of {named.name}: {shlex.join(words)}")
        for branch, (option, name) in implied.items():
            print(f"{branch}={option} is fixed with it, because {name} is {option}'s")
        print(
            f"what it leaves out is suggested by the sampler; the study now has "
            f"{plural(queue.total(), 'trial')}"
        )
        if row.state != StudyState.OPEN:
            print(
                f"{named.name} is {row.state}; to go on: "
                f"{named.command('resume', name_word(named.name))}"
            )
        elif not StudyIndex(named.database.session).running_now(row.study_id):
            print(worker_advice(named.name, named.locations.url, service_of(row)["needs.labels"]))

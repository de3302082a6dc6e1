"""`best`: the best recipe of a study, or that of any other complete trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrsearch.analysis.best_and_last import compare_best_and_last
from lrsearch.analysis.confirmed import (
    Confirmed,
    headline,
    progress_words,
    still_to_come,
)
from lrsearch.analysis.findings import warning_lines
from lrsearch.analysis.sentences import say
from lrsearch.analysis.sentences.verdict import verdict_line
from lrsearch.analysis.study_data import read_study
from lrsearch.analysis.verdict import find_verdict
from lrsearch.analysis.warned import find_warned
from lrsearch.cli.arguments import NamedStudy, named_study, print_json, refuse_words
from lrsearch.cli.display import described
from lrsearch.config.load import stored_settings
from lrsearch.confirm.read import read_confirmation
from lrsearch.confirm.result import Confirmation
from lrsearch.data.spec import DataInfo
from lrsearch.errors import UserError
from lrsearch.export import script_words
from lrsearch.settings import Settings
from lrsearch.states import Outcome, in_words
from lrsearch.study.progress import Finished, Progress, best_number
from lrsearch.study.study import load_row
from lrsearch.text.formatting import number
from lrsearch.text.shell import name_word

USAGE = "best NAME [--trial N] [storage.url=...]"
Format = Literal["text", "yaml", "python", "json"]


def show_best(arguments: Sequence[str], wanted: int | None, form: Format) -> None:
    """Print the recipe. Raises UserError where no trial, or not the named one, has completed."""
    with named_study(arguments, USAGE) as named:
        refuse_words(named.words, USAGE)
        stored = stored_trial(named, wanted)
        if form == "text":
            print("\n".join(_lines(named, stored)))
            return
        info, record = _recorded(stored)
        if form == "yaml":
            from lrsearch.cli.results import as_yaml

            print(as_yaml(record), end="")
        elif form == "json":
            print_json(record)
        else:
            from lrsearch.export.script import best_script

            print(best_script(stored.settings, info, record), end="")


@dataclass(frozen=True)
class Stored:
    """A trial with what a record of it needs of its study."""

    settings: Settings
    info: DataInfo | None
    trial: Finished
    is_best: bool
    confirmation: Confirmation | None
    to_come: str
    """A sentence on the confirmation to come, while nothing is confirmed."""


def record_of(named: NamedStudy, wanted: int | None) -> dict[str, Any]:
    """The best trial, or the one named, as `best.yaml` has it. Raises UserError."""
    return _recorded(stored_trial(named, wanted))[1]


def _recorded(stored: Stored) -> tuple[DataInfo | None, dict[str, Any]]:
    """The trial's data, and its record as in `best.yaml`."""
    from lrsearch.cli import results

    info = results.info_of(stored.settings, stored.info, stored.trial)
    return info, results.best_record(stored.settings, info, stored.trial, stored.confirmation)


def stored_trial(named: NamedStudy, wanted: int | None) -> Stored:
    """The confirmed best trial of a study, the search's best while none is, or the one named.

    Raises UserError where no trial has completed, or the one named has not.
    """
    row = load_row(named.database, named.name)
    settings = stored_settings(row.config)
    progress = Progress(named.database.session, row.study_id)
    ended, total = progress.count_ended(), progress.snapshot().total
    to_come = still_to_come(settings.confirm, ended, total)
    with named.database.session() as session:
        confirmation = read_confirmation(session, row.study_id)
    best = best_number(progress, settings.metric.mode, confirmation)
    data = row.record["data"]
    info = None if data is None else DataInfo.from_json(data)
    if wanted is None:
        trial = None if best is None else progress.ended(best)
        if trial is None:
            why = " yet" if ended < total else _why_none(progress.finished())
            raise UserError(
                f"no trial of {named.name} has completed{why}: "
                f"{named.command('status', name_word(named.name))}"
            )
        return Stored(settings, info, trial, True, confirmation, to_come)
    trial = progress.ended(wanted)
    if trial is not None:
        if trial.outcome != Outcome.COMPLETE or trial.value is None:
            raise UserError(
                f"trial {wanted} of {named.name} is {in_words(trial.outcome)}: only one that has "
                f"run to its end has a value to be repeated"
            )
        return Stored(settings, info, trial, trial.trial == best, confirmation, to_come)
    known = progress.best(10, settings.metric.mode)
    complete = ", ".join(str(number) for number, _ in known) or "none yet"
    raise UserError(f"{named.name} has no finished trial {wanted}; the best complete: {complete}")


def _why_none(finished: list[Finished]) -> str:
    from lrsearch.cli.results import tally

    return f", and none will: all have ended ({tally(finished)})"


def _lines(named: NamedStudy, stored: Stored) -> list[str]:
    metric, trial, confirmed = stored.settings.metric, stored.trial, stored.confirmation
    which = "the best" if stored.is_best else "complete"
    name, chosen = name_word(named.name), [] if stored.is_best else [f"--trial={trial.trial}"]
    value = f"{metric.name} {number(trial.value)} ({stored.settings.counted})"
    details = []
    if stored.is_best and confirmed is not None and confirmed.winner is not None:
        which, value = "the confirmed best", headline(confirmed)
        data = None if stored.info is None else stored.info.to_json()
        details = [f"  {line}" for line in say(Confirmed(confirmed, data))]
    elif stored.is_best and confirmed is not None and confirmed.work_left:
        details = [f"  not confirmed yet: {progress_words(confirmed)}"]
    elif stored.is_best and confirmed is None and stored.settings.confirm is not None:
        details = [f"  not confirmed yet. {stored.to_come}"]
    script = f"{script_words(stored.info is None)}:"
    study = read_study(named.database, named.name, thinned=True)
    return [
        *warning_lines(find_warned(study), compare_best_and_last(study, stored.settings)),
        verdict_line(find_verdict(study)),
        f"{named.name}, trial {trial.trial}, {which}: {value}",
        f"  {described(trial.recipe, stored.settings.space.searched)}",
        *details,
        f"{'again:':{len(script)}} {named.command('train', name, *chosen)}",
        f"{script} {named.command('best', name, *chosen, '--format', 'python')} "
        f"> best.py; python best.py",
    ]

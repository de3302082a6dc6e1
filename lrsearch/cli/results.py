"""The end of a sweep: the best recipe on screen, and files to use it from."""

from __future__ import annotations

import functools
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

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
from lrsearch.analysis.study_data import StudyData, read_study
from lrsearch.analysis.tables import trials_csv
from lrsearch.analysis.verdict import find_verdict
from lrsearch.analysis.warned import find_warned
from lrsearch.cli.display import described
from lrsearch.cli.table import text_lines
from lrsearch.config.ranges import with_ranges
from lrsearch.config.storage import command_on
from lrsearch.confirm.read import confirmed_first
from lrsearch.confirm.result import Confirmation
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo
from lrsearch.errors import UserError
from lrsearch.export import script_words
from lrsearch.export.script import best_script, line_by_hand
from lrsearch.files import write_whole
from lrsearch.objectives import is_command
from lrsearch.optimizers import is_fused
from lrsearch.own_code import is_of_main
from lrsearch.range_test.stored import found_ranges
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.states import Outcome, StudyState, in_words
from lrsearch.storage.database import Database
from lrsearch.study.progress import Finished, Progress, ranked
from lrsearch.study.provenance import versions
from lrsearch.study.study import fallback_warning
from lrsearch.text.formatting import duration, number, plural, to_error
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import command, name_word
from lrsearch.text.yaml import to_yaml

_TOP = 10


def conclude(
    console: Console,
    settings: Settings,
    info: DataInfo | None,
    database: Database,
    output: Path,
) -> int:
    """Print the result, write `best.yaml`, `best.py` and `trials.csv`, and return the exit code."""
    study = read_study(database, settings.study.name, thinned=True)
    settings = with_ranges(settings, found_ranges(study.record))
    progress = Progress(database.session, study.study_id)
    finished = progress.finished()
    snapshot = progress.snapshot()
    failed = snapshot.state == StudyState.FAILED
    if snapshot.stopped:
        console.print(f"[bold red]stopped: [/]{escape(snapshot.stopped)}")
    confirmation = study.confirmation
    best = confirmed_first(
        ranked(finished, settings.metric.mode), lambda trial: trial.trial, confirmation
    )
    if not best:
        return _without_best(console, settings, study, finished, database.url, output)
    for line in warning_lines(find_warned(study), compare_best_and_last(study, settings)):
        console.print(f"[bold yellow]{escape(line)}[/]", soft_wrap=True)
    verdict = find_verdict(study)
    console.print(f"[bold]{escape(verdict_line(verdict))}[/]", soft_wrap=True)
    _print_best(console, settings, best[0], confirmation)
    for line in _confirmation(study):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    seconds = duration(sum(trial.seconds or 0.0 for trial in finished))
    console.print(f"{plural(len(finished), 'trial')} ({tally(finished)}) in {seconds} of work")
    shown_best = _table(settings, best[:_TOP], confirmation, verdict.noise, console.width)
    console.print(shown_best, markup=False, soft_wrap=True)

    @functools.cache
    def recorded() -> tuple[DataInfo | None, dict[str, Any]]:
        own = info_of(settings, info, best[0])
        return own, best_record(settings, own, best[0], confirmation)

    # Write files last: if the disk is full, the result is on the screen already.
    files: dict[Path, Callable[[], str | Iterable[str]]] = {
        output / "trials.csv": lambda: trials_csv(study, study.trials),
        output / "best.yaml": lambda: as_yaml(recorded()[1]),
        output / "best.py": lambda: best_script(settings, *recorded()),
    }
    if _is_of_main(settings):  # no other script can import it
        del files[output / "best.py"]
    complete = _written(console, settings, files)
    if complete:
        for line in _uses(settings, recorded()[1], output):
            console.print(line, soft_wrap=True, markup=False)
    if weights := _weights(settings, best[0]):
        console.print(weights, soft_wrap=True, markup=False)
    console.print(
        f"{redacted(database.url)}  look at it: {command_on(database.url, 'dashboard')}",
        soft_wrap=True,
        markup=False,
    )
    return 0 if complete and not failed else 1


def _without_best(
    console: Console,
    settings: Settings,
    study: StudyData,
    finished: list[Finished],
    url: str,
    output: Path,
) -> int:
    """Print that no trial has completed, write `trials.csv`, and return the exit code.

    `url` is that of the database.
    """
    console.print(f"no trial has completed ({tally(finished) or 'none has finished'})")
    table = output / "trials.csv"
    if finished and _written(console, settings, {table: lambda: trials_csv(study, study.trials)}):
        last = command_on(url, "show", name_word(study.name), str(finished[-1].trial))
        console.print(
            f"the last trial in full: {last}\n{table} says why of each",
            soft_wrap=True,
            markup=False,
        )
    return 1


def _is_of_main(settings: Settings) -> bool:
    """Whether a function of a notebook or of a script itself trains."""
    return settings.objective is not None and is_of_main(settings.objective.name)


def _uses(settings: Settings, record: Mapping[str, Any], output: Path) -> list[str]:
    """Return a line for each use of the files that were written."""
    recipe, script = str(output / "best.yaml"), str(output / "best.py")
    table = f"{output / 'trials.csv'}  all trials"
    if _is_of_main(settings):
        return [f"{recipe}   the recipe: lrsearch.Recipe.from_file(...)", table]
    lines = [
        f"{recipe}   again: {command('train', recipe)}",
        f"{script}     {script_words(settings.objective is not None)}: "
        f"{shlex.join(['python', script])}",
        table,
    ]
    if is_command(settings.objective):
        lines.insert(0, f"by hand: {line_by_hand(settings, record, recipe)}")
    return lines


def _weights(settings: Settings, best: Finished) -> str | None:
    """Say where the weights of the best trial are; None where there is nothing to say."""
    if best.weights is not None:
        return f"{best.weights}  the weights of trial {best.trial}"
    if settings.objective is None or not settings.train.keep_best:
        return None
    return "no weights are kept: your training gives them to trial.keep_weights(model)"


def _confirmation(study: StudyData) -> list[str]:
    """Return lines on the confirmation of the best trial; none where none was configured."""
    confirmation = study.confirmation
    if confirmation is not None and confirmation.winner is not None:
        return say(Confirmed(confirmation, study.record.get("data")))
    if confirmation is not None and confirmation.work_left:
        return [f"not confirmed yet: {progress_words(confirmation)}"]
    if confirmation is not None:
        return ["not confirmed: a run of each candidate broke on fresh seeds"]
    if study.confirm is not None:
        return [f"not confirmed yet. {still_to_come(study.confirm, study.done, study.total)}"]
    return []


def _written(
    console: Console, settings: Settings, files: Mapping[Path, Callable[[], str | Iterable[str]]]
) -> bool:
    """Write the files of the result; return False, with a message, if one cannot be written."""
    try:
        for path, content in files.items():
            write_whole(path, content())
    except (OSError, UserError) as error:
        name = name_word(settings.study.name)
        why = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        console.print(
            f"[bold red]cannot write {escape(why)}[/]\n"
            f"nothing is lost: the database has it all. When there is room again: the same command,"
            f" or {command('best', name)}, best {name} --format yaml (or python), "
            f"export {name} --format csv",
            soft_wrap=True,
        )
        return False
    return True


def info_of(settings: Settings, info: DataInfo | None, trial: Finished) -> DataInfo | None:
    """Return the data of a trial: those of the study, unless arguments of the data were tuned.

    Raises UserError where tuned ones cannot be read here.
    """
    tuned = (trial.recipe or {}).get("data", {})
    if info is None or not tuned:
        return info
    return prepare(settings.data.with_arguments(tuned))


def as_yaml(record: dict[str, Any]) -> str:
    """A record as the text of `best.yaml`."""
    return to_yaml(record)


def best_record(
    settings: Settings,
    info: DataInfo | None,
    best: Finished,
    confirmation: Confirmation | None = None,
) -> dict[str, Any]:
    """Return everything that is needed to train a trial again.

    Of a confirmed winner, what fresh seeds say of it, too.
    """
    winner = None if confirmation is None else confirmation.winner
    confirmed: dict[str, Any] = {}
    if confirmation is not None and winner is not None and winner.trial == best.trial:
        confirmed = {"confirmed": confirmation.to_json()}
    record: dict[str, Any] = {
        "study": settings.study.name,
        "trial": best.trial,
        "metric": settings.metric.name,
        "at": settings.metric.at,
        "value": best.value,
        **confirmed,
        "recipe": best.recipe,
        "seed": best.seed,
        "weights": best.weights,
        "machine": {
            "threads": settings.train.threads,
            "device": best.device,
            "fused": _is_fused(settings, best),
            "processor": _processor(),
            "versions": versions(),
        },
        "data": None if info is None else info.to_json(),
        "config": dict(settings.plain),
    }
    if info is not None and info.fallback_reason:
        record = {"WARNING": fallback_warning(info), **record}
    return record


def _is_fused(settings: Settings, best: Finished) -> bool:
    """Whether lrsearch's own loop trained with torch's fused implementation of the optimizer."""
    recipe = Recipe.from_dict(best.recipe or {})
    words = (best.device or "").split()  # `2 × cuda (NVIDIA H100)` where it trained on two
    device_type = next((word for word in words if word in ("cuda", "cpu", "mps")), "")
    return settings.objective is None and is_fused(recipe.optimizer, device_type)


def _print_best(
    console: Console, settings: Settings, best: Finished, confirmation: Confirmation | None
) -> None:
    value = f"{settings.metric.name} {number(best.value)} ({settings.counted})"
    if confirmation is not None and confirmation.winner is not None:
        value = f"confirmed: {headline(confirmation)}"
    console.print(
        f"[bold green]best[/] trial {best.trial}{',' if 'confirmed' in value else ':'} "
        f"{escape(value)}\n  {escape(described(best.recipe, settings.space.searched))}",
        soft_wrap=True,
    )
    recipe = Recipe.from_dict(best.recipe or {})
    if recipe.lr_ref is not None:
        console.print(
            f"  lr {number(recipe.lr)} at batch {recipe.batch_size}, that is "
            f"{number(recipe.lr_ref)} at batch {settings.space.coupling.reference}"
        )


def tally(finished: list[Finished]) -> str:
    """`3 completed, 2 pruned`."""
    counts = Counter(trial.outcome for trial in finished)
    return ", ".join(
        f"{counts[key]} {'completed' if key == Outcome.COMPLETE else in_words(key)}"
        for key in Outcome
        if counts[key]
    )


def _table(
    settings: Settings,
    best: list[Finished],
    confirmation: Confirmation | None,
    noise: float | None,
    width: int,
) -> str:
    """The best trials; only complete ones can be compared by their values.

    Values have the digits that the `noise` between trainings of one recipe allows.
    """
    fresh = (
        {candidate.trial: candidate.estimate for candidate in confirmation.candidates}
        if confirmation is not None
        else {}
    )
    headers = ["trial", settings.metric.name, *(["on fresh seeds"] if fresh else []), "recipe"]
    rows = [headers]
    for trial in best:
        known = fresh.get(trial.trial or 0)
        mean = [to_error(known.mean if known else None, noise)] if fresh else []
        recipe = described(trial.recipe, settings.space.searched)
        rows.append([str(trial.trial), to_error(trial.value, noise), *mean, recipe])
    return "\n".join(text_lines(rows, width, right=range(len(headers) - 1)))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

"""`show` and `compare`: one trial in full, or several side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from lrsearch.analysis.columns import reason_of, recipe_columns, trial_document
from lrsearch.analysis.confirmed import value_words
from lrsearch.analysis.group_rates import group_rates
from lrsearch.analysis.sentences.verdict import verdict_line
from lrsearch.analysis.study_data import (
    StudyData,
    TrialData,
    read_study,
    read_trials,
    trial_count,
)
from lrsearch.analysis.verdict import find_verdict
from lrsearch.cli.arguments import NamedStudy, named_study, print_json, refuse_words, whole_number
from lrsearch.cli.display import make_console
from lrsearch.cli.locations import output_folder
from lrsearch.cli.table import number_lines
from lrsearch.errors import UserError
from lrsearch.plots.static.curves import (
    SHARE,
    rate_curves,
    rates_note,
    rates_title,
    value_curve,
    value_curves,
)
from lrsearch.plots.terminal import paper, text_plot
from lrsearch.queue.owners import process_in_words
from lrsearch.states import WorkState, in_words
from lrsearch.study.progress import Progress, best_number
from lrsearch.text.formatting import duration, number, plural
from lrsearch.workers.locations import logs_of

SHOW = "show NAME TRIAL [--log] [storage.url=...] [output_dir=...]"
COMPARE = "compare NAME TRIAL TRIAL ... [storage.url=...]"


def show_trial(arguments: Sequence[str], as_json: bool, log: bool = False) -> None:
    """Run the command `show`. Raises UserError."""
    outputs, arguments = output_folder(arguments)
    with named_study(arguments, SHOW) as named:
        (trial,), study = _trials(named, SHOW, 1)
        refuse_words(named.words[1:], SHOW)
        if log:
            _print_log(logs_of(outputs, study.name), study, trial)
            return
        if as_json:
            print_json(trial_document(study, trial))
            return
        console = make_console()
        progress = Progress(named.database.session, study.study_id)
        best = best_number(progress, study.metric.mode, study.confirmation)
        for line in _facts(study, trial, is_best=trial.number == best):
            console.print(line, soft_wrap=True)
        if best is not None:
            whole = read_study(named.database, named.name, curves=False)
            verdict = verdict_line(find_verdict(whole))
            console.print(f"  {'verdict':11} {verdict}", markup=False, soft_wrap=True)
        if trial.curve:
            label, curves = value_curves(study, trial)
            print()
            print(text_plot(curves, label, paper(), SHARE, share_x=True))
        else:
            console.print("no evaluation yet" if trial.state != WorkState.DONE else "no evaluation")
        rates = rate_curves(study, trial)
        if any(curve.x for curve in rates):
            print()
            print(text_plot(rates, rates_title(trial), paper(), SHARE, share_x=True))
            print(rates_note(study, [trial]))
        if trial.curve:
            print()
            print("\n".join(_evaluations(trial, study.metric.name, console.width)))
        if reason := reason_of(study, trial):
            console.print("\n[bold]why it ended[/]")
            console.print(reason.rstrip(), markup=False, soft_wrap=True)


def _print_log(logs: Path, study: StudyData, trial: TrialData) -> None:
    """Print what the script of a trial has printed. Raises UserError where that is not here."""
    path = logs / f"trial-{trial.number}.log"
    try:
        with path.open("rb") as file:
            while data := file.read(1 << 16):
                sys.stdout.write(data.decode("utf-8", "replace"))
    except OSError as error:
        owner = "" if trial.owner is None else f"; its worker was {process_in_words(trial.owner)}"
        end = "; why it ended has the last part of it" if reason_of(study, trial) else ""
        raise UserError(
            f"cannot read {path}: {error.strerror}; scripts (objective.command) have a log, in the "
            f"output_dir of the machine that ran them{owner}{end}"
        ) from None


def compare_trials(arguments: Sequence[str], as_json: bool) -> None:
    """Run the command `compare`. Raises UserError."""
    with named_study(arguments, COMPARE) as named:
        trials, study = _trials(named, COMPARE, 2)
        if as_json:
            print_json([trial_document(study, trial) for trial in trials])
            return
        console = make_console()
        _print_differences(console, study, trials)
        name = study.metric.name
        values = [
            value_curve(study, trial, lambda evaluation: evaluation.value, f"trial {trial.number}")
            for trial in trials
        ]
        rates = [
            replace(curve, name=f"trial {trial.number}" + (f", {curve.name}" if several else ""))
            for trial in trials
            for curves in [rate_curves(study, trial)]
            for several in [len(curves) > 1]
            for curve in curves
        ]
        on = paper()
        print()
        print(text_plot(values, name, on, SHARE, share_x=True))
        print()
        print(text_plot(rates, "learning rate", on, SHARE, share_x=True))
        print(rates_note(study, trials))


def _trials(named: NamedStudy, usage: str, fewest: int) -> tuple[list[TrialData], StudyData]:
    """The trials that the words name. Raises UserError, with the numbers of existing trials."""
    words = named.words[:1] if fewest == 1 else named.words
    numbers = [whole_number(word, "a trial") for word in words]
    if len(numbers) < fewest:
        count = trial_count(named.database, named.name)
        there = f"0 to {count - 1}" if count else "none yet"
        which = "a trial" if fewest == 1 else "two trials or more"
        raise UserError(f"name {which}: lrsearch {usage}; {named.name} has {there}")
    if len(set(numbers)) < len(numbers):
        raise UserError("a trial is named twice")
    study = read_trials(named.database, named.name, numbers)
    return [study.trial(number) for number in numbers], study


def _facts(study: StudyData, trial: TrialData, is_best: bool) -> list[str]:
    mark = "  [bold green]the best[/]" if is_best else ""
    value = f": {study.metric.name} {number(trial.value)}" if trial.value is not None else ""
    outcome = in_words(trial.outcome or trial.state)
    ended = escape(f"{study.name}, trial {trial.number}, {outcome}{value}")
    lines = [f"[bold]{ended}[/]{mark}"]
    recipe = "no recipe yet" if trial.recipe is None else trial.recipe.describe(study.searched)
    facts = {"recipe": recipe, "seed": str(trial.seed)}
    candidates = study.confirmation.candidates if study.confirmation is not None else ()
    for candidate in candidates:
        if candidate.trial == trial.number:
            runs = f", mean of {plural(len(candidate.values), 'run')}" if candidate.estimate else ""
            facts["fresh seeds"] = f"{value_words(candidate)}{runs}"
    if trial.owner is not None:
        device = f" ({trial.device})" if trial.device else ""
        facts["worker"] = f"{process_in_words(trial.owner)}{device}"
    died = f", {trial.deaths} of them ended their worker" if trial.deaths else ""
    facts["attempts"] = f"{trial.attempts}{died}"
    if trial.seconds is not None:
        facts["took"] = duration(trial.seconds)
    if trial.spared_at is not None:
        facts["spared"] = (
            f"after evaluation {trial.spared_at} it should have been pruned, but went on as a check"
        )
    if trial.weights is not None:
        facts["weights"] = trial.weights
    if trial.warning is not None:
        facts["WARNING"] = trial.warning
    if trial.end_step is not None:
        facts["ended at"] = f"step {trial.end_step}, learning rate {number(trial.end_lr)}"
    return [*lines, *(f"  {name:11} {escape(text)}" for name, text in facts.items())]


def _evaluations(trial: TrialData, metric: str, width: int) -> list[str]:
    """A table of the evaluations, no wider than `width`.

    The losses have columns where they were reported, and any other metric has one of its own.
    """
    columns = {
        "train loss": [evaluation.train_loss for evaluation in trial.curve],
        "val loss": [evaluation.val_loss for evaluation in trial.curve],
    }
    columns = {name: values for name, values in columns.items() if any_known(values)}
    if metric not in ("val_loss", "train_loss"):
        columns[metric] = [evaluation.value for evaluation in trial.curve]
    rates = group_rates(trial)
    lr = ["lr", *(f"lr {name.partition(',')[0]}" for name in list(rates)[1:])]
    rows = [["epoch", "step", *columns, *lr, "grad norm", "seconds"]]
    for index, evaluation in enumerate(trial.curve):
        rows.append(
            [
                f"{evaluation.epoch:g}",
                str(evaluation.step),
                *(number(values[index]) for values in columns.values()),
                *(number(pairs[index][1]) for pairs in rates.values()),
                number(evaluation.grad_norm),
                f"{evaluation.seconds:.2f}",
            ]
        )
    return number_lines(rows, width, keys=2)


def any_known(values: Sequence[float | None]) -> bool:
    """Whether there is any value."""
    return any(value is not None for value in values)


def _print_differences(console: Console, study: StudyData, trials: Sequence[TrialData]) -> None:
    """Print where the recipes and results of trials differ, in a column for each trial."""
    columns = [
        {} if trial.recipe is None else recipe_columns(trial.recipe.to_dict()) for trial in trials
    ]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [
        ["", *(f"trial {trial.number}" for trial in trials)],
        ["outcome", *(in_words(trial.outcome or trial.state) for trial in trials)],
        [study.metric.name, *(number(trial.value) for trial in trials)],
        ["evaluations", *(str(len(trial.curve)) for trial in trials)],
        ["took", *(duration(t.seconds) for t in trials)],
    ]
    same = []
    for name in names:
        cells = [_cell(column, name) for column in columns]
        if len(set(cells)) > 1:
            rows.append([name, *cells])
        elif cells[0] != "-":
            same.append(f"{name}={cells[0]}")
    console.print("\n".join(number_lines(rows, console.width)), markup=False, soft_wrap=True)
    if same:
        console.print(f"the same in all: {' '.join(same)}", markup=False, soft_wrap=True)


def _cell(column: dict[str, Any], name: str) -> str:
    value = column.get(name)
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value)

"""The sections of the report: each answers a question, in words, with a figure and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.analysis import rate_ranges
from lrsearch.analysis.confirmed import over_words, short_value
from lrsearch.analysis.families import EqualTuning, Option
from lrsearch.analysis.findings import Findings
from lrsearch.analysis.sentences import say
from lrsearch.analysis.study_data import StudyData
from lrsearch.export import script_words
from lrsearch.plots.interactive import study as figures
from lrsearch.report import captions
from lrsearch.report.code import BestCode
from lrsearch.text.formatting import duration, number, plural, probability, to_error
from lrsearch.text.shell import command
from lrsearch.text.yaml import to_yaml

_TOP = 10
_MOST_WORKERS = 20


@dataclass(frozen=True)
class Table:
    """Rows of text under headers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Code to copy; long text is collapsed."""

    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """One question and its answer. Figures are named; those that are not drawn are left out."""

    anchor: str
    title: str
    sentences: list[str]
    figures: tuple[tuple[str, str], ...] = ()
    """Id and caption."""
    table: Table | None = None
    codes: tuple[Code, ...] = ()


def sections(
    study: StudyData, findings: Findings, code: BestCode | None, widening: str | None, record: str
) -> list[Section]:
    """The report's sections in order.

    `widening` is the command for a wider space, if one is needed; `record` where `best.yaml` is.
    """
    return [
        _winner(study, findings, code, record),
        _schedulers(findings),
        *_optimizers(findings),
        _basins(findings),
        *_range_test(findings),
        Section(
            "batch-size", "Learning rate against batch size", say(findings.scaling),
            ((figures.MAP, captions.rate_map(findings)),),
        ),
        _space(findings, widening),
        Section(
            "breaks", "Where training breaks", say(findings.frontier),
            ((figures.FRONTIER, "Trials that survived, and that diverged or learned nothing."),),
        ),
        Section(
            "mattered", "What mattered", say(findings.importance),
            ((figures.IMPORTANCE, "Importance for reaching the best values (PED-ANOVA)."),
             (figures.PARALLEL, captions.parallel(study))),
        ),
        _spent(findings),
        _repeat(study),
    ]  # fmt: skip


def _winner(study: StudyData, findings: Findings, code: BestCode | None, record: str) -> Section:
    lines, codes = findings.of_recipe(), []
    if code is not None:
        codes.append(Code("Train it again", command("train", record)))
        script = script_words(study.record.get("data") is None)
        if code.script is None:
            lines.append(f"The recipe {script} cannot be made here: {code.problem}")
        else:
            codes.append(Code(f"The recipe {script}", code.script, folded=True))
    return Section(
        "recipe",
        "The recipe to use, and how sure",
        lines,
        (
            (figures.CONFIRMED, captions.confirmed(study)),
            (figures.CURVES, captions.curves(study)),
            (figures.RATES, captions.rates(study)),
        ),
        _best_table(study, findings.verdict.noise),
        tuple(codes),
    )


def _best_table(study: StudyData, noise: float | None) -> Table | None:
    """The best trials; where they were confirmed, with what fresh seeds say.

    Values have the digits that the `noise` between trainings of one recipe allows.
    """
    confirmation = study.confirmation
    candidates = (
        {}
        if confirmation is None
        else {candidate.trial: candidate for candidate in confirmation.candidates}
    )
    headers = ["place", "trial", study.metric.name, "recipe", "seed"]
    if candidates:
        over = next(iter(candidates.values())).over
        fresh = f" (95 % interval {over_words(over)})" if over.is_known else ""
        headers[2:3] = ["in the search", f"on fresh seeds{fresh}", "probability of being best"]
    rows = []
    for place, trial in enumerate(study.ranked[:_TOP], 1):
        recipe = trial.recipe.describe(study.searched) if trial.recipe else ""
        row = [str(place), str(trial.number), to_error(trial.value, noise), recipe]
        if candidates:
            candidate = candidates.get(trial.number)
            known = candidate.estimate if candidate else None
            row[3:3] = [
                short_value(candidate) if candidate else "-",
                probability(known.probability) if known else "-",
            ]
        rows.append((*row, str(trial.seed)))
    return Table(tuple(headers), tuple(rows)) if rows else None


def _schedulers(findings: Findings) -> Section:
    found = findings.schedulers
    return Section(
        "schedulers",
        "Which scheduler is best, at equal tuning",
        say(found),
        ((figures.FAMILIES, captions.options(found)),),
        _options_table(found),
    )


def _optimizers(findings: Findings) -> list[Section]:
    """None where there is one optimizer alone."""
    found = findings.optimizers
    if found is None:
        return []
    return [
        Section(
            "optimizers",
            "Which optimizer is best, at equal tuning",
            say(found),
            (
                (figures.OPTIMIZERS, captions.options(found)),
                (figures.HEAT_MAP, captions.heat_map(found)),
            ),
            _options_table(found),
        )
    ]


def _options_table(found: EqualTuning) -> Table | None:
    """The options of comparisons; of more than one, those that compare something."""
    shown = found.comparisons if len(found.comparisons) == 1 else found.compared
    within = len(found.comparisons) > 1
    rows = [
        (*((comparison.within or "",) if within else ()), *_option_row(option))
        for comparison in shown
        for option in comparison.options
    ]
    if not rows:
        return None
    headers = (
        *(("optimizer",) if within else ()),
        *(found.noun, "trials", "complete", "epochs", "best", "median (middle half)"),
        *("expected best (95 % interval over trials)", "probability of being best"),
    )
    if not found.compared:
        headers, rows = headers[:-2], [row[:-2] for row in rows]
    return Table(headers, tuple(rows))


def _option_row(option: Option) -> tuple[str, ...]:
    quartiles, expected = option.quartiles, option.expected
    middle, best = "-", "-"
    if quartiles is not None:
        low, median, high = (number(value, 3) for value in quartiles)
        middle = f"{median} ({low} to {high})" if len(option.values) > 1 else median
        best = number(option.values[0])
    interval = "too few trials"
    if expected is not None:
        mean, low, high = (
            to_error(value, expected.error)
            for value in (expected.value, expected.low, expected.high)
        )
        interval = f"{mean} ({low} to {high})"
    return (
        option.name,
        str(option.tries),
        str(len(option.values)),
        number(option.epochs),
        best,
        middle,
        interval,
        "-" if option.probability is None else probability(option.probability),
    )


def _basins(findings: Findings) -> Section:
    return Section(
        "sensitivity",
        "How sensitive it is to the learning rate",
        say(findings.basins),
        ((figures.LOSS_VS_LR, captions.basins(findings)),),
    )


def _range_test(findings: Findings) -> list[Section]:
    """None where the study did not begin with one."""
    test = findings.range_test
    if test is None:
        return []
    return [
        Section(
            "range-test",
            "Where the range of learning rates comes from",
            say(test),
            ((figures.RANGE_TEST, captions.ramps(test)),),
            Table(rate_ranges.HEADERS, tuple(rate_ranges.rows(test))),
        )
    ]


def _space(findings: Findings, widening: str | None) -> Section:
    lines = say(findings.edges)
    codes: tuple[Code, ...] = ()
    if widening is not None:
        codes = (Code("Search the wider space, beginning with the best recipe", widening),)
    elif findings.edges.overrides:
        lines.append(
            "The whole command cannot be written here (is the sweep of another folder, or a call "
            "from Python?): run the study again with these keys and another study.name."
        )
    return Section(
        "space",
        "Is the search space right?",
        lines,
        ((figures.SPACE, captions.ranges(findings)),),
        codes=codes,
    )


def _spent(findings: Findings) -> Section:
    workers = findings.spent.workers
    rows = tuple(
        (worker.name, worker.device or "-", str(worker.trials), duration(worker.seconds))
        for worker in workers[:_MOST_WORKERS]
    )
    if rest := workers[_MOST_WORKERS:]:
        trials, seconds = (
            sum(worker.trials for worker in rest),
            sum(worker.seconds for worker in rest),
        )
        rows = (
            *rows,
            (plural(len(rest), "further worker process"), "", str(trials), duration(seconds)),
        )
    return Section(
        "spent",
        "What was spent",
        say(findings.spent),
        ((figures.SPENT, captions.spent(findings)),),
        Table(("worker process", "device", "trials", "time"), rows) if rows else None,
    )


def _repeat(study: StudyData) -> Section:
    data, config = study.record.get("data"), study.config
    lines = [
        f"Seed of the study: {config['study']['seed']}. The seed of each trial derives from it; "
        f"those of the best are in the first table.",
        f"Git revision when it began: {study.record.get('git') or 'none, it was not in git'}.",
        f"It was created {study.record.get('created', 'at an unknown time')} and run or extended "
        f"{plural(len(study.record.get('runs', [])), 'time')}.",
    ]
    if data:
        train, validation = (
            "a stream of samples" if n is None else f"{n:,} samples"
            for n in (data["n_train"], data["n_validation"])
        )
        lines.append(
            f"Data: {data['name']}, {train} to train and "
            f"{validation.removesuffix(' samples')} to validate on, sha256 {data['fingerprint']}."
        )
    else:
        lines.append("The data are those of your own objective: their fingerprint is not known.")
    versions = study.record.get("versions", {})
    return Section(
        "repeat",
        "Everything needed to repeat it",
        lines,
        table=Table(("package", "version"), tuple((k, str(v)) for k, v in versions.items())),
        codes=(
            Code(
                "The resolved configuration",
                to_yaml(dict(config)),
                folded=True,
            ),
        ),
    )

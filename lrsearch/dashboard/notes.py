"""The notes of a study and its trials, in Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lrsearch.analysis.confirmed import headline, optimistic, progress_words
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.export import script_words
from lrsearch.states import Outcome, StudyState, WorkState, in_words
from lrsearch.storage.optuna_bridge import picture_id
from lrsearch.text.formatting import duration, number, plural, sentence
from lrsearch.text.shell import command, name_word

_IMPORTANCE = (
    "The panel *Hyperparameter Importance* has these shares of what mattered, too. Optuna's own, "
    "which other programs show, may differ: they take the rate of each optimizer for a parameter "
    "by itself, leave out what only some trials have, and judge what was hardly varied."
)
_BETTER = {"min": "lower is better", "max": "higher is better"}


def study_note(study: StudyData, verdict: str, findings: Sequence[str]) -> str:
    """Return a study's note: verdict, progress, best recipe, how to run it, and the findings."""
    parts = [f"# {_plain(study.name)}", _progress(study)]
    if description := study.config.get("description"):
        parts.insert(1, _plain(str(description)))
    if study.stopped and study.state != StudyState.OPEN:
        parts.append(f"It was {_plain(study.state)}:\n\n{_fenced(study.stopped)}")
    parts.insert(1, f"**{_plain(verdict)}**")
    parts += ["## The best recipe", _best(study)]
    if findings:
        parts += ["## Findings", "\n".join(f"- {_plain(line)}" for line in findings), _IMPORTANCE]
    return "\n\n".join(parts)


def trial_note(trial: TrialData, study: StudyData) -> str:
    """Return a trial's note: outcome, reason and recipe. It depends on the trial alone."""
    outcome = in_words(trial.outcome or trial.state)
    value = "" if trial.value is None else f", {_plain(study.metric.name)} {number(trial.value)}"
    words = [f"**{outcome}**{value}"]
    if trial.state == WorkState.DONE and trial.seconds is not None:
        words.append(f"after {duration(trial.seconds)}")
    if trial.curve:
        words.append(plural(trial.curve[-1].epoch, "epoch"))
    if trial.device:
        words.append(f"on {_plain(trial.device)}")
    parts = [", ".join(words), _picture(trial, study)]
    if trial.warning:
        parts.append(f"**Warning:** {_plain(trial.warning)}")
    if trial.reason:
        parts.append(f"Why:\n\n{_fenced(trial.reason)}")
    if trial.recipe is not None:
        parts.append(
            f"The recipe (seed {trial.seed}):\n\n{_fenced(trial.recipe.to_yaml(), 'yaml')}"
        )
    return "\n\n".join(parts)


def _progress(study: StudyData) -> str:
    outcomes = Counter(trial.outcome for trial in study.trials if trial.state == WorkState.DONE)
    counts = ", ".join(f"{outcomes[key]} {in_words(key)}" for key in Outcome if outcomes[key])
    has = "has" if study.total == 1 else "have"
    ended = f"{study.done} of {plural(study.total, 'trial')} {has} ended"
    return f"{ended}{f' ({counts})' if counts else ''} in {duration(study.seconds)} of wall clock."


def _best(study: StudyData) -> str:
    if not study.ranked:
        return "No trial has completed yet. Diverged and failed ones are never the best."
    best, metric, name = study.ranked[0], study.metric, name_word(study.name)
    assert best.recipe is not None, "a complete trial has trained a recipe"
    value = (
        f"Trial {best.number}: {_plain(metric.name)} {number(best.value)} "
        f"({metric.at} evaluation; {_BETTER[metric.mode]})."
    )
    confirmation = study.confirmation
    if confirmation is not None and confirmation.winner is not None:
        value = (
            f"Trial {best.number}, confirmed: {_plain(headline(confirmation))} "
            f"({_BETTER[metric.mode]}). "
            f"{_plain(sentence(optimistic(confirmation)))}."
        )
    elif confirmation is not None and confirmation.work_left:
        value += f" Not confirmed yet ({_plain(progress_words(confirmation))})."
    script = script_words(study.record.get("data") is None)
    return "\n\n".join(
        [
            value,
            _fenced(best.recipe.to_yaml(), "yaml"),
            _picture(best, study),
            f"It trains again, to the last bit, or {script} (where `LRSEARCH_STORAGE` or "
            "`storage.url=...` says which database this is):",
            _fenced(
                f"{command('train', name, '--trial', str(best.number))}\n"
                f"{command('best', name, '--format', 'python')} > best.py",
                "bash",
            ),
        ]
    )


def _picture(trial: TrialData, study: StudyData) -> str:
    """Return the Markdown of a trial's picture, by its address in the dashboard."""
    address = f"/artifacts/{study.study_id}/{trial.trial_id}/{picture_id(trial.trial_id)}"
    return f"![Losses and learning rate of trial {trial.number}]({address})"


def _plain(text: str) -> str:
    """Escape Markdown and HTML in a text."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(text.split()))


def _fenced(text: str, language: str = "text") -> str:
    """Return a code block whose fence is longer than any in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"

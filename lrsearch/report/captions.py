"""Captions of the figures."""

from __future__ import annotations

from lrsearch.analysis.confirmed import over_words
from lrsearch.analysis.families import EqualTuning
from lrsearch.analysis.findings import Findings
from lrsearch.analysis.lr_curve import lr_curve
from lrsearch.analysis.study_data import StudyData, shown_curves
from lrsearch.plots.interactive.curves import rated
from lrsearch.plots.interactive.parallel import how_many_bold
from lrsearch.plots.static.curves import RECIPES_NOTE
from lrsearch.range_test.result import RangeTest
from lrsearch.text.formatting import plural, the_best


def confirmed(study: StudyData) -> str:
    """Caption of the runs by seed."""
    confirmation = study.confirmation
    if confirmation is None:
        return "Values in the search and again on fresh seeds."
    over = confirmation.over
    interval = f", with 95 % intervals {over_words(over)}" if over.is_known else ""
    return (
        f"Values of {the_best(len(confirmation.search_values))} in the search and again on fresh "
        f"seeds, the same for all; at the right the confirmed means{interval}."
    )


def curves(study: StudyData) -> str:
    """Caption of the validation curves."""
    total, shown = len(study.trials), len(shown_curves(study))
    if shown == total:
        return "Validation of every trial, by scheduler."
    return (
        f"Validation of {shown} of {plural(total, 'trial')}, by scheduler: the best "
        f"{min(shown // 2, len(study.ranked))}, and others spread evenly over the search."
    )


def rates(study: StudyData) -> str:
    """Caption of the learning rates."""
    best = rated(study)
    who = "the best trial" if len(best) == 1 else f"the {len(best)} best trials (thick: the best)"
    text = f"Losses and learning rates of {who}; points: the evaluations."
    curves = {trial.number: lr_curve(study, trial) for trial in best}
    doubts = {number: curve.doubt for number, curve in curves.items() if curve.doubt is not None}
    if any(curve.has_steps for number, curve in curves.items() if number not in doubts):
        text += " The line is the rate of every step."
    elif len(doubts) < len(best):
        text += f" The line: {RECIPES_NOTE}."
    for doubt in dict.fromkeys(doubts.values()):
        numbers = [str(number) for number, other in doubts.items() if other == doubt]
        of = f"of {'trial' if len(numbers) == 1 else 'trials'} {', '.join(numbers)} "
        text += f" Rates {of if len(doubts) < len(best) else ''}are points alone: {doubt}."
    return text


def options(found: EqualTuning) -> str:
    """Caption of the values by scheduler or optimizer."""
    text = f"Values of the complete trials of each {found.noun}"
    if not found.compared:
        return f"{text}."
    return (
        f"{text}; the upright bar is its expected best at equal tuning, the line its 95 % interval "
        "over trials."
    )


def heat_map(found: EqualTuning) -> str:
    """Caption of the heat map of optimizers and schedulers."""
    count = found.tries_of_cells
    fewer = any(cell.tries < count for cell in found.cells)
    return (
        f"Expected best {found.metric.name} of {plural(count, 'trial')} of each optimizer with "
        f"each scheduler{', of a single one where there are no more' if fewer else ''}; gold is "
        f"best, grey worst."
    )


def basins(findings: Findings) -> str:
    """Caption of the values by learning rate."""
    text = "Complete trials by learning rate"
    if findings.basins.forecast:
        text += "; open markers: pruned ones, at the values forecast of them"
    responses = findings.basins.responses
    if not responses:
        return f"{text}."
    text += ". Line: the fitted curve with its 95 % band over trials; diamond: its optimum"
    if any(response.aligned for response in responses):
        text += ", at the batch size tried most often"
    if any(response.several_sizes and not response.aligned for response in responses):
        text += ". Trials of all batch sizes are fitted together"
    return f"{text}."


def rate_map(findings: Findings) -> str:
    """Caption of the trials by batch size and learning rate."""
    text = (
        "Complete trials by batch size (a little spread out) and learning rate; gold is best, "
        "grey worst"
    )
    if not findings.scaling.fits:
        return f"{text}."
    return f"{text}; lines: the fitted best rates with their 95 % bands over trials."


def ramps(test: RangeTest) -> str:
    """Caption of the range test."""
    text = (
        "Short trainings whose learning rate rises by a factor each step, the mean of the seeds. "
        "Diamonds: the loss falls fastest; crosses: the largest rate that trains"
    )
    return f"{text}; bars: the ranges." if test.coupling.rule == "none" else f"{text}."


def ranges(findings: Findings) -> str:
    """Caption of the positions in the ranges."""
    most = max((len(places) for _, places in findings.edges.places), default=0)
    who = "best trial lies in its" if most == 1 else f"{most} best trials lie in their"
    return f"Where the {who} ranges; shaded: within 10 % of an end."


def parallel(study: StudyData) -> str:
    """Caption of the parallel coordinates."""
    count = how_many_bold(len(study.ranked))
    who = "the best is golden" if count == 1 else f"the best {count} are bold, the best one golden"
    return (
        "A line for each complete trial, through its place in the range of each parameter (on a "
        "log scale where it is searched on one); it passes by a parameter that the trial does not "
        f"have. The last row is the place among all; {who}."
    )


def spent(findings: Findings) -> str:
    """Caption of the epochs by outcome."""
    text = "Epochs trained, by how the trials ended"
    return (
        f"{text}, and those that pruning saved." if findings.spent.pruned_epochs > 0 else f"{text}."
    )

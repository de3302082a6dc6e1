"""Sentences on how the best learning rate grows with the batch size."""

from __future__ import annotations

from lrsearch.analysis.scaling import LEAST_BATCH_SIZES, LEAST_TRIALS, Fit, Scaling, Unknown
from lrsearch.analysis.sentence import ForEach, Sentence, Table, always
from lrsearch.text.formatting import listed, number, plural, to_error

_RULES = {
    "no change at all (0)": 0.0,
    "the square-root rule (0.5)": 0.5,
    "the linear rule (1)": 1.0,
}
_MOST_SIZES = 8


def _agreeing(fit: Fit) -> list[str]:
    return [name for name, power in _RULES.items() if fit.low <= power <= fit.high]


def _sizes(sizes: tuple[int, ...]) -> str:
    if len(sizes) > _MOST_SIZES:
        return f"{len(sizes)} batch sizes from {sizes[0]} to {sizes[-1]}"
    return f"batch sizes {listed([str(size) for size in sizes])}"


def _exponent(fit: Fit) -> str:
    error = (fit.high - fit.low) / 4
    value, low, high = (to_error(power, error) for power in (fit.exponent, fit.low, fit.high))
    double, least, most = (2.0**power for power in (fit.exponent, fit.low, fit.high))
    return (
        f"{fit.optimizer}: the best learning rate grows as the batch size to the power {value} "
        f"(95 % interval over trials {low} to {high}; {plural(fit.trials, 'trial')} at "
        f"{_sizes(fit.sizes)}). Doubling the batch size wants {number(double, 3)} times the "
        f"learning rate ({number(least, 3)} to {number(most, 3)})."
    )


def _optimum(fit: Fit) -> str:
    error = (fit.optimum_high - fit.optimum_low) / 4
    best, low, high = (
        to_error(rate, error) for rate in (fit.optimum, fit.optimum_low, fit.optimum_high)
    )
    return (
        f"At batch size {fit.batch_size} its best learning rate is {best} (95 % interval over "
        f"trials {low} to {high})."
    )


def _few(unknown: Unknown) -> str:
    return (
        f"{unknown.optimizer}: too few trials to fit an exponent "
        f"({plural(unknown.trials, 'trial')} at {plural(unknown.sizes, 'batch size')}); it takes "
        f"{LEAST_TRIALS} that ran to their end or were pruned, at {LEAST_BATCH_SIZES} batch sizes."
    )


FIT: Table[Fit] = (
    Sentence("scaling.exponent", always, _exponent),
    Sentence(
        "scaling.agrees",
        lambda fit: bool(_agreeing(fit)),
        lambda fit: f"It agrees with {' and with '.join(_agreeing(fit))}.",
    ),
    Sentence(
        "scaling.no_rule",
        lambda fit: not _agreeing(fit),
        lambda _: "None of the usual rules (0, 0.5, 1) lies inside the interval.",
    ),
    Sentence("scaling.optimum", always, _optimum),
)

UNKNOWN: Table[Unknown] = (
    Sentence("scaling.few", lambda unknown: unknown.why == "few", _few),
    Sentence(
        "scaling.flat",
        lambda unknown: unknown.why == "flat",
        lambda unknown: (
            f"{unknown.optimizer}: all {plural(unknown.trials, 'trial')} have the same value, so "
            f"no learning rate is the best."
        ),
    ),
    Sentence(
        "scaling.edge",
        lambda unknown: unknown.why == "edge",
        lambda unknown: (
            f"{unknown.optimizer}: these trials cannot tell the exponent, since the best learning "
            f"rate does not clearly lie inside the rates that were tried, overall or at the "
            f"smallest or the largest batch size."
        ),
    ),
    Sentence(
        "scaling.wide",
        lambda unknown: unknown.why == "wide",
        lambda unknown: (
            f"{unknown.optimizer}: these {plural(unknown.trials, 'trial')} cannot tell the "
            f"exponent: its 95 % interval over trials is too wide to choose a rule by."
        ),
    ),
)

SCALING: Table[Scaling] = (
    Sentence(
        "scaling.one_size",
        lambda scaling: len(scaling.batch_sizes) == 1,
        lambda scaling: (
            f"Every trial had the batch size {scaling.batch_sizes[0]}: how the learning rate "
            f"depends on it is not known."
        ),
    ),
    ForEach(lambda scaling: scaling.fits, FIT),
    ForEach(lambda scaling: scaling.unknown if len(scaling.batch_sizes) > 1 else (), UNKNOWN),
    Sentence(
        "scaling.coupled",
        lambda scaling: bool(scaling.fits) and scaling.rule != "none",
        lambda scaling: (
            f"The rates that were tried follow the batch size, too (coupling.rule={scaling.rule}); "
            f"the exponent is that of the rates themselves, whatever the rule."
        ),
    ),
    Sentence(
        "scaling.model_based",
        lambda scaling: bool(scaling.fits) and scaling.sampler is not None,
        lambda scaling: (
            f"The {scaling.sampler} sampler chose the trials by earlier ones, so the intervals are "
            f"approximate."
        ),
    ),
    Sentence(
        "scaling.nothing",
        lambda scaling: len(scaling.batch_sizes) != 1 and not scaling.fits + scaling.unknown,
        lambda _: "No trial has run to its end, so there is nothing to fit.",
    ),
)

"""Summary of a search space: a line for each parameter, with its values in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.space.domains import Auto, Choices, Domain, Fixed, FloatRange, IntRange, PowersOfTwo
from lrsearch.space.space import Options, Space


def summary(space: Space) -> list[tuple[str, str]]:
    """Return the names of the searched parameters and branches, each with its values in words.

    The last entry has all that is fixed, if anything is.
    """
    searched = [
        (name, words(domain))
        for name, domain in space.shared.items()
        if not isinstance(domain, Fixed)
    ]
    searched += [("optimizer", _options(space.optimizer)), ("scheduler", _options(space.scheduler))]
    fixed = [
        f"{name}={_value(domain.value)}"
        for name, domain in space.shared.items()
        if isinstance(domain, Fixed)
    ]
    return [*searched, *([("fixed", ", ".join(fixed))] if fixed else [])]


def words(domain: Domain) -> str:
    """Return the values of a domain: `0.001 to 1 (log)`, `16, 32 or 64`, `0.9`."""
    if isinstance(domain, Auto):
        return "auto"
    if isinstance(domain, Fixed):
        return _value(domain.value)
    if isinstance(domain, Choices):
        *most, last = map(_value, domain.values)
        return f"{', '.join(most)} or {last}" if most else last
    low, high = domain.ends()
    how = ""
    if isinstance(domain, PowersOfTwo):
        how = " (powers of two)"
    elif isinstance(domain, (FloatRange, IntRange)) and domain.log:
        how = " (log)"
    points = getattr(domain, "points", None)
    return f"{_value(low)} to {_value(high)}{how}{f', {points} points' if points else ''}"


def _options(options: Options) -> str:
    """Return the options of a branch, each with the parameters of its own that are searched."""
    return ", ".join(f"{name}{_own(domains)}" for name, domains in options.items())


def _own(domains: Mapping[str, Domain]) -> str:
    searched = [
        f"{name} {words(domain)}"
        for name, domain in domains.items()
        if not isinstance(domain, Fixed)
    ]
    return f" ({'; '.join(searched)})" if searched else ""


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

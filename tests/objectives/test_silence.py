"""How long a script may be silent."""

from __future__ import annotations

import pytest

from lrsearch.objectives.silence import FIRST, GAPS, SHORTEST, Silence, silence_limit


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("gap", "limit"), [(None, FIRST), (1.0, SHORTEST), (1000.0, 1000.0 * GAPS)]
)
def test_the_limit_follows_from_the_time_between_reports(gap: float | None, limit: float) -> None:
    assert silence_limit(gap) == limit


def silent_for(silence: Silence, clock: Clock, seconds: int) -> float | None:
    """Looks every second."""
    exceeded = None
    for _ in range(seconds):
        clock.now += 1.0
        exceeded = exceeded or silence.exceeded()
    return exceeded


def test_a_sign_of_life_begins_anew() -> None:
    clock = Clock()
    silence = Silence(10.0, clock)
    assert silent_for(silence, clock, 9) is None
    silence.broken()
    assert silent_for(silence, clock, 10) is None
    assert silent_for(silence, clock, 1) == 11.0


def test_time_in_which_the_process_was_stopped_does_not_count() -> None:
    clock = Clock()
    silence = Silence(10.0, clock)
    clock.now += 1000.0
    assert silence.exceeded() is None

"""How often saving is worth its time."""

from __future__ import annotations

import pytest

from lrsearch.checkpoints.pace import FIRST_AFTER, SHARE, Pace


class Clock:
    """Goes on by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def saves(epoch: float, cost: float, epochs: int, first_after: float = 0.0) -> list[int]:
    """The epochs after which a training saves."""
    clock, found = Clock(), []
    pace = Pace(clock, first_after)
    for number in range(1, epochs + 1):
        clock.now += epoch
        if pace.due():
            with pace.saving():
                clock.now += cost
            found.append(number)
    return found


def test_the_first_is_due_whatever_it_costs() -> None:
    assert saves(epoch=0.01, cost=10.0, epochs=50) == [1]


def test_a_training_of_seconds_is_not_worth_a_save() -> None:
    assert saves(epoch=1.0, cost=0.01, epochs=4, first_after=FIRST_AFTER) == []
    assert saves(epoch=1.0, cost=0.01, epochs=6, first_after=FIRST_AFTER) == [5, 6]


def test_cheap_ones_are_always_due() -> None:
    assert saves(epoch=1.0, cost=0.01, epochs=20) == list(range(1, 21))


@pytest.mark.parametrize(("epoch", "cost"), [(0.01, 0.005), (0.3, 0.1), (60.0, 1.3)])
def test_the_cost_stays_near_its_share(epoch: float, cost: float) -> None:
    epochs = 5000
    spent = cost * len(saves(epoch, cost, epochs))
    assert spent <= SHARE * epoch * epochs + cost
    assert spent >= SHARE * epoch * epochs - 2 * cost


def test_saves_that_are_done_anyway_count() -> None:
    clock = Clock()
    pace = Pace(clock, first_after=0.0)
    clock.now = 10.0
    with pace.saving():
        clock.now += 1.0
    assert not pace.due()
    clock.now += 40.0
    assert pace.due()


def test_a_save_that_fails_counts() -> None:
    clock = Clock()
    pace = Pace(clock, first_after=0.0)

    def fail() -> None:
        with pace.saving():
            clock.now += 1.0
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - any will do
        fail()
    assert not pace.due()

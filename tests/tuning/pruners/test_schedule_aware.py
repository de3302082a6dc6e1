"""The pruner that knows the schedules: what it lets live, and what it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from known_trials import KnownPeers, running

from lrsearch.registry import ComponentConfig
from lrsearch.tuning.forecast import Peer, Standing, earlier_evaluation
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.pruners.rules import Mode
from lrsearch.tuning.trajectory import LrTrajectory, Rates

EVALUATIONS = 10
LATE = Rates(now=0.1, left=0.04, peak=0.1, batch_size=64, optimizer="sgd")
"""Of a schedule that has most of its decay still to come."""
EARLY = Rates(now=0.02, left=0.004, peak=0.1, batch_size=64, optimizer="sgd")


def share_left(share: float) -> Rates:
    return Rates(now=0.02, left=0.1 * share, peak=0.1, batch_size=64, optimizer="sgd")


class Others(KnownPeers):
    """Standings at any moment."""

    def __init__(self, peers: Sequence[Peer], ended_earlier: int = 0) -> None:
        super().__init__([])
        self.peers, self.ended_earlier = peers, ended_earlier

    def begun(self) -> int:
        return len(self.peers) + self.ended_earlier

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        return self.peers

    def reached(self) -> Mapping[int, tuple[int, int]]:
        return {}


def peers(sign: float = 1.0) -> list[Peer]:
    """Half of them decay late: they stand worse now, and end better."""
    found = []
    for k in range(12):
        good = 0.02 * (k // 2)
        late = k % 2 == 0
        value, final = (1.0 + good, 0.3 + good) if late else (0.7 + good, 0.5 + good)
        found.append(Peer(k, Standing(value, value + 0.05, LATE if late else EARLY), final))
    return found


def pruned(
    value: float,
    rates: Rates | None,
    evaluation: int = 5,
    mode: Mode = "min",
    others: Sequence[Peer] | None = None,
    warmup: float = 0.0,
    ended_earlier: int = 0,
    jumps: float = 0.0,
    **arguments: Any,
) -> bool:
    sign = 1.0 if mode == "min" else -1.0
    moments = np.arange(evaluation)
    since_earlier = max(1, evaluation - earlier_evaluation(evaluation))
    curve = value + 0.05 * moments[::-1] / since_earlier + jumps * (moments % 2)
    values = (sign * curve).tolist()
    known = rates is not None
    trajectory = LrTrajectory(
        EVALUATIONS,
        "sgd",
        0.1,
        64,
        warmup,
        [rates.now] * EVALUATIONS if rates else (),
        [rates.left] * EVALUATIONS if known and rates else (),
    )
    pruner = build_pruner(ComponentConfig("schedule_aware", arguments), EVALUATIONS, mode)
    return pruner.should_prune(
        running(values, 0, trajectory), Others(peers() if others is None else others, ended_earlier)
    )


def test_a_schedule_that_falls_late_is_judged_by_what_it_will_be() -> None:
    assert not pruned(1.02, LATE)  # worse than every early one now
    assert pruned(1.02, EARLY)


def test_one_that_leads_its_stratum_is_never_pruned() -> None:
    assert not pruned(0.69, EARLY, chance=1.0)


def test_one_that_may_yet_be_the_best_is_not_pruned_though_it_is_behind() -> None:
    assert not pruned(1.0, LATE, keep=0.0)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_direction(mode: Mode) -> None:
    assert pruned(3.0, LATE, mode=mode)


def test_nothing_is_pruned_in_the_first_fifth_or_in_the_warmup() -> None:
    assert not pruned(9.0, LATE, evaluation=1)
    assert pruned(9.0, LATE, evaluation=2)
    assert not pruned(9.0, LATE, evaluation=3, warmup=0.4)
    assert pruned(9.0, LATE, evaluation=4, warmup=0.4)


def test_nothing_is_pruned_at_the_very_end() -> None:
    assert pruned(9.0, LATE, evaluation=8)
    assert not pruned(9.0, LATE, evaluation=9)


def test_nothing_is_pruned_before_a_trial_is_complete() -> None:
    running = [Peer(one.number, one.standing, None) for one in peers()]
    assert not pruned(9.0, LATE, others=running)


def test_the_best_share_of_all_is_kept_not_only_of_those_that_are_left() -> None:
    assert pruned(0.75, EARLY, keep=1.0, chance=1.0)  # three of six are better
    assert not pruned(0.75, EARLY, keep=1.0, chance=1.0, ended_earlier=12)


def test_the_best_that_one_may_become_are_a_share_of_all_that_have_begun() -> None:
    assert pruned(0.79, EARLY, keep=0.0, good=0.05)
    assert not pruned(
        0.79, EARLY, keep=0.0, good=0.05, ended_earlier=228
    )  # the twelfth best will do


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_loss_that_jumps_about_is_given_time_to_settle(mode: Mode) -> None:
    assert pruned(0.8, EARLY, mode=mode)
    assert not pruned(0.8, EARLY, mode=mode, jumps=0.3)


def test_less_is_kept_once_ranks_are_known() -> None:
    assert not pruned(0.735, EARLY, evaluation=2, keep=0.4, chance=1.0)  # two of six are better
    assert pruned(0.735, EARLY, evaluation=5, keep=0.4, chance=1.0)
    for later in (4, 8):
        assert not pruned(0.715, EARLY, evaluation=later, keep=0.6, chance=1.0)  # one of six
        assert pruned(0.735, EARLY, evaluation=later, keep=0.6, chance=1.0)


def test_those_that_are_much_alike_count_as_one_together() -> None:
    values = [*np.linspace(0.7, 0.71, 20), *np.linspace(1.7, 1.8, 12)]

    def at_a_fifth(
        optimizers: Sequence[str], peaks: Sequence[float], batch_sizes: Sequence[int] = (64,) * 32
    ) -> bool:
        rates = [
            Rates(0.2 * peak, 0.04 * peak, peak, batch_size, optimizer)
            for peak, batch_size, optimizer in zip(peaks, batch_sizes, optimizers, strict=True)
        ]
        others = [
            Peer(k, Standing(value, value + 0.05, one), 0.5)
            for k, (value, one) in enumerate(zip(values, rates, strict=True))
        ]
        return pruned(1.6, EARLY, others=others, evaluation=2, keep=0.6, chance=1.0)

    assert not at_a_fifth(["sgd"] * 32, [0.1] * 32)  # one of two is better
    assert at_a_fifth(["sgd"] * 32, np.geomspace(1e-20, 1e20, 32).tolist())  # 20 of 32
    assert at_a_fifth([f"own {k}" for k in range(32)], [0.1] * 32)
    sizes = [16**k for k in range(32)]
    assert at_a_fifth(["sgd"] * 32, [0.1] * 32, sizes)
    assert not at_a_fifth(["sgd"] * 32, [0.1 * size for size in sizes], sizes)  # alike per sample


def test_a_stratum_has_a_tenth_of_the_rate_to_come_more_or_less() -> None:
    early = peers()[1::2]
    assert pruned(0.9, share_left(0.04 + 0.08), others=early, chance=0.05)
    assert not pruned(0.9, share_left(0.04 + 0.12), others=early, chance=0.05)
    assert pruned(0.9, share_left(0.04 + 0.12), others=early, chance=0.2)


def test_five_are_enough_of_a_stratum_and_four_are_few() -> None:
    assert pruned(0.9, EARLY, others=peers()[1:10:2], chance=1e-4)
    assert not pruned(0.9, EARLY, others=peers()[1:8:2], chance=4e-3)
    assert pruned(0.9, EARLY, others=peers()[1:8:2], chance=1e-2)


def test_two_are_too_few_to_lead() -> None:
    two = [
        Peer(0, Standing(0.7, 0.75, EARLY), 0.1),
        Peer(1, Standing(0.8, 0.85, EARLY), 0.9),
    ]
    assert pruned(0.75, EARLY, others=two, evaluation=2, keep=1.0, chance=1.0)
    assert not pruned(0.75, EARLY, others=[*two, two[1]], evaluation=2, keep=1.0, chance=1.0)


def test_with_few_of_a_stratum_the_nearest_are_compared_and_the_forecast_must_be_surer() -> None:
    few = [*peers()[0:7:2], *peers()[1:8:2]]
    assert pruned(1.2, EARLY, others=few)
    between = share_left(0.19)
    assert not pruned(0.69, between, others=few, chance=1.0)  # leads those that are nearest
    assert pruned(0.79, between, others=few, chance=1.0)


def test_with_nothing_to_be_compared_with_the_forecast_alone_decides() -> None:
    two = peers()[1:4:2]
    assert not pruned(1.2, EARLY, others=two)
    assert pruned(9.0, EARLY, others=two, chance=1.0)
    assert not pruned(0.69, EARLY, others=two, chance=1.0)


def test_a_plateau_is_compared_with_plateaus() -> None:
    known = [Peer(p.number, Standing(p.standing.value, p.standing.earlier, None), p.final)
             for p in peers()[::2]]  # fmt: skip
    assert pruned(3.0, None, others=known)
    assert not pruned(1.0, None, others=known, chance=1.0)


def test_a_share_of_units_is_spared_the_same_everywhere() -> None:
    pruner = build_pruner(ComponentConfig("schedule_aware", {"spare": 0.05}), EVALUATIONS, "min")
    spared = [unit for unit in range(10_000) if pruner.spares(unit)]
    assert 400 < len(spared) < 600
    assert spared == [unit for unit in range(10_000) if pruner.spares(unit)]
    assert not any(
        build_pruner(ComponentConfig("median"), 9, "min").spares(unit) for unit in range(100)
    )

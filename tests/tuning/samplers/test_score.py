"""What a setting promises, the further the best is to be beaten."""

from __future__ import annotations

import numpy as np

from lrsearch.space.domains import Fixed, FloatRange
from lrsearch.space.space import Space
from lrsearch.tuning.samplers.joint import JointSpace, Points
from lrsearch.tuning.samplers.observations import Observations, Observed
from lrsearch.tuning.samplers.score import Score

SPACE = Space(
    shared={"lr": FloatRange(1e-4, 1.0, log=True), "batch_size": Fixed(32)},
    optimizer={"adamw": {}},
    scheduler={"constant": {}},
)
JOINT = JointSpace(SPACE)


def at(unit: float) -> Points:
    return Points(np.array([0], dtype=np.intp), np.array([[unit]]))


def seen() -> Observations:
    """A bowl around 0.3 that has been looked at closely; nothing is known from 0.5 on."""
    units = [0.1, 0.2, 0.28, 0.3, 0.32, 0.4, 0.5]
    known = [
        Observed(JOINT.values(0, np.array([unit])), 20 * (unit - 0.305) ** 2 - 1) for unit in units
    ]
    return Observations(known, min(one.value for one in known), [], [])


def lead_of_the_unknown(gain: float) -> float:
    """How much more what is unknown promises than what is nearly the best that is known."""
    score = Score(JOINT, seen(), gain)
    return float(score(at(0.95))[0] - score(at(0.307))[0])


def test_the_more_is_to_be_gained_the_more_the_unknown_promises() -> None:
    leads = [lead_of_the_unknown(gain) for gain in (0.0, 0.03, 0.1, 0.3)]
    assert leads == sorted(leads)
    assert leads[0] < leads[-1]


def test_the_best_that_are_known_come_first() -> None:
    good = Score(JOINT, seen(), 0.0).good
    assert JOINT.values(0, good.unit[0])["lr"] == seen().known[3].parameters["lr"]

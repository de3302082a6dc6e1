"""A space written in Python is the space that a sweep file writes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import lrsearch as lr
from lrsearch.space.domains import Choices, Domain, Fixed, FloatRange, IntRange, PowersOfTwo
from lrsearch.space.parse import parse_space
from lrsearch.space.space import Coupling, Space


def parsed(space: lr.Space) -> Space:
    """The space that a sweep file with the same section has."""
    problems: list[str] = []
    read = parse_space(space.to_plain(), Coupling(), problems)
    assert problems == []
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        (lr.log(1e-4, 1), FloatRange(1e-4, 1.0, True)),
        (lr.log(1e-4, 1, points=5), FloatRange(1e-4, 1.0, True, None, 5)),
        (lr.uniform(0, 2), FloatRange(0.0, 2.0, False)),
        (lr.integer(1, 9), IntRange(1, 9, False, 1)),
        (lr.integer(1, 9, step=4), IntRange(1, 9, False, 4)),
        (lr.integer(1, 100, log=True), IntRange(1, 100, True, 1)),
        (lr.powers_of_two(8, 64), PowersOfTwo(8, 64)),
        ([1, 2], Choices((1, 2))),
        (("a", "b"), Choices(("a", "b"))),
        ({"choices": [[1, 2], [3, 4]]}, Choices(([1, 2], [3, 4]))),
        (0.5, Fixed(0.5)),
        (numpy.float32(0.5), Fixed(0.5)),
        (torch.tensor(3), Fixed(3)),
        (Path("a/b"), Fixed("a/b")),
    ],
)
def test_each_way_to_write_a_domain(written: Any, domain: Domain) -> None:
    space = parsed(lr.Space(lr=0.1, batch_size=32, model={"argument": written},
                            optimizer="adamw", scheduler="constant"))  # fmt: skip
    assert space.shared["model.argument"] == domain


def test_whole_spaces() -> None:
    space = parsed(
        lr.Space(
            lr=lr.log(1e-4, 1.0),
            batch_size=[32, 64],
            warmup=lr.uniform(0, 0.2),
            weight_decay=lr.log(1e-6, 1e-2),
            optimizer={"sgd": {"momentum": lr.uniform(0.8, 0.99)}, "adamw": {}},
            scheduler=["cosine", "wsd"],
        )
    )
    assert space.shared["batch_size"] == Choices((32, 64))
    assert {"lr", "warmup", "weight_decay"} <= space.shared.keys()
    assert list(space.optimizer) == ["sgd", "adamw"]
    assert space.optimizer["sgd"]["momentum"] == FloatRange(0.8, 0.99)
    assert {name: len(inner) for name, inner in space.scheduler.items()} == {"cosine": 0, "wsd": 0}


def test_code_of_ones_own_is_named_by_its_path() -> None:
    node = {"mine": {"_target_": torch.optim.NAdam, "lr": lr.log(1e-4, 1)}}
    plain = lr.Space(lr=0.1, optimizer=node).to_plain()
    assert plain["optimizer"] == {
        "only": ["mine"],
        "mine": {"_target_": "torch.optim.nadam.NAdam", "lr": lr.log(1e-4, 1)},
    }


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"optimizer": [torch.optim.SGD]}, r"space\.optimizer.*_target_"),
        ({"optimizer": torch.optim.SGD}, r"space\.optimizer.*_target_"),
        ({"warmup": (0.0, 0.2)}, r"space\.warmup.*uniform\(0\.0, 0\.2\)"),
        ({"optimizer": {"sgd": {"momentum": (0.8, 0.9)}}}, r"optimizer\.sgd\.momentum.*uniform"),
        ({"model": {"layer": lambda: None}}, r"space\.model\.layer.*module"),
        ({"model": {"share": Fraction(1, 3)}}, r"space\.model\.share: Fraction"),
    ],
)
def test_values_that_no_file_can_hold_are_named(space: dict[str, Any], words: str) -> None:
    with pytest.raises(lr.UserError, match=words):
        lr.Space(lr=0.1, **space).to_plain()

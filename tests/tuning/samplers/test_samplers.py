"""The catalogue of samplers."""

from __future__ import annotations

import pytest

from lrsearch.registry import ComponentConfig
from lrsearch.tuning.samplers import SAMPLERS, is_adaptive


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_samplers_are_adaptive_but_for_random_numbers_sequences_and_grids(name: str) -> None:
    assert is_adaptive(ComponentConfig(name)) == (name not in ("random", "qmc", "grid"))


def test_a_sampler_of_ones_own_is_taken_for_an_adaptive_one_whatever_its_name() -> None:
    assert is_adaptive(ComponentConfig.own_code("mypkg.random", {}))

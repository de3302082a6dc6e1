"""Training on two ranks gives what one rank gives, to rounding."""

from __future__ import annotations

import pytest
import torch
from ranked_training import CASES, task, trained
from two_ranks import on_two_ranks

from lrsearch.evaluation import Evaluation
from lrsearch.training.loop import Training
from lrsearch.training.ranks import Ranks

pytestmark = pytest.mark.xdist_group("ranks")  # its processes are started once


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Evaluation]]]:
    """What the two ranks give for each case."""
    return on_two_ranks(trained, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one(both: list[dict[str, list[Evaluation]]], case: str) -> None:
    alone = list(Training(task(case)).evaluations())
    for evaluations in (rank[case] for rank in both):
        assert len(evaluations) == len(alone) > 4
        assert [one.early_end for one in evaluations] == [one.early_end for one in alone]
        for ours, expected in zip(evaluations, alone, strict=True):
            assert (ours.step, ours.epoch) == (expected.step, expected.epoch)
            assert ours.lr_end == pytest.approx(expected.lr_end, rel=1e-12)
            assert ours.grad_norm == pytest.approx(expected.grad_norm, rel=1e-4)
            assert dict(ours.values) == pytest.approx(dict(expected.values), rel=1e-4)


def test_one_rank_shares_with_nobody() -> None:
    ranks, batch = Ranks(), torch.arange(5)
    assert ranks.total(batch) is batch
    assert ranks.decided(True)
    assert ranks.gathered(3) == [3]
    assert ranks.from_first(lambda: 4) == 4

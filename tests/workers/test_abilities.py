"""What a worker has of what studies need."""

from __future__ import annotations

from typing import Any

import pytest

from lrsearch.errors import UserError
from lrsearch.workers.abilities import LABELS, Abilities


def lack(needs: dict[str, Any], memory: float | None = None, *labels: str) -> str | None:
    return Abilities(frozenset(labels), lambda: memory).lack(needs)


def test_labels_are_those_of_the_command_and_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(LABELS, "rack-3, fast,")
    assert Abilities.of_this_process(["a100"]).labels == {"a100", "rack-3", "fast"}
    monkeypatch.delenv(LABELS)
    assert Abilities.of_this_process([]).labels == set()


def test_a_label_is_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--label: 'a b' is not a word"):
        Abilities.of_this_process(["a b"])
    monkeypatch.setenv(LABELS, "a=1")
    with pytest.raises(UserError, match="LRSEARCH_LABELS: 'a=1'"):
        Abilities.of_this_process([])


def test_a_worker_needs_every_label() -> None:
    assert lack({}) is None
    assert lack({"labels": ["a"]}, None, "a", "b") is None
    assert "label c, and this worker has a, b" in str(lack({"labels": ["a", "c"]}, None, "a", "b"))
    assert "labels a, c, and this worker has none" in str(lack({"labels": ["c", "a"]}))


@pytest.mark.parametrize(
    ("sold", "bytes_"),
    [
        (16, 15_655_829_504),  # T4
        (24, 23_609_475_072),  # A10G
        (40, 42_297_786_368),  # A100
        (80, 84_987_740_160),  # H100
        (5, 5_100_273_664),  # 1g.5gb of an A100
    ],
)
def test_a_gpu_has_the_memory_with_which_it_is_sold(sold: float, bytes_: int) -> None:
    assert lack({"gpu_memory": sold}, bytes_ / 1e9) is None
    assert "this worker's has" in str(lack({"gpu_memory": sold * 1.15}, bytes_ / 1e9))


def test_a_machine_without_a_gpu_takes_nothing_that_is_sized_for_one() -> None:
    assert lack({"gpu_memory": 1}) == "it needs a GPU of 1 GB, and this worker has no GPU"
    reason = lack({"gpu_memory": 80, "labels": ["h100"]})
    assert "80 GB" in str(reason)
    assert "h100" in str(reason)

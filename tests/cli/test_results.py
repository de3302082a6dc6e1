"""Files of a study's results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.cli.results import best_record, write_whole
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.states import Outcome
from lrsearch.study.progress import Finished


def test_a_file_is_written_whole_or_the_old_one_stays_and_nothing_beside_it(tmp_path: Path) -> None:
    def pieces() -> Iterator[str]:
        yield "half"
        raise ValueError("the database is gone")

    path = tmp_path / "folder" / "file"
    write_whole(path, ["one, ", "two"])
    with pytest.raises(ValueError, match="gone"):
        write_whole(path, pieces())
    assert path.read_text() == "one, two"
    assert list(path.parent.iterdir()) == [path]
    write_whole(path, "three")
    assert path.read_text() == "three"


@pytest.mark.parametrize(
    ("device", "fused"),
    [("cpu", False), ("cuda (NVIDIA H100)", True), ("2 × cuda (NVIDIA H100)", True)],
)
def test_the_record_says_whether_the_optimizer_was_fused(device: str, fused: bool) -> None:
    recipe = Recipe(0.1, 32, ComponentConfig("adamw"), ComponentConfig("constant"))
    trial = Finished(1, 0, 1, 7, Outcome.COMPLETE, 0.5, None, 1.0, recipe.to_dict(), device)
    record = best_record(load_settings(["+sweep=digits"]), None, trial)
    assert record["machine"]["fused"] is fused

"""All findings together, of studies of every kind."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from synthetic import RECORD, recipe, sampled, study_of, trial

from lrsearch.analysis.findings import findings
from lrsearch.analysis.study_data import StudyData

OWN = ("objective._target_=mypkg.train", "space.lr.value=0.1")
STUDIES: dict[str, Callable[[], StudyData]] = {
    "empty": lambda: study_of([], total=5),
    "one trial": lambda: study_of([trial(0, recipe(), 0.5)]),
    "all diverged": lambda: study_of(
        [trial(k, recipe(), None, "diverged", end_step=k, epochs=0) for k in range(6)]
    ),
    "all failed": lambda: study_of(
        [trial(k, None, None, "failed", reason="boom") for k in range(3)]
    ),
    "one batch size": lambda: sampled(40, "space.batch_size.value=32"),
    "a fixed rate": lambda: sampled(40, "space.lr.value=0.1", "space.optimizer.only=[sgd]"),
    "more is better": lambda: sampled(40, "metric.name=val_accuracy", "metric.mode=max"),
    "its own objective": lambda: study_of(
        [trial(k, recipe(0.1), 0.5 + k) for k in range(30)], *OWN, record={**RECORD, "data": None}
    ),
    "zeros": lambda: study_of([trial(k, recipe(0.1 + k / 100), 0.0) for k in range(30)]),
}


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_study_has_sensible_sentences(name: str) -> None:
    lines = findings(STUDIES[name]()).sentences()
    assert len(lines) >= 8
    for line in lines:
        assert line.strip() == line
        assert not line[0].islower() or line.startswith(("sgd", "adamw"))
        assert not re.search(r"\b(nan|inf)\b|\bNone\b(?! of)", line), line


def test_data_that_stand_in_for_others_are_said_first() -> None:
    data = {**RECORD["data"], "wanted": "mnist", "fallback_reason": "no network"}
    study: StudyData = study_of([trial(0, recipe(), 0.5)], record={**RECORD, "data": data})
    found = findings(study)
    assert found.warned.stand_in is not None
    assert found.sentences()[0].startswith("WARNING: not mnist: digits stand in for it")

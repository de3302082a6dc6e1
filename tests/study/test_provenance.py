"""Which versions may work on a study."""

from __future__ import annotations

import pytest

from lrsearch.errors import UserError
from lrsearch.storage.tables import StudyRow
from lrsearch.study import provenance
from lrsearch.study.provenance import refuse_other_versions

URL = "postgresql+psycopg://me:hunter2@db.example.org/sweeps"
HERE = {"lrsearch": "0.2.0", "torch": "2.14.1+cu130", "optuna": "5.0.0", "python": "3.11.7"}


def created_with(**others: str) -> StudyRow:
    return StudyRow(study_id=1, name="digits", record={"versions": {**HERE, **others}}, config={})


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "versions", lambda: HERE)


@pytest.mark.parametrize(
    "others",
    [{}, {"torch": "2.14.0"}, {"torch": "2.14.2+cpu"}, {"lrsearch": "0.2.9"},
     {"python": "3.13.0", "optuna": "4.9.0"}],
)  # fmt: skip
def test_the_same_minor_versions_of_lrsearch_and_torch_may(others: dict[str, str]) -> None:
    refuse_other_versions(created_with(**others), False, URL)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"torch": "2.13.0"}, "created with torch 2.13, and here is torch 2.14"),
        ({"torch": "3.14.1"}, "created with torch 3.14, and here is torch 2.14"),
        ({"lrsearch": "0.1.7"}, "created with lrsearch 0.1, and here is lrsearch 0.2"),
        (
            {"lrsearch": "0.10.0", "torch": "2.1"},
            "created with lrsearch 0.10 and torch 2.1, and here is lrsearch 0.2 and torch 2.14",
        ),
    ],
)
def test_others_may_only_where_the_study_allows_it(others: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        refuse_other_versions(created_with(**others), False, URL)
    assert "lrsearch set digits allow_versions=true" in str(caught.value)
    assert "storage.url=postgresql+psycopg://me@db.example.org/sweeps" in str(caught.value)
    refuse_other_versions(created_with(**others), True, URL)

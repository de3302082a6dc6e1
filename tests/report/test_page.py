"""The page of the report: one file with everything inside."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ramps import ramp_of, rates_of, trained
from synthetic import RECORD, recipe, sampled, study_of, trial

from lrsearch.analysis.study_data import StudyData
from lrsearch.cli.report import report_page
from lrsearch.range_test.result import RangeTest
from lrsearch.space.space import Coupling

pytest.importorskip("plotly")

URL = "sqlite:///lrsearch.db"
MEGABYTE = 1_000_000


def page_of(study: StudyData) -> str:
    return report_page(study, URL, Path("outputs/digits/best.yaml"))


class Reader(HTMLParser):
    """The words of a page, and every address that a browser would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.prose = "", ""
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self._inside.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._inside):
            self.words += data
            self.prose += "" if "pre" in self._inside else data
        if self._inside[-1:] == ["h2"]:
            self.headings.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(sampled(120))


def test_it_answers_its_questions_in_order(page: str) -> None:
    assert Reader(page).headings == [
        "1. The recipe to use, and how sure",
        "2. Which scheduler is best, at equal tuning",
        "3. Which optimizer is best, at equal tuning",
        "4. How sensitive it is to the learning rate",
        "5. Learning rate against batch size",
        "6. Is the search space right?",
        "7. Where training breaks",
        "8. What mattered",
        "9. What was spent",
        "10. Everything needed to repeat it",
    ]


def test_it_loads_nothing_from_anywhere(page: str) -> None:
    assert all(address.startswith("#") for address in Reader(page).addresses)
    assert "default-src 'none'" in page


def test_it_holds_the_code_to_copy_and_what_is_needed_to_repeat_it(page: str) -> None:
    words = Reader(page).words
    assert "torch.optim." in words
    assert "python -m lrsearch train outputs/digits/best.yaml" in words
    for needed in ("abc123", "0123abc", "Seed of the study: 0", "n_trials: 20", "torch"):
        assert needed in words


@pytest.mark.slow
def test_a_thousand_trials_of_thirty_epochs_stay_below_six_megabytes() -> None:
    page = page_of(sampled(1000, epochs=30))
    assert len(page.encode()) < 6 * MEGABYTE


def test_what_users_wrote_is_text_and_not_markup() -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    failed = trial(1, None, None, "failed", reason=bad)
    study = study_of([trial(0, recipe(), 0.5), failed])
    study = replace(study, name=bad, config={**study.config, "description": bad}, stopped=bad)
    page = page_of(study)
    assert bad not in page
    assert bad in Reader(page).words


def test_data_that_stand_in_are_said_unmistakably_at_the_top() -> None:
    data = {**RECORD["data"], "wanted": "mnist", "fallback_reason": "no network"}
    page = page_of(study_of([trial(0, recipe(), 0.5)], record={**RECORD, "data": data}))
    warning = page.index('role="alert"')
    assert warning < page.index('class="tiles"')
    assert "not mnist: digits stand in for it (no network)" in Reader(page).words


def test_an_unfinished_study_says_so() -> None:
    page = page_of(study_of([trial(0, recipe(), 0.5)], total=4))
    assert "not finished: 3 trials of 4 to go" in Reader(page).words


@pytest.mark.parametrize(
    "study",
    [
        lambda: study_of([], total=3),
        lambda: study_of([trial(k, recipe(), None, "diverged", epochs=0) for k in range(4)]),
        lambda: study_of([trial(0, recipe(), 0.9)], "metric.name=val_accuracy", "metric.mode=max"),
        lambda: study_of(
            [trial(k, recipe(), 0.5 + k) for k in range(6)],
            "objective._target_=mypkg.train", "space.lr.value=0.1",
            record={**RECORD, "data": None},
        ),
    ],
)  # fmt: skip
def test_small_and_strange_studies_have_a_report_too(study: object) -> None:
    assert callable(study)
    prose = Reader(page_of(study())).prose
    assert not re.search(r"\bnan\b|\bNone\b(?! of)", prose)


def test_no_percent_sign_begins_a_line(page: str) -> None:
    prose = Reader(page).prose
    assert "95\N{NO-BREAK SPACE}% interval" in prose
    assert not re.search(r"\d %", prose)


def test_captions_tell_of_nothing_that_is_not_drawn() -> None:
    few = [trial(k, recipe(0.1 + k / 10), 0.5 + k) for k in range(3)]
    prose = Reader(page_of(study_of(few))).prose
    for absent in ("fitted best rates", "upright bar", "pruning saved", "ten best",
                   "10 best", "expected best of"):  # fmt: skip
        assert absent not in prose, absent
    assert "of the 3 best trials" in prose
    assert "the best is golden" in prose


def test_captions_tell_of_what_is_drawn(page: str) -> None:
    prose = Reader(page).prose
    for there in ("fitted best rates", "upright bar", "the fitted curve", "10 best trials"):
        assert there in prose, there


def test_own_code_that_is_not_here_is_said_and_the_rest_is_there() -> None:
    study = study_of([trial(0, recipe(), 0.5)])
    config = {**study.config, "model": {"_target_": "no_such_package.Net"}}
    words = Reader(page_of(replace(study, config=config))).words
    assert "cannot be made here" in words
    assert "no_such_package" in words


def test_the_script_of_an_own_objective_is_not_called_plain_pytorch() -> None:
    study = study_of(
        [trial(0, recipe(), 0.5)], "objective._target_=mypkg.train", record={**RECORD, "data": None}
    )
    words = Reader(page_of(study)).words
    assert "The recipe as a script" in words
    assert "in plain PyTorch" not in words


def test_a_sweep_that_is_not_here_is_widened_in_words() -> None:
    study = study_of([trial(k, recipe(0.95, 64), 0.5 + k) for k in range(10)])
    words = Reader(page_of(replace(study, config={**study.config, "sweep": "gone"}))).words
    assert "space.lr.high=10" in words
    assert "cannot be written here" in words


def test_a_study_that_began_with_a_range_test_shows_where_its_range_comes_from() -> None:
    title = "Where the range of learning rates comes from"
    ramp = ramp_of(trained(rates_of(100)), 100, "sgd", 32)
    test = RangeTest((ramp,), 40_000, 1.0, Coupling(), {})
    trials = [trial(0, recipe(), 0.5)]
    page = page_of(study_of(trials, record={**RECORD, "range_test": test.to_json()}))
    assert title in page
    assert 'id="lrsearch-range-test"' in page
    assert "sgd at batch size 32: the loss falls fastest" in Reader(page).prose
    without = page_of(study_of(trials))
    assert title not in without
    assert "lrsearch-range-test" not in without
